// Index arithmetic of kernels for tensors that no machine here could hold: the loops are lowered
// for the extents, and their integers followed for chosen threads, so that every position that a
// thread reads or writes is known.

#include <algorithm>
#include <optional>
#include <set>

#include "compiler/program.h"
#include "compiler/run_ptx.h"
#include "ir/build.h"
#include "support/catch.h"
#include "support/cuda.h"
#include "support/param.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using compiler::loops::Block;
using compiler::loops::Buffer;
using compiler::loops::Function;
using compiler::loops::Instruction;
using compiler::loops::Opcode;
using compiler::loops::Ref;
using test::param;

namespace {

// What one thread touches; values that are no integers are not followed.
class Thread {
 public:
  Thread(const compiler::LoweredKernel& kernel, int64_t block, int64_t thread)
      : kernel_(kernel),
        f_(kernel.function),
        values_(f_.instructions.size()),
        block_(block),
        thread_(thread) {
    run(f_.blocks[0]);
  }

  std::vector<int64_t> loads, stores;  // of arguments, by element
  int64_t largest = 0;                 // of all integers on the way

 private:
  using Lanes = std::optional<std::vector<int64_t>>;  // nothing: unknown

  int64_t known(Ref r) const { return values_[size_t(r.id)].value()[0]; }

  void run(const Block& block) {
    for (Ref r : block.instructions) {
      const Instruction& i = f_.instructions[size_t(r.id)];
      if (i.op == Opcode::For) {
        const Block& body = f_.blocks[size_t(i.block)];
        const int64_t upper = known(i.operands[1]);
        for (int64_t at = known(i.operands[0]); at < upper; at += i.imm) {
          values_[size_t(body.parameters[0].id)] = {{at}};
          run(body);
        }
      } else if (i.op == Opcode::If) {
        if (known(i.operands[0])) run(f_.blocks[size_t(i.block)]);
      } else if (i.op == Opcode::Load || i.op == Opcode::GatherLoad) {
        touch(i, 1, loads);
      } else if (i.op == Opcode::Store || i.op == Opcode::ScatterStore) {
        touch(i, 2, stores);
      } else {
        values_[size_t(r.id)] = value(i);
        if (i.dtype == DType::I64 && values_[size_t(r.id)])
          for (int64_t x : *values_[size_t(r.id)]) largest = std::max(largest, std::abs(x));
      }
    }
  }

  void touch(const Instruction& i, size_t mask, std::vector<int64_t>& out) {
    if (f_.buffers[size_t(i.imm)].kind != Buffer::Kind::Argument) return;
    const Lanes& positions = values_[size_t(i.operands[0].id)];
    const Lanes masks =
        i.operands.size() > mask ? values_[size_t(i.operands[mask].id)] : Lanes({{1}});
    if (!positions || !masks) return;
    for (int l = 0; l < i.lanes; ++l) {
      if (!(*masks)[masks->size() == 1 ? 0 : size_t(l)]) continue;
      out.push_back(positions->size() == 1 ? (*positions)[0] + l : (*positions)[size_t(l)]);
    }
  }

  Lanes value(const Instruction& i) const {
    std::vector<int64_t> out;
    const auto x = [&](size_t which, size_t lane) -> std::optional<int64_t> {
      const Lanes& from = values_[size_t(i.operands[which].id)];
      if (!from) return {};
      return (*from)[from->size() == 1 ? 0 : lane];
    };
    for (size_t l = 0; l < i.lanes; ++l) {
      std::optional<int64_t> a, b;
      if (!i.operands.empty() && !(a = x(0, l))) return {};
      if (i.operands.size() > 1 && !(b = x(1, l))) return {};
      switch (i.op) {
        case Opcode::Constant:
          if (i.dtype != DType::I64 && i.dtype != DType::Bool) return {};
          out.push_back(i.imm);
          break;
        case Opcode::Argument: out.push_back(kernel_.integers[size_t(i.imm)]); break;
        case Opcode::Thread: out.push_back(thread_); break;
        case Opcode::Block: out.push_back(block_); break;
        case Opcode::Add: out.push_back(*a + *b); break;
        case Opcode::Sub: out.push_back(*a - *b); break;
        case Opcode::Mul: out.push_back(*a * *b); break;
        case Opcode::Div: out.push_back(*a / *b); break;
        case Opcode::Rem: out.push_back(*a % *b); break;
        case Opcode::Lt: out.push_back(*a < *b); break;
        case Opcode::Ge: out.push_back(*a >= *b); break;
        case Opcode::Eq: out.push_back(*a == *b); break;
        case Opcode::And: out.push_back(*a & *b); break;
        case Opcode::Ramp: out.push_back(*a + int64_t(l)); break;
        case Opcode::Splat: out.push_back(*a); break;
        case Opcode::Select: {
          const auto c = x(2, l);
          if (!c) return {};
          out.push_back(*a ? *b : *c);
          break;
        }
        default: return {};
      }
    }
    return out;
  }

