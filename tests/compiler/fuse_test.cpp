// What fusion makes of each kind of node, proven against the interpreter.

#include "compiler/fuse.h"

#include <set>

#include "ir/build.h"
#include "support/catch.h"
#include "support/fusion_check.h"
#include "support/param.h"
#include "support/random_graph.h"

using namespace cermet::ir;
using namespace cermet::compiler;
using cermet::Dims;
using cermet::DType;
using cermet::Shape;
using cermet::test::check_fusion;
using cermet::test::graph_of;
using cermet::test::param;
using cermet::test::Tolerance;

namespace {

const Tolerance rounded{.relative = 1e-5, .absolute = 1e-5};

Value sum(const Value& x, const Dims& axes) { return reduce(Combine::Sum, x, axes, true); }

size_t kernels(std::vector<Value> results, const Tolerance& tolerance = {},
               std::vector<int64_t> ranges = {}) {
  return check_fusion(graph_of(std::move(results)), tolerance, ranges).kernels.size();
}

}  // namespace

TEST_CASE("fuse: leaves and views of them are copied into results") {
  const Value x = param(0, {3, 4});
  CHECK(kernels({x}) == 1);
  CHECK(kernels({constant(DType::F32, {3}, 2.5)}) == 1);
  CHECK(kernels({iota(5)}) == 1);
  CHECK(kernels({pad(iota(5), 0, 2, 1)}) == 1);
  CHECK(kernels({permute(x, Dims{1, 0})}) == 1);
  CHECK(kernels({pad(x, 0, 2, 1, 3.0)}) == 1);
  CHECK(kernels({flip(slice(x, 1, 1, std::nullopt, 2), 0)}) == 1);
  CHECK(kernels({reshape(permute(x, Dims{1, 0}), Dims{12})}) == 1);
  CHECK(kernels({param(0, {})}) == 1);
  CHECK(kernels({diagonal(param(0, {4, 4}), 1, 0, 1)}) == 1);
}

TEST_CASE("fuse: one node may be several results") {
  const Value x = param(0, {3, 4});
  const Value y = exp(x);
  CHECK(kernels({y, y, x, x}, rounded) >= 1);
  const Value s = sum(x, {1});
  CHECK(kernels({s, s, y - s}, rounded) == 1);
  CHECK(kernels({concat(std::vector{x, x}, 0), concat(std::vector{x, x}, 0)}) >= 1);
}

TEST_CASE("fuse: results without elements have a buffer and no kernel") {
  const Value x = param(0, {0, 4});
  const KernelProgram program = check_fusion(graph_of({exp(x), sum(x, {0}), x}));
  CHECK(program.kernels.size() == 1);  // the sum is 0
  CHECK(program.buffers.size() == 4);
}

TEST_CASE("fuse: views that are valid nowhere give 0") {
  const Value x = param(0, {3});
  CHECK(kernels({slice(pad(exp(x), 0, 4, 0), 0, 0, 4) + 1.0}) == 1);
  CHECK(kernels({pad(param(0, {0, 2}), 0, 1, 2) + 1.0}) == 1);
}

TEST_CASE("fuse: padding of computed values is 0, not the function of 0") {
  const Value x = param(0, {3, 4});
  CHECK(kernels({pad(exp(x), 1, 2, 1)}, rounded) == 1);
  CHECK(kernels({cos(pad(exp(x), 0, 1, 1)) + pad(x, 0, 2, 0)}, rounded) == 1);
  CHECK(kernels({sum(pad(exp(pad(x, 0, 1, 1)), 1, 2, 3), {1})}, rounded) == 1);
  CHECK(kernels({pad(sum(x, {1}), 0, 1, 2)}, rounded) >= 1);
}

TEST_CASE("fuse: unused parameters keep their buffers") {
  Graph graph = graph_of({param(1, {3})});
  graph.parameters = {param(0, {2}), param(1, {3}), param(2, {4})};
  const KernelProgram program = check_fusion(graph);
  CHECK(program.buffers.size() == 4);
}

TEST_CASE("fuse: gather reads a buffer at computed positions") {
  const Value table = param(0, {7, 4}), index = param(1, {3, 4}, DType::I64);
  const std::vector<int64_t> ranges = {0, 7};
  CHECK(kernels({gather(table, index, 0)}, {}, ranges) == 1);
  CHECK(kernels({gather(table, index, 0) * 2.0 + 1.0}, {}, ranges) == 1);
  CHECK(kernels({sum(gather(permute(param(0, {4, 7}), Dims{1, 0}), index, 0), {1})}, rounded,
                ranges) == 1);
  CHECK(kernels({gather(exp(table), index, 0)}, rounded, ranges) >= 1);
  CHECK(kernels({pad(gather(table, index, 0), 0, 2, 3)}, {}, ranges) == 1);
  CHECK(kernels({gather(reshape(permute(table, Dims{1, 0}), Dims{7, 4}), index, 0)}, {}, ranges) ==
        2);
  CHECK(kernels({gather(concat(std::vector{table, table}, 0), index, 0)}, {}, ranges) >= 2);
}

