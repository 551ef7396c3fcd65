// The workloads in Eigen, as its users write them: Array and Matrix expressions, whose products use
// OpenMP; for two threads and more, the others through Eigen's Tensor module and its thread pool,
// where that has them.

#define EIGEN_USE_THREADS

#include <Eigen/Dense>
#include <unsupported/Eigen/CXX11/Tensor>
#include <unsupported/Eigen/CXX11/ThreadPool>
#include <unsupported/Eigen/SpecialFunctions>

#include "tools/bench/cpu/array.h"
#include "tools/bench/cpu/case.h"

namespace bench {
namespace {

using Eigen::ArrayXf;
using Eigen::RowVectorXf;
using Grid = Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <int Rank>
using TensorMap = Eigen::TensorMap<Eigen::Tensor<float, Rank, Eigen::RowMajor>>;

// Everything that a case holds is a member of its class: inputs, results, `operator()` and
// `check()`.
template <class Held>
Case eigen_case(const std::string& name) {
  return {name, [] {
            const auto held = std::make_shared<Held>();
            return Work{[=] { (*held)(); }, [=] { return held->check(); }};
          }};
}

template <class Dense>
double total(const Dense& x) {
  return x.template cast<double>().cwiseAbs().sum();
}

template <class Dense = Matrix>
Dense filled(Eigen::Index rows, Eigen::Index columns, uint32_t seed, float scale = 1) {
  Dense out(rows, columns);
  fill({out.data(), size_t(out.size())}, seed, scale);
  return out;
}

ArrayXf column(Eigen::Index count, uint32_t seed, float scale = 1) {
  return filled<ArrayXf>(count, 1, seed, scale);
}

bool threaded() { return Eigen::nbThreads() > 1; }

// The device of the Tensor module.
struct Pool {
  Eigen::ThreadPool threads{Eigen::nbThreads()};
  Eigen::ThreadPoolDevice device{&threads, Eigen::nbThreads()};
};

constexpr Eigen::Index long_array = 1 << 24;

struct Chain {
  ArrayXf x = column(long_array, 1), y = column(long_array, 2), out{long_array};
  Pool pool;
  void operator()() {
    if (threaded()) {
      const TensorMap<1> a(x.data(), long_array), b(y.data(), long_array);
      const auto t = ((a * 1.1F + 0.1F) * b - a).cwiseMax(-0.5F).cwiseMin(0.5F);
      TensorMap<1>(out.data(), long_array).device(pool.device) = (t * t + b) * 0.3F - 0.2F;
    } else {
      const auto t = ((x * 1.1F + 0.1F) * y - x).max(-0.5F).min(0.5F);
      out = (t * t + y) * 0.3F - 0.2F;
    }
  }
  double check() const { return total(out); }
};

struct GeluTanh {
  ArrayXf x = column(long_array, 1), out{long_array};
  Pool pool;
  void operator()() {
    const auto gelu = [](const auto& t) {
      return t * 0.5F * ((0.7978845608F * (t + 0.044715F * t * t * t)).tanh() + 1.0F);
    };
    if (threaded()) {
      const TensorMap<1> a(x.data(), long_array);
      const auto t = a * 1.5F + 0.1F;
      TensorMap<1>(out.data(), long_array).device(pool.device) = gelu(t) * 0.9F;
    } else {
      const auto t = x * 1.5F + 0.1F;
      out = gelu(t) * 0.9F;
    }
  }
  double check() const { return total(out); }
};

struct GeluErf {
  ArrayXf x = column(long_array, 1), out{long_array};
  Pool pool;
  void operator()() {
    if (threaded()) {
      const TensorMap<1> a(x.data(), long_array);
      const auto t = a * 1.5F + 0.1F;
      TensorMap<1>(out.data(), long_array).device(pool.device) =
          t * 0.5F * ((t * 0.70710678F).erf() + 1.0F) * 0.9F;
    } else {
      const auto t = x * 1.5F + 0.1F;
      out = t * 0.5F * ((t * 0.70710678F).erf() + 1.0F) * 0.9F;
    }
  }
  double check() const { return total(out); }
};

// Row by row, as Eigen's own expression for all rows at once is several times slower.
struct Softmax {
  Grid x = filled<Grid>(4096, 1024, 1, 4), out{4096, 1024};
  void operator()() {
    for (Eigen::Index r = 0; r < x.rows(); ++r) {
      out.row(r) = (x.row(r) - x.row(r).maxCoeff()).exp();
      out.row(r) *= 1 / out.row(r).sum();
    }
  }
  double check() const { return total(out); }
};

struct LayerNorm {
  Grid x = filled<Grid>(4096, 1024, 1), out{4096, 1024}, weight = filled<Grid>(1, 1024, 2),
       bias = filled<Grid>(1, 1024, 3);
  void operator()() {
    for (Eigen::Index r = 0; r < x.rows(); ++r) {
      const float mean = x.row(r).mean(), variance = (x.row(r) - mean).square().mean();
      out.row(r) =
          (x.row(r) - mean) * (1 / std::sqrt(variance + 1e-5F)) * weight.row(0) + bias.row(0);
    }
  }
  double check() const { return total(out); }
};

enum class Op { Sum, Mean, Max };

// Axis 2 stands for all.
template <Op op, int axis>
struct Reduction {
  Grid x = filled<Grid>(4096, 4096, 1);
  ArrayXf out = ArrayXf::Zero(axis == 2 ? 1 : 4096);
  template <class Expression>
  static auto reduced(const Expression& e) {
    if constexpr (op == Op::Sum) {
      return e.sum();
    } else if constexpr (op == Op::Mean) {
      return e.mean();
    } else {
      return e.maxCoeff();
    }
  }
  void operator()() {
    if constexpr (axis == 0) {
      out = reduced(x.colwise());
    } else if constexpr (axis == 1) {
      out = reduced(x.rowwise());
    } else {
      out[0] = reduced(x);
    }
  }
  double check() const { return total(out); }
};

struct Mlp {
  Matrix x = filled(128, 784, 1), w1 = filled(784, 512, 2, 0.05F), w2 = filled(512, 256, 3, 0.05F),
         w3 = filled(256, 10, 4, 0.05F), target = Matrix::Zero(128, 10), h1, h2, z, d1, d2, d3;
  RowVectorXf b1 = RowVectorXf::Zero(512), b2 = RowVectorXf::Zero(256), b3 = RowVectorXf::Zero(10);
  float loss = 0;
  Mlp() {
    for (int i = 0; i < 128; ++i) target(i, i * 7 % 10) = 1;
  }
  void operator()() {
    constexpr float rate = 0.01F;
    h1.noalias() = x * w1;
    h1 = (h1.rowwise() + b1).cwiseMax(0.0F);
    h2.noalias() = h1 * w2;
    h2 = (h2.rowwise() + b2).cwiseMax(0.0F);
    z.noalias() = h2 * w3;
    z.rowwise() += b3;
    z.colwise() -= z.rowwise().maxCoeff().eval();
    z.colwise() -= z.array().exp().rowwise().sum().log().matrix().eval();
    loss = -(z.array() * target.array()).sum() / 128;
    d3 = (z.array().exp() - target.array()) / 128;
    d2.noalias() = d3 * w3.transpose();
    d2 = (h2.array() > 0).select(d2, 0.0F);
    d1.noalias() = d2 * w2.transpose();
    d1 = (h1.array() > 0).select(d1, 0.0F);
    w3.noalias() -= rate * (h2.transpose() * d3);
    w2.noalias() -= rate * (h1.transpose() * d2);
    w1.noalias() -= rate * (x.transpose() * d1);
    b3 -= rate * d3.colwise().sum();
    b2 -= rate * d2.colwise().sum();
    b1 -= rate * d1.colwise().sum();
  }
  double check() const { return loss; }
};

struct Attention {
  std::vector<Matrix> q, k, v, out;
  Matrix scores;
  Attention() {
    const auto heads = [](uint32_t seed) {
      const Matrix all = filled(16 * 256, 64, seed);
      std::vector<Matrix> list;
      for (int h = 0; h < 16; ++h) list.emplace_back(all.middleRows(256L * h, 256));
      return list;
    };
    q = heads(1), k = heads(2), v = heads(3), out = q;
  }
  void operator()() {
    for (size_t h = 0; h < 16; ++h) {
      scores.noalias() = q[h] * k[h].transpose();
      for (int r = 0; r < 256; ++r) {
        auto row = scores.row(r).array();
        row = ((row - row.maxCoeff()) * 0.125F).exp();
        row *= 1 / row.sum();
      }
      out[h].noalias() = scores * v[h];
    }
  }
  double check() const {
    double sum = 0;
    for (const Matrix& head : out) sum += total(head);
    return sum;
  }
};

struct ProductBiasGelu {
  Matrix a = filled(1024, 1024, 1, 0.1F), b = filled(1024, 1024, 2), out{1024, 1024};
  RowVectorXf bias = filled<RowVectorXf>(1, 1024, 3);
  void operator()() {
    out.noalias() = a * b;
    for (Eigen::Index r = 0; r < out.rows(); ++r) {
      const auto t = (out.row(r) + bias).array();
      out.row(r).array() =
          (t * 0.5F * ((0.7978845608F * (t + 0.044715F * t * t * t)).tanh() + 1.0F)).eval();
    }
  }
  double check() const { return total(out); }
};

template <int m, int k, int n>
struct Product {
  Matrix a = filled(m, k, 1), b = filled(k, n, 2), out{m, n};
  void operator()() {
    if constexpr (n == 1)
      out.col(0).noalias() = a * b.col(0);
    else if constexpr (m == 1)
      out.row(0).noalias() = a.row(0) * b;
    else
      out.noalias() = a * b;
  }
  double check() const { return total(out); }
};

struct SmallOperations {
  ArrayXf x = column(1024, 1), y = column(1024, 2), out{1024};
  void operator()() {
    const auto round = [this](const auto& t) {
      return (t * 1.01F + 0.1F - y).max(-1.0F).min(1.0F);
    };
    const auto first = round(x);
    const auto second = round(first);
    const auto third = round(second);
    out = round(third);
    asm volatile("" ::: "memory");
  }
  double check() const { return total(out); }
};

struct Distances {
  Matrix a = filled(2000, 64, 1), b = filled(2000, 64, 2), out{2000, 2000};
  void operator()() {
    for (Eigen::Index i = 0; i < 2000; ++i)
      out.row(i) = (b.rowwise() - a.row(i)).rowwise().squaredNorm();
  }
  double check() const { return total(out); }
};

struct BlackScholes {
  static constexpr Eigen::Index count = 1 << 22;
  ArrayXf spot = column(count, 1, 50) + 100, strike = column(count, 2, 50) + 100,
          years = column(count, 3, 0.9F) + 1, call{count}, put{count}, spread{count}, d1{count},
          discounted{count};
  void operator()() {
    constexpr float rate = 0.02F, volatility = 0.3F;
    const auto normal = [](const auto& d) { return 0.5F * ((d * 0.70710678F).erf() + 1.0F); };
    spread = volatility * years.sqrt();
    d1 = ((spot / strike).log() + (rate + 0.5F * volatility * volatility) * years) / spread;
    discounted = strike * (-rate * years).exp();
    call = spot * normal(d1) - discounted * normal(d1 - spread);
    put = call - spot + discounted;
  }
  double check() const { return total(call) + total(put); }
};

}  // namespace

std::vector<Case> all_cases() {
  return {
      eigen_case<Chain>("W1a"),
      eigen_case<GeluTanh>("W1b"),
      eigen_case<GeluErf>("W1c"),
      eigen_case<Softmax>("W2"),
      eigen_case<LayerNorm>("W3a"),
      eigen_case<Reduction<Op::Sum, 0>>("W4_sum0"),
      eigen_case<Reduction<Op::Sum, 1>>("W4_sum1"),
      eigen_case<Reduction<Op::Sum, 2>>("W4_sumall"),
      eigen_case<Reduction<Op::Mean, 0>>("W4_mean0"),
      eigen_case<Reduction<Op::Mean, 1>>("W4_mean1"),
      eigen_case<Reduction<Op::Mean, 2>>("W4_meanall"),
      eigen_case<Reduction<Op::Max, 0>>("W4_max0"),
      eigen_case<Reduction<Op::Max, 1>>("W4_max1"),
      eigen_case<Reduction<Op::Max, 2>>("W4_maxall"),
      eigen_case<Mlp>("W5"),
      eigen_case<Attention>("W6a"),
      eigen_case<ProductBiasGelu>("W7"),
      eigen_case<Product<64, 64, 64>>("W7_mm64x64x64"),
      eigen_case<Product<128, 128, 128>>("W7_mm128x128x128"),
      eigen_case<Product<256, 256, 256>>("W7_mm256x256x256"),
      eigen_case<Product<512, 512, 512>>("W7_mm512x512x512"),
      eigen_case<Product<1024, 1024, 1024>>("W7_mm1024x1024x1024"),
      eigen_case<Product<2048, 2048, 2048>>("W7_mm2048x2048x2048"),
      eigen_case<Product<2048, 2048, 16>>("W7_mm2048x2048x16"),
      eigen_case<Product<16, 2048, 2048>>("W7_mm16x2048x2048"),
      eigen_case<Product<4096, 4096, 1>>("W7_mm4096x4096x1"),
      eigen_case<Product<1, 4096, 4096>>("W7_mm1x4096x4096"),
      eigen_case<SmallOperations>("W8"),
      eigen_case<Distances>("W9"),
      eigen_case<BlackScholes>("W14a"),
  };
}

}  // namespace bench