  const compiler::LoweredKernel& kernel_;
  const Function& f_;
  std::vector<Lanes> values_;
  const int64_t block_, thread_;
};

struct Touched {
  int64_t first_load = INT64_MAX, last_load = -1, first_store = INT64_MAX, last_store = -1;
};

// What some blocks of each kernel touch, the first and the last among them. Checks that nobody
// leaves the buffers, and that indices fit into what the kernel is printed with.
std::vector<Touched> follow(const Value& result, int64_t blocks = 5) {
  const Graph graph = test::graph_over({result});
  const auto program = compiler::compile(graph, compiler::cuda_target(90));
  std::vector<Touched> out;
  for (const auto& launch : program.launches) {
    const compiler::LoweredKernel& kernel = launch.kernel;
    int64_t most = 0;  // elements of the largest buffer
    for (int32_t b : kernel.buffers) most = std::max(most, program.buffers[size_t(b)].elements);
    Touched touched;
    std::set<int64_t> some;
    for (int64_t k = 0; k < blocks; ++k)
      some.insert(int64_t(__int128(kernel.range - 1) * k / (blocks - 1)));
    for (const int64_t block : some)
      for (int64_t thread = 0; thread < kernel.function.threads; ++thread) {
        const Thread t(kernel, block, thread);
        CHECK((kernel.function.index_bits == 64 || t.largest <= INT32_MAX));
        for (int64_t p : t.loads) {
          touched.first_load = std::min(touched.first_load, p);
          touched.last_load = std::max(touched.last_load, p);
        }
        for (int64_t p : t.stores) {
          touched.first_store = std::min(touched.first_store, p);
          touched.last_store = std::max(touched.last_store, p);
        }
      }
    CHECK(kernel.range <= INT32_MAX);
    CHECK(kernel.function.index_bits != 0);
    CHECK(touched.first_load >= 0);
    CHECK(touched.first_store >= 0);
    CHECK(touched.last_load < most);
    CHECK(touched.last_store < most);
    out.push_back(touched);
  }
  return out;
}

constexpr int64_t two31 = int64_t(1) << 31;

}  // namespace

TEST_CASE("cuda index: maps of more than 2^31 elements reach the first and the last") {
  for (const Shape& shape : {Shape{two31 + 4096}, Shape{two31 + 1}, Shape{3, two31 + 4},
                             Shape{65536, 65537}, Shape{two31, 3}}) {
    INFO(to_string(shape));
    const auto all = follow(param(0, shape, DType::U8) + param(1, {shape.back()}, DType::U8), 3);
    REQUIRE(all.size() == 1);
    CHECK(all[0].first_load == 0);
    CHECK(all[0].last_load == numel(shape) - 1);
    CHECK(all[0].first_store == 0);
    CHECK(all[0].last_store == numel(shape) - 1);
  }
}

TEST_CASE("cuda index: transposes, scans and sums of more than 2^31 elements") {
  const int64_t n = 5000, m = 430000;
  const auto turned = follow(barrier(transpose(param(0, {n, m}, DType::F16), 0, 1)));
  REQUIRE(turned.size() == 1);
  CHECK(turned[0].last_load == n * m - 1);
  CHECK(turned[0].last_store == n * m - 1);
  for (const int64_t axis : {0, 1}) {
    const auto sums = follow(reduce(Combine::Sum, param(0, {n, m}), Dims{axis}), 2);
    REQUIRE(sums.size() == 1);
    CHECK(sums[0].last_load == n * m - 1);
    CHECK(sums[0].last_store == (axis == 0 ? m : n) - 1);
  }
  const auto scanned = follow(scan(Combine::Sum, param(0, {two31 / 4096 + 3, 5000}), 1), 2);
  REQUIRE(scanned.size() == 1);
  CHECK(scanned[0].last_load == (two31 / 4096 + 3) * 5000 - 1);
  CHECK(scanned[0].last_store == (two31 / 4096 + 3) * 5000 - 1);
}

TEST_CASE("cuda index: parts of large tensors are where they are") {
  const Value x = param(0, {two31 + 3000}, DType::U8);
  const auto tail = follow(slice(x, 0, two31 + 100, two31 + 3000) * 2.0);
  REQUIRE(tail.size() == 1);
  CHECK(tail[0].first_load == two31 + 100);
  CHECK(tail[0].last_load == two31 + 2999);
  CHECK(tail[0].last_store == 2899);
  const Value y = param(0, {3, two31 + 7}, DType::U8);
  const auto column = follow(slice(y, 1, two31, two31 + 7) * 2.0);
  CHECK(column[0].first_load == two31);
  CHECK(column[0].last_load == 3 * (two31 + 7) - 1);
}