TEST_CASE("fuse: scatter is a copy of the base and a kernel of its own") {
  const Value base = param(0, {7, 4}), index = param(1, {3, 4}, DType::I64);
  const Value updates = param(2, {3, 4});
  const std::vector<int64_t> ranges = {0, 7};
  for (Combine combine : {Combine::Set, Combine::Sum, Combine::Prod, Combine::Max, Combine::Min}) {
    CHECK(kernels({scatter(combine, base, index, updates, 0)}, rounded, ranges) == 2);
    CHECK(kernels({scatter(combine, exp(base), index, exp(updates), 0) * 2.0}, rounded, ranges) ==
          3);
  }
  CHECK(kernels({scatter(Combine::Sum, zeros_like(base), index, updates, 0)}, rounded,
                std::vector<int64_t>{0, 7}) == 2);
  const Value wide = param(1, {7, 9}, DType::I64);
  CHECK(kernels({scatter(Combine::Sum, base, wide, param(2, {7, 9}), 1)}, rounded,
                std::vector<int64_t>{0, 4}) == 2);
  const Value one = param(1, {1, 4}, DType::I64);
  CHECK(kernels({scatter(Combine::Set, base, one, param(2, {1, 4}), 0)}, {}, ranges) == 2);
}

TEST_CASE("fuse: concat stores slices") {
  const Value x = param(0, {3, 4}), y = param(1, {3, 2}), z = param(2, {3, 1});
  CHECK(kernels({concat(std::vector{x, exp(y), z}, 1)}, rounded) == 3);
  CHECK(kernels({concat(std::vector{x, y}, 1) + 1.0}) == 3);
  CHECK(kernels({concat(std::vector{x, exp(x)}, 0)}, rounded) == 1);
  CHECK(kernels({sum(concat(std::vector{sum(x, {1}), z}, 1), {1})}, rounded) >= 2);
}

TEST_CASE("fuse: scans join maps and each other, not reductions") {
  const Value x = param(0, {3, 4});
  for (int64_t axis : {0, 1})
    for (bool reverse : {false, true})
      for (bool exclusive : {false, true}) {
        CHECK(kernels({scan(Combine::Sum, exp(x), axis, reverse, exclusive) * 2.0}, rounded) == 1);
        const Value s = scan(Combine::Max, x, axis, reverse, exclusive);
        CHECK(kernels({s - reduce(Combine::Sum, x, Dims{axis}, true)}, rounded) == 2);
        CHECK(kernels({s - scan(Combine::Sum, s, axis, reverse)}, rounded) == 1);
        CHECK(kernels({s - scan(Combine::Sum, s, axis, !reverse)}, rounded) == 2);
      }
  CHECK(kernels({reshape(scan(Combine::Sum, x, 1), Dims{12})}, rounded) == 1);
  CHECK(kernels({scan(Combine::Sum, scan(Combine::Sum, x, 1), 0)}, rounded) == 2);
  CHECK(kernels({scan(Combine::Prod, param(0, {3, 1}), 1)}) == 1);
}

TEST_CASE("fuse: positions of extrema") {
  const Value x = param(0, {3, 4, 2});
  for (int64_t axis : {0, 1, 2}) {
    CHECK(kernels({arg_reduce(Combine::Max, x, axis)}) == 1);
    CHECK(kernels({arg_reduce(Combine::Min, exp(x), axis), reduce(Combine::Max, x, Dims{axis})},
                  rounded) == 1);
  }
  CHECK(kernels({arg_reduce(Combine::Max, param(0, {3, 1}), 1)}) == 1);
}

TEST_CASE("fuse: sort reads and writes buffers") {
  const Value x = param(0, {3, 4}, DType::I32);
  CHECK(kernels({argsort(x, 1)}) == 1);
  CHECK(kernels({argsort(x, 0, true)}) == 3);
  CHECK(kernels({argsort(neg(x), 1) + iota(4)}) == 3);
  CHECK(kernels({argsort(permute(x, Dims{1, 0}), 1)}) == 2);
  const Value order = argsort(x, 1);
  CHECK(kernels({gather(x, order, 1), order}) == 2);
}

