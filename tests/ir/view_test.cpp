#include "ir/view.h"

#include <random>

#include "support/catch.h"

using namespace cermet;
using ir::ViewMap;

namespace {

// What a view must do, said as plainly as possible: an array of source positions, -1 where the view
// reads 0.
struct Naive {
  Shape shape;
  std::vector<int64_t> source;
};

std::vector<Dims> all_indices(const Shape& shape) {
  std::vector<Dims> out;
  const int64_t n = numel(shape);
  for (int64_t i = 0; i < n; ++i) {
    Dims index(shape.size());
    int64_t rest = i;
    for (size_t d = shape.size(); d-- > 0;) index[d] = rest % shape[d], rest /= shape[d];
    out.push_back(index);
  }
  return out;
}

int64_t linear(const Shape& shape, const Dims& index) {
  int64_t out = 0;
  for (size_t d = 0; d < shape.size(); ++d) out = out * shape[d] + index[d];
  return out;
}

template <class F>  // F: result index -> index in x, or nothing
Naive remap(const Naive& x, const Shape& shape, F from) {
  Naive out{shape, {}};
  for (const Dims& index : all_indices(shape)) {
    std::optional<Dims> at = from(index);
    out.source.push_back(at ? x.source[size_t(linear(x.shape, *at))] : -1);
  }
  return out;
}

void check(const ViewMap& map, const Naive& naive, const std::string& trace) {
  INFO(trace);
  REQUIRE(map.shape() == naive.shape);
  size_t i = 0;
  for (const Dims& index : all_indices(naive.shape)) {
    const int64_t want = naive.source[i++];
    const int64_t got = map.position(index).value_or(-1);
    if (got != want) {
      INFO("at " << to_string(index));
      REQUIRE(got == want);
    }
  }
}

struct Step {
  ViewMap map;
  Naive naive;
  std::string text;
};

// A random view operation applied to both.
Step random_step(const ViewMap& map, const Naive& x, std::mt19937& rng) {
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  const size_t rank = x.shape.size();
  const int64_t axis = rank ? pick(0, int64_t(rank) - 1) : 0;
  switch (rank ? pick(0, 7) : 7) {
    case 0: {
      Dims order(rank);
      for (size_t d = 0; d < rank; ++d) order[d] = int64_t(d);
      std::shuffle(order.begin(), order.end(), rng);
      Shape shape;
      for (int64_t d : order) shape.push_back(x.shape[size_t(d)]);
      return {map.permute(order),
              remap(x, shape,
                    [&](const Dims& i) {
                      Dims at(rank);
                      for (size_t d = 0; d < rank; ++d) at[size_t(order[d])] = i[d];
                      return std::optional(at);
                    }),
              "permute " + to_string(order)};
    }
    case 1: {
      Shape shape = x.shape;
      for (int64_t& d : shape)
        if (d == 1) d = pick(1, 3);
      return {map.expand(shape),
              remap(x, shape,
                    [&](const Dims& i) {
                      Dims at = i;
                      for (size_t d = 0; d < rank; ++d)
                        if (x.shape[d] == 1) at[d] = 0;
                      return std::optional(at);
                    }),
              "expand " + to_string(shape)};
    }
    case 2:
    case 3: {
      const int64_t n = x.shape[size_t(axis)];
      if (n == 0) return {map, x, "-"};
      const int64_t start = pick(0, n - 1);
      int64_t step = pick(-3, 3);
      if (step == 0) step = 1;
      const int64_t most = step > 0 ? (n - 1 - start) / step + 1 : start / -step + 1;
      const int64_t count = pick(pick(0, 3) ? 1 : 0, most);
      Shape shape = x.shape;
      shape[size_t(axis)] = count;
      return {map.slice(axis, start, count, step),
              remap(x, shape,
                    [&](const Dims& i) {
                      Dims at = i;
                      at[size_t(axis)] = start + i[size_t(axis)] * step;
                      return std::optional(at);
                    }),
              "slice"};
    }
    case 4: {
      const int64_t before = pick(-1, 2), after = pick(-1, 2), n = x.shape[size_t(axis)];
      if (n + before + after < 0) return {map, x, "-"};
      Shape shape = x.shape;
      shape[size_t(axis)] += before + after;
      return {map.pad(axis, before, after),
              remap(x, shape,
                    [&](const Dims& i) -> std::optional<Dims> {
                      Dims at = i;
                      at[size_t(axis)] -= before;
                      if (at[size_t(axis)] < 0 || at[size_t(axis)] >= n) return std::nullopt;
                      return at;
                    }),
              "pad"};
    }
    case 5: {
      if (rank < 2) return {map, x, "-"};
      const int64_t other = (axis + 1) % int64_t(rank), offset = pick(-2, 2);
      const int64_t row = std::max<int64_t>(-offset, 0), column = std::max<int64_t>(offset, 0);
      const int64_t count = std::max<int64_t>(
          0, std::min(x.shape[size_t(axis)] - row, x.shape[size_t(other)] - column));
      Shape shape;
      Dims kept;
      for (size_t d = 0; d < rank; ++d)
        if (int64_t(d) != axis && int64_t(d) != other)
          shape.push_back(x.shape[d]), kept.push_back(int64_t(d));
      shape.push_back(count);
      return {map.diagonal(offset, axis, other),
              remap(x, shape,
                    [&](const Dims& i) {
                      Dims at(rank);
                      for (size_t d = 0; d < kept.size(); ++d) at[size_t(kept[d])] = i[d];
                      at[size_t(axis)] = i.back() + row, at[size_t(other)] = i.back() + column;
                      return std::optional(at);
                    }),
              "diagonal"};
    }
    case 6: {
      const int64_t size = pick(1, 3), stride = pick(1, 3), dilation = pick(1, 2);
      const int64_t reach = (size - 1) * dilation + 1, n = x.shape[size_t(axis)];
      if (n < reach || rank > 4) return {map, x, "-"};
      Shape shape = x.shape;
      shape[size_t(axis)] = (n - reach) / stride + 1;
      shape.push_back(size);
      return {map.unfold(axis, size, stride, dilation),
              remap(x, shape,
                    [&](const Dims& i) {
                      Dims at(i.begin(), i.end() - 1);
                      at[size_t(axis)] = i[size_t(axis)] * stride + i.back() * dilation;
                      return std::optional(at);
                    }),
              "unfold"};
    }
    default: {
      // Split off factors at random.
      int64_t rest = numel(x.shape);
      Shape shape;
      if (rest == 0) return {map, x, "-"};
      while (rest > 1 && shape.size() < 4) {
        std::vector<int64_t> divisors;
        for (int64_t d = 1; d <= rest; ++d)
          if (rest % d == 0) divisors.push_back(d);
        shape.push_back(divisors[size_t(pick(0, int64_t(divisors.size()) - 1))]);
        rest /= shape.back();
      }
      if (rest > 1 || pick(0, 3) == 0) shape.push_back(rest);
      Naive out{shape, x.source};
      return {map.reshape(shape), out, "reshape " + to_string(shape)};
    }
  }
}

}  // namespace