TEST_CASE("cuda index: nothing is launched for results without elements") {
  for (const Value& y :
       {param(0, {0, 5}) + 1.0, transpose(param(0, {0, 64}), 0, 1) * 2.0,
        scan(Combine::Sum, param(0, {0, 5}), 1), reduce(Combine::Sum, param(0, {0, 5}), Dims{1}),
        scan(Combine::Sum, param(0, {70000, 0}), 1) + 1.0}) {
    const auto program = compiler::compile(test::graph_over({y}), compiler::cuda_target(90));
    for (const auto& launch : program.launches) CHECK(launch.kernel.range == 0);
  }
}

TEST_CASE("cuda index: the loop of a padded convolution divides by literals, for the image alone") {
  const Value x = pad(pad(param(0, {1, 8, 16, 30, 30}), 3, 1, 1), 4, 1, 1);
  const Value w = param(1, {1, 32, 16, 3, 3});
  const Graph graph = test::graph_over({conv(x, w, Dims{1, 1}, Dims{1, 1})});
  const auto program = compiler::compile(graph, compiler::cuda_target(90));
  REQUIRE(program.launches.size() == 2);  // the padded image is written out first
  const Function& f = program.launches[1].kernel.function;
  const auto divides = [](const Instruction& i) {
    return i.op == Opcode::Div || i.op == Opcode::Rem;
  };
  for (const Instruction& loop : f.instructions) {
    if (loop.op != Opcode::For) continue;
    int loads = 0, divisions = 0, by_literals = 0;
    for (Ref r : f.blocks[size_t(loop.block)].instructions) {
      const Instruction& i = f.instructions[size_t(r.id)];
      loads += i.op == Opcode::Load && f.buffers[size_t(i.imm)].kind == Buffer::Kind::Argument;
      if (!divides(i)) continue;
      ++divisions;
      by_literals += f.instructions[size_t(i.operands[1].id)].op == Opcode::Constant;
    }
    if (loads == 0) continue;  // the epilogue
    CHECK(divisions > 0);
    CHECK(divisions == by_literals);
    CHECK(divisions <= 2 * loads + 1);  // four for the image, none for the weights
  }
}

TEST_CASE("cuda index: kernels read beyond 2^31 elements where they should") {
  CERMET_NEEDS_NVRTC();
  // Of each parameter there is only the end, whose elements say where they are.
  const auto end_of = [](const Shape& shape, int64_t count) {
    HostArray out(DType::U8, {count});
    for (int64_t k = 0; k < count; ++k)
      out.set_bits(k, uint64_t(numel(shape) - count + k) * 2654435761u >> 7 & 0xff);
    return out;
  };
  const auto element = [](int64_t position) {
    return uint64_t(position) * 2654435761u >> 7 & 0xff;
  };
  const Shape flat = {two31 + 4096}, square = {65536, 65536};
  {
    const Graph graph =
        test::graph_over({barrier(slice(param(0, flat, DType::U8), 0, two31 + 99, two31 + 4001))});
    const auto run = test::clean_run(graph, std::vector{end_of(flat, 4096)});
    for (int64_t k = 0; k < 3902; ++k) REQUIRE(run.results[0].bits(k) == element(two31 + 99 + k));
  }
  {
    const Value corner =
        slice(slice(param(0, square, DType::U8), 0, 65500, 65536), 1, 65495, 65536);
    const Graph graph = test::graph_over({barrier(transpose(corner, 0, 1))});
    const auto run = test::clean_run(graph, std::vector{end_of(square, 36 * 65536)});
    CHECK(run.counters.barriers > 0);
    for (int64_t c = 0; c < 41; ++c)
      for (int64_t r = 0; r < 36; ++r)
        REQUIRE(run.results[0].bits(c * 36 + r) == element((65500 + r) * 65536 + 65495 + c));
  }
  {
    const Value index = param(1, {300}, DType::I64);
    const Graph graph = test::graph_over({gather(param(0, flat, DType::U8), index, 0)});
    HostArray at(DType::I64, {300});
    for (int64_t k = 0; k < 300; ++k) at.set_bits(k, uint64_t(two31 + 13 * k));
    const auto run = test::clean_run(graph, std::vector{end_of(flat, 4096), at});
    for (int64_t k = 0; k < 300; ++k) REQUIRE(run.results[0].bits(k) == element(two31 + 13 * k));
  }
}