TEST_CASE("fuse: a barrier is a buffer") {
  const Value x = param(0, {3, 4});
  CHECK(kernels({barrier(exp(x)) + 1.0}, rounded) == 2);
  CHECK(kernels({barrier(sum(x, {1})) + x}, rounded) == 2);
}

TEST_CASE("fuse: contractions read views and repeat cheap prologues") {
  const Value a = param(0, {2, 3, 4}), b = param(1, {2, 4, 5});
  CHECK(kernels({dot(a, b)}, rounded) == 1);
  CHECK(kernels({dot(a * 2.0, b + 1.0)}, rounded) == 1);
  CHECK(kernels({dot(exp(a), b)}, rounded) == 2);
  CHECK(kernels({dot(a - sum(a, {2}), b)}, rounded) == 2);
  CHECK(kernels({permute(dot(a, b), Dims{2, 0, 1})}, rounded) == 1);
  CHECK(kernels({sum(dot(a, b), {2})}, rounded) == 2);
  CHECK(kernels({dot(a, b) + dot(a + 1.0, b)}, rounded) == 2);
  CHECK(kernels({dot(a, b), exp(a), exp(a) + 1.0}, rounded) == 2);
  CHECK(kernels({dot(param(0, {1, 3, 1}), param(1, {1, 1, 5}))}, rounded) == 1);
  CHECK(kernels({dot(param(0, {1, 3, 0}), param(1, {1, 0, 5}))}, rounded) == 1);
  CHECK(kernels({dot(cast(param(0, {1, 3, 4}, DType::I32), DType::F32), param(1, {1, 4, 2}))},
                rounded) == 1);
}

TEST_CASE("fuse: values are stored for kernels that need them in another order") {
  const Value x = param(0, {5, 5});
  const Value y = exp(x);
  CHECK(kernels({y + permute(y, Dims{1, 0})}, rounded) == 2);
  CHECK(kernels({sum(y, {0}), sum(y, {1})}, rounded) == 2);
  const Value z = x + 1.0;
  CHECK(kernels({z * permute(z, Dims{1, 0})}) == 1);  // cheap: computed twice
  CHECK(kernels({sum(sum(y, {0}) * y, {1})}, rounded) >= 2);
}

TEST_CASE("fuse: slices of an expensive value are computed where they are used") {
  const Value x = exp(param(0, {4, 6}));
  const Value half = slice(x, 1, 0, 3), rest = slice(x, 1, 3, 6);
  CHECK(kernels({half * rest}, rounded) == 1);
}

TEST_CASE("fuse: random bits join their consumers") {
  const Value x = param(0, {16});
  const Value counter = cast(iota(16), DType::U64);
  const Value bits = philox(counter, constant(DType::U64, {16}, int64_t(7)));
  const Value keep = lt(bits, constant(DType::U64, {16}, int64_t(1) << 62));
  CHECK(kernels({where(keep, x, zeros_like(x))}) == 1);
}

TEST_CASE("fuse: half precision is rounded after every op") {
  const Value x = param(0, {5, 7}, DType::F16);
  const Value y = (x * x + 1.0) / 3.0;
  CHECK(kernels({y, y - x}) == 1);
  CHECK(kernels({sum(y, {1})}, {.ulps = 1}) == 1);
}

TEST_CASE("fuse: long chains are cut into kernels of bounded size") {
  Value x = param(0, {4});
  for (int i = 0; i < 1000; ++i) x = x + double(i % 7);
  const KernelProgram program = check_fusion(graph_of({x}));
  CHECK(program.kernels.size() >= 8);
  CHECK(program.kernels.size() <= 10);
  for (const Kernel& k : program.kernels) CHECK(k.exprs.size() < 300);
  CHECK(!program.refusals.empty());
}

TEST_CASE("fuse: a sum of many parameters accesses a bounded number of buffers per kernel") {
  Value x = param(0, {4});
  for (int i = 1; i < 100; ++i) x = x + param(i, {4});
  const KernelProgram program = check_fusion(graph_of({x}), rounded);
  for (const Kernel& k : program.kernels) {
    std::set<int32_t> buffers;
    for (const Expr& e : k.exprs)
      if (e.buffer >= 0) buffers.insert(e.buffer);
    for (const KernelStore& s : k.stores) buffers.insert(s.buffer);
    CHECK(buffers.size() <= 16);
  }
}

