// Aliasing, against a model: a tensor is a shape, strides and an offset into memory that others
// share, as PyTorch has it. Random programs of views and in-place operations run on both.

#include <numeric>
#include <random>

#include "api/errors.h"
#include "cermet/cermet.h"

namespace ct = cermet;

namespace {

struct Model {
  std::shared_ptr<std::vector<double>> memory;
  std::vector<int64_t> shape, strides;
  int64_t offset = 0;

  int64_t numel() const {
    return std::accumulate(shape.begin(), shape.end(), int64_t(1), std::multiplies<>());
  }
  // Calls f for the place of each element, row-major.
  template <class F>
  void each(F f) const {
    for (int64_t i = 0; i < numel(); ++i) {
      int64_t rest = i, at = offset;
      for (size_t d = shape.size(); d-- > 0; rest /= shape[d]) at += rest % shape[d] * strides[d];
      f((*memory)[size_t(at)], i);
    }
  }
  std::vector<double> elements() const {
    std::vector<double> out;
    each([&](double& x, int64_t) { out.push_back(x); });
    return out;
  }
  bool expanded() const {
    for (size_t d = 0; d < shape.size(); ++d)
      if (strides[d] == 0 && shape[d] > 1) return true;
    return false;
  }
};

struct Pair {
  ct::Tensor tensor;
  Model model;
};

class Program {
 public:
  explicit Program(uint64_t seed) : random_(seed) {
    for (int i = 0; i < 2; ++i) {
      const std::vector<int64_t> shape = {2 + pick(3), 1 + pick(3), 3};
      Model model{std::make_shared<std::vector<double>>(), shape, {shape[1] * 3, 3, 1}, 0};
      for (int64_t k = 0; k < model.numel(); ++k) model.memory->push_back(double(k));
      if (i == 0) {
        pairs_.push_back({ct::tensor(*model.memory, ct::Shape(shape)), model});
      } else {  // borrowed
        memory_ = *model.memory;
        pairs_.push_back({ct::from_blob(memory_.data(), ct::Shape(shape), ct::DType::F64), model});
      }
    }
  }

  void step() {
    const Pair at = pairs_[size_t(pick(int64_t(pairs_.size())))];
    switch (pick(10)) {
      case 0:
      case 1: select(at); break;
      case 2:
      case 3: slice(at); break;
      case 4: transpose(at); break;
      case 5: expand(at); break;
      case 6: at.tensor.realize(); break;
      case 7: give_out(at); break;
      default: write(at); break;
    }
  }

  void check() const {
    for (const Pair& p : pairs_) {
      INFO("shape " << ct::to_string(p.tensor.shape()));
      REQUIRE(p.tensor.shape() == ct::Shape(p.model.shape));
      REQUIRE(p.tensor.to_vector<double>() == p.model.elements());
    }
  }

 private:
  int64_t pick(int64_t n) { return int64_t(random_() % uint64_t(n)); }

  void keep(Pair p) {
    if (pairs_.size() < 8)
      pairs_.push_back(std::move(p));
    else
      pairs_[2 + size_t(pick(6))] = std::move(p);
  }

  void select(const Pair& p) {
    if (p.model.shape.empty()) return;
    const int64_t d = pick(int64_t(p.model.shape.size())), n = p.model.shape[size_t(d)];
    const int64_t i = pick(n);
    Pair out{p.tensor.select(d, pick(2) ? i : i - n), p.model};
    out.model.offset += i * out.model.strides[size_t(d)];
    out.model.shape.erase(out.model.shape.begin() + d);
    out.model.strides.erase(out.model.strides.begin() + d);
    keep(std::move(out));
  }
  void slice(const Pair& p) {
    if (p.model.shape.empty()) return;
    const int64_t d = pick(int64_t(p.model.shape.size())), n = p.model.shape[size_t(d)];
    Pair out = p;
    int64_t &extent = out.model.shape[size_t(d)], &stride = out.model.strides[size_t(d)];
    if (pick(2)) {  // all of it backwards
      out.tensor = p.tensor.slice(d, std::nullopt, std::nullopt, -1);
      out.model.offset += (n - 1) * stride;
      stride = -stride;
    } else {
      const int64_t start = pick(n), step = 1 + pick(2);
      out.tensor = p.tensor.slice(d, start, std::nullopt, step);
      out.model.offset += start * stride;
      extent = (n - start + step - 1) / step;
      stride *= step;
    }
    keep(std::move(out));
  }
  void transpose(const Pair& p) {
    const int64_t rank = int64_t(p.model.shape.size());
    if (rank < 2) return;
    const int64_t a = pick(rank), b = pick(rank);
    Pair out{p.tensor.transpose(a, b), p.model};
    std::swap(out.model.shape[size_t(a)], out.model.shape[size_t(b)]);
    std::swap(out.model.strides[size_t(a)], out.model.strides[size_t(b)]);
    keep(std::move(out));
  }
  void expand(const Pair& p) {
    if (p.model.shape.size() > 3) return;
    Pair out = p;
    out.model.shape.insert(out.model.shape.begin(), 2);
    out.model.strides.insert(out.model.strides.begin(), 0);
    out.tensor = p.tensor.expand(ct::Shape(out.model.shape));
    keep(std::move(out));
  }
  void write(const Pair& p) {
    ct::Tensor t = p.tensor;
    if (p.model.expanded()) {
      CHECK_ERROR(t.add_(1), "several places");
      return;
    }
    const double v = double(pick(5)) - 2;
    switch (pick(4)) {
      case 0:
        t.add_(v);
        p.model.each([&](double& x, int64_t) { x += v; });
        break;
      case 1:
        t *= 0.5;
        p.model.each([&](double& x, int64_t) { x *= 0.5; });
        break;
      case 2:
        t.fill_(v);
        p.model.each([&](double& x, int64_t) { x = v; });
        break;
      default: {  // its own elements in another order
        if (p.model.shape.empty()) return;
        const std::vector<double> old = p.model.elements();
        const int64_t n = p.model.shape[0], rest = n > 0 ? p.model.numel() / n : 0;
        t.copy_(p.tensor.flip(0));
        p.model.each(
            [&](double& x, int64_t i) { x = old[size_t((n - 1 - i / rest) * rest + i % rest)]; });
      }
    }
  }
  // A pointer to the elements, written through at once.
  void give_out(const Pair& p) {
    double* first = p.tensor.data<double>();
    first[0] = p.model.elements()[0] + 7;
    (*p.model.memory)[size_t(p.model.offset)] += 7;
  }

  std::mt19937_64 random_;
  std::vector<double> memory_;
  std::vector<Pair> pairs_;
};

}  // namespace

TEST_CASE("alias: random programs of views and in-place operations do what PyTorch's memory does") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    Program program(seed);
    for (int i = 0; i < 12; ++i) program.step();
    program.check();
    for (int i = 0; i < 6; ++i) program.step();
    program.check();
  }
}
