// The transpose of a view against its definition: the sum over all elements that read a place.
#include "ir/view_transpose.h"

#include <fmt/format.h>

#include <random>

#include "ir/graph.h"
#include "ir/interpreter.h"
#include "support/catch.h"

using namespace cermet;
using namespace cermet::ir;

namespace {

// Distinct powers would overflow; distinct odd numbers make wrong sums very unlikely to be right.
HostArray numbered(const Shape& shape) {
  HostArray out(DType::F64, shape);
  double next = 1;
  for (double& v : out.as<double>()) v = next, next += 2;
  return out;
}

HostArray expected(const ViewMap& map, const Shape& source, const HostArray& adjoint) {
  HostArray out(DType::F64, source);
  Dims index(map.shape().size(), 0);
  for (int64_t i = 0; i < adjoint.numel(); ++i) {
    int64_t rest = i;
    for (size_t d = index.size(); d-- > 0;)
      index[d] = rest % map.shape()[d], rest /= map.shape()[d];
    if (auto at = map.position(index)) out.as<double>()[size_t(*at)] += adjoint.number(i);
  }
  return out;
}

Value transposed(const ViewMap& map, const Shape& source) {
  return transpose_view(map, source, parameter(0, DType::F64, map.shape()));
}

void check(const ViewMap& map, const Shape& source, const std::string& trace) {
  INFO(trace);
  const HostArray adjoint = numbered(map.shape());
  const HostArray got = interpret({{}, {transposed(map, source)}}, {{adjoint}})[0];
  const HostArray want = expected(map, source, adjoint);
  if (got == want) return;
  INFO("got " << to_string(got) << ", expected " << to_string(want));
  CHECK(false);
}

bool uses(const Value& root, Op op) {
  for (const Node* node : topological_order(std::span(&root, 1)))
    if (node->op == op) return true;
  return false;
}

ViewMap whole(const Shape& shape) { return ViewMap::identity(shape); }

// One random view operation, or the same map where it does not apply.
ViewMap random_view(const ViewMap& map, std::mt19937& rng, std::string& trace) {
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  const Shape& shape = map.shape();
  const size_t rank = shape.size();
  if (rank == 0) return map;
  const int64_t axis = pick(0, int64_t(rank) - 1), n = shape[size_t(axis)];
  switch (pick(0, 7)) {
    case 0: {
      Dims order(rank);
      for (size_t d = 0; d < rank; ++d) order[d] = int64_t(d);
      std::shuffle(order.begin(), order.end(), rng);
      trace += "; permute " + to_string(order);
      return map.permute(order);
    }
    case 1: {
      Shape wider = shape;
      for (int64_t& d : wider)
        if (d == 1) d = pick(1, 3);
      trace += "; expand " + to_string(wider);
      return map.expand(wider);
    }
    case 2: {
      if (n == 0) return map;
      const int64_t start = pick(0, n - 1), step = pick(0, 1) ? pick(1, 3) : -pick(1, 3);
      const int64_t most = step > 0 ? (n - 1 - start) / step + 1 : start / -step + 1;
      const int64_t count = pick(1, most);
      trace += fmt::format("; slice axis {} from {} step {} count {}", axis, start, step, count);
      return map.slice(axis, start, count, count > 1 ? step : 1);
    }
    case 3: {
      const int64_t before = pick(-1, 2), after = pick(-1, 2);
      if (n + before + after < 0) return map;
      trace += fmt::format("; pad axis {} by {} and {}", axis, before, after);
      return map.pad(axis, before, after);
    }
    case 4: {
      if (rank < 2) return map;
      const int64_t other = (axis + 1) % int64_t(rank), offset = pick(-2, 2);
      trace += fmt::format("; diagonal {} of {} and {}", offset, axis, other);
      return map.diagonal(offset, axis, other);
    }
    case 5:
    case 6: {
      const int64_t size = pick(1, 3), stride = pick(1, 3), dilation = pick(1, 2);
      if (n < (size - 1) * dilation + 1 || rank > 4) return map;
      trace += fmt::format("; unfold axis {} size {} stride {} dilation {}", axis, size, stride,
                           dilation);
      return map.unfold(axis, size, stride, dilation);
    }
    default: {
      Shape split;
      for (int64_t rest = numel(shape); rest > 0;) {
        int64_t d = pick(1, rest);
        while (rest % d != 0) --d;
        if (split.size() == 3) d = rest;
        split.push_back(d);
        rest /= d;
        if (rest == 1) break;
      }
      if (split.empty()) return map;
      trace += "; reshape " + to_string(split);
      return map.reshape(split);
    }
  }
}

}  // namespace