TEST_CASE("view: random chains of views read what a plain list of positions says") {
  for (unsigned seed = 0; seed < 6000; ++seed) {
    std::mt19937 rng(seed);
    Shape shape;
    for (int64_t rank = rng() % 4; rank >= 0; --rank) shape.push_back(1 + int64_t(rng() % 5));
    Naive naive{shape, {}};
    for (int64_t i = 0; i < numel(shape); ++i) naive.source.push_back(i);
    ViewMap map = ViewMap::identity(shape);
    std::string trace = "seed " + std::to_string(seed) + " " + to_string(shape);
    for (int step = 0; step < 6 && naive.source.size() < 400; ++step) {
      Step next = random_step(map, naive, rng);
      map = next.map, naive = next.naive;
      trace += "; " + next.text;
      check(map, naive, trace);
      REQUIRE(!ir::verify_view(map, numel(shape)));
    }
  }
}

TEST_CASE("view: composing two maps reads what one after the other reads") {
  for (unsigned seed = 0; seed < 4000; ++seed) {
    std::mt19937 rng(seed + 100000);
    const Shape shape = {1 + int64_t(rng() % 4), 1 + int64_t(rng() % 4), 1 + int64_t(rng() % 4)};
    Naive naive{shape, {}};
    for (int64_t i = 0; i < numel(shape); ++i) naive.source.push_back(i);
    ViewMap inner = ViewMap::identity(shape);
    for (int step = 0; step < 3; ++step) {
      Step next = random_step(inner, naive, rng);
      inner = next.map, naive = next.naive;
    }
    if (naive.source.size() > 200) continue;
    Naive again{naive.shape, {}};
    for (int64_t i = 0; i < numel(naive.shape); ++i) again.source.push_back(i);
    ViewMap outer = ViewMap::identity(naive.shape);
    for (int step = 0; step < 3 && again.source.size() < 200; ++step) {
      Step next = random_step(outer, again, rng);
      outer = next.map, again = next.naive;
    }
    for (int64_t& at : again.source)
      if (at >= 0) at = naive.source[size_t(at)];
    check(ViewMap::compose(outer, inner), again, "seed " + std::to_string(seed));
  }
}

TEST_CASE("view: what should be one strided map is one") {
  const ViewMap x = ViewMap::identity(Shape{4, 6});
  const Dims swap = {1, 0};
  CHECK(x.permute(swap).permute(swap).is_identity());
  CHECK(x.reshape(Shape{24}).reshape(Shape{4, 6}).is_identity());
  CHECK(x.reshape(Shape{2, 2, 3, 2}).single());
  CHECK(x.permute(swap).reshape(Shape{24}).levels().size() == 2);
  CHECK(x.permute(swap).reshape(Shape{24}).reshape(Shape{6, 4}).single());
  CHECK(x.pad(0, 1, 1).slice(0, 1, 4, 1).is_identity());
  CHECK(x.flip(0).flip(0).is_identity());
  CHECK(x.pad(0, 2, 2).reshape(Shape{48}).single());
  CHECK(x.unfold(1, 3, 1, 1).single());
  // Padded by whole steps of the longest of the axes that an axis is divided into; by others not.
  const ViewMap heads = ViewMap::identity(Shape{2, 4, 3}).permute(Dims{1, 0, 2});
  CHECK(heads.reshape(Shape{4, 6}).pad(1, 6, 6).reshape(Shape{4, 3, 2, 3}).single());
  CHECK(!heads.reshape(Shape{4, 6}).pad(1, 3, 3).reshape(Shape{4, 2, 2, 3}).single());
}