TEST_CASE("fuse: the space has no needless axes") {
  const auto space = [](const Value& v) {
    const KernelProgram program = check_fusion(graph_of({v}), rounded);
    REQUIRE(program.kernels.size() == 1);
    return std::pair{program.kernels[0].outer, program.kernels[0].inner};
  };
  CHECK(space(exp(param(0, {2, 1, 3, 4}))).first == Shape{24});
  CHECK(space(sum(param(0, {2, 3, 4, 5}), {2, 3})) == std::pair{Shape{6}, Shape{20}});
  CHECK(space(param(0, {6, 5}) + param(1, {5})).first == Shape{6, 5});
  // A reshape across a permutation divides the axis instead of every index.
  const Value x = permute(param(0, {3, 4, 5}), Dims{1, 0, 2});
  const auto [outer, inner] = space(reshape(x, Dims{4, 15}) + 1.0);
  CHECK(outer == Shape{4, 3, 5});
  CHECK(inner.empty());
}

TEST_CASE("fuse: refusals say what and why") {
  const Value a = param(0, {1, 3, 4}), b = param(1, {1, 4, 5});
  const KernelProgram program = fuse(graph_of({dot(exp(a), b)}), {});
  REQUIRE(program.refusals.size() == 1);
  CHECK(program.refusals[0].producer.find("exp : f32[1,3,4]") != std::string::npos);
  CHECK(program.refusals[0].consumer.find("dot : f32[1,3,5]") != std::string::npos);
  CHECK(program.refusals[0].reason.find("for each tile again, an op of 8 cycles") !=
        std::string::npos);
}

TEST_CASE("fuse: the answer depends on the graph only") {
  const Value x = param(0, {5, 7});
  const Graph graph = graph_of({exp(x) + sum(x, {1}), sum(exp(x), {0}), tanh(x)});
  const KernelProgram a = fuse(graph, {}), b = fuse(graph, {});
  REQUIRE(a.kernels.size() == b.kernels.size());
  for (size_t i = 0; i < a.kernels.size(); ++i) CHECK(a.kernels[i].name == b.kernels[i].name);
}

TEST_CASE("fuse: random graphs of exact ops agree with the interpreter bit for bit") {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    cermet::test::RandomGraphOptions options = cermet::test::RandomGraphOptions::only_exact();
    options.max_elements = 500;
    const auto random = cermet::test::random_graph(seed, options);
    INFO(cermet::test::describe(random));
    check_fusion(random.graph, random.parameters, {.absolute = 0, .signed_zeros = false});
  }
}

TEST_CASE("fuse: random elementwise graphs agree with the interpreter bit for bit") {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    cermet::test::RandomGraphOptions options = cermet::test::RandomGraphOptions::only_elementwise();
    options.max_elements = 500, options.steps = 30;
    options.dtypes = {DType::F32, DType::F16, DType::I32, DType::U8};
    const auto random = cermet::test::random_graph(seed, options);
    INFO(cermet::test::describe(random));
    check_fusion(random.graph, random.parameters, Tolerance());
  }
}

TEST_CASE("fuse: random graphs with sums agree with the interpreter within rounding") {
  for (uint64_t seed = 1000; seed < 1200; ++seed) {
    cermet::test::RandomGraphOptions options;
    options.max_elements = 500;
    options.elementwise = cermet::test::exact_elementwise_ops();
    options.dtypes = {DType::F64};
    const auto random = cermet::test::random_graph(seed, options);
    INFO(cermet::test::describe(random));
    check_fusion(random.graph, random.parameters, {.relative = 1e-9, .absolute = 1e-9});
  }
}

TEST_CASE("fuse: what is computed from a few buffers counts as these") {
  // Batch norm with its gradient: a dozen values wait for their turn, of six buffers.
  const Value x = param(0, {32, 48}), dy = param(1, {32, 48}), w = param(2, {1, 48});
  const Value b = param(3, {1, 48}), count = param(4, {}), epsilon = param(5, {});
  const auto mean = [&](const Value& v) { return sum(v, {0}) / expand(count, Shape{1, 48}); };
  const auto wide = [](const Value& v) { return expand(v, Shape{32, 48}); };
  const Value centered = x - wide(mean(x));
  const Value deviation = sqrt(mean(centered * centered) + expand(epsilon, Shape{1, 48}));
  const Value scale = wide(constant(DType::F32, {1, 48}, 1.0) / deviation),
              normal = centered * scale;
  const Value dn = dy * wide(w);
  const Value dscale = sum(dn * centered, {0});
  const Value dv = mean(-dscale / (deviation * deviation * deviation));
  const Value dc = dn * scale + wide(dv) * centered + wide(dv) * centered;
  const Value dx = dc - wide(mean(dc));
  CHECK(kernels({normal * wide(w) + wide(b), dx, sum(dy * normal, {0}), sum(dy, {0})}, rounded) ==
        1);
}