TEST_CASE("view_transpose: random chains of views agree with the definition") {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    std::mt19937 rng(seed);
    Shape source;
    for (int64_t rank = rng() % 4; rank >= 0; --rank) source.push_back(1 + int64_t(rng() % 5));
    ViewMap map = whole(source);
    std::string trace = fmt::format("seed {} {}", seed, to_string(source));
    for (int step = 0; step < 5 && numel(map.shape()) < 300; ++step)
      map = random_view(map, rng, trace);
    check(map, source, trace);
  }
}

TEST_CASE("view_transpose: permutations, flips, slices and reshapes stay views") {
  const Shape s = {4, 6};
  for (const ViewMap& map :
       {whole(s), whole(s).permute(Dims{1, 0}), whole(s).flip(0), whole(s).slice(1, 5, 3, -2),
        whole(s).pad(0, 2, 1), whole(s).reshape(Dims{3, 8}), whole(s).diagonal(1, 0, 1),
        whole(s).unfold(1, 2, 2, 1), whole(s).unfold(1, 3, 3, 1), whole(s).slice(0, 2, 1, 1)}) {
    const Value t = transposed(map, s);
    check(map, s, to_string(map.shape()));
    for (Op op : {Op::Add, Op::Scatter, Op::Reduce}) CHECK(!uses(t, op));
  }
  CHECK(transposed(whole(s), s)->op == Op::Parameter);
  const ViewMap turned = whole(s).permute(Dims{1, 0}).flip(0);
  CHECK(transposed(turned, s)->view() == whole({6, 4}).flip(0).permute(Dims{1, 0}));
  // A slice with step 1 is undone by padding: one level.
  CHECK(transposed(whole(s).slice(0, 1, 2, 1).slice(1, 2, 3, 1), s)->view().single());
}

TEST_CASE("view_transpose: broadcast axes become a sum") {
  const Shape s = {3, 1};
  const Value t = transposed(whole(s).expand(Dims{3, 5}), s);
  check(whole(s).expand(Dims{3, 5}), s, "expand");
  CHECK(uses(t, Op::Reduce));
  CHECK(!uses(t, Op::Scatter));
}

TEST_CASE("view_transpose: overlapping windows are added, or scattered if there are too many") {
  const Shape s = {2, 40};
  const ViewMap few = whole(s).unfold(1, 3, 2, 1), many = whole({300}).unfold(0, 100, 2, 1);
  check(few, s, "3 taps");
  CHECK(!uses(transposed(few, s), Op::Scatter));
  check(many, {300}, "100 taps over 101 windows");
  CHECK(uses(transposed(many, {300}), Op::Scatter));
  // The windows are unrolled where they are fewer than the elements of one.
  const ViewMap wide = whole({300}).unfold(0, 200, 50, 1);
  check(wide, {300}, "200 taps over 3 windows");
  CHECK(!uses(transposed(wide, {300}), Op::Scatter));
  const ViewMap image = whole({2, 3, 9, 8}).unfold(2, 3, 2, 1).unfold(3, 2, 1, 1);
  check(image, {2, 3, 9, 8}, "windows of an image");
  CHECK(!uses(transposed(image, {2, 3, 9, 8}), Op::Scatter));
}

TEST_CASE("view_transpose: scalars, empty views and views of empty arrays") {
  check(whole({}), {}, "scalar");
  check(whole({5}).slice(0, 3, 1, 1).reshape(Dims{}), {5}, "one element");
  check(whole({5}).slice(0, 0, 0, 1), {5}, "no element");
  check(whole({0, 3}), {0, 3}, "empty source");
  check(whole({0}).pad(0, 2, 1), {0}, "padding only");
  check(whole({2}).pad(0, 3, 0).slice(0, 0, 2, 1), {2}, "only what was padded");
}
