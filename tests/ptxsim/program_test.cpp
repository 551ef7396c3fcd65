// Whole programs, compiled by the real NVRTC in both of its dialects and compared with the host's
// arithmetic; and what the counters say of kernels whose traffic is known.

#include <bit>
#include <cmath>
#include <numeric>
#include <random>

#include "ptxsim/device.h"
#include "ptxsim/half.h"
#include "ptxsim/program_kernels.h"
#include "support/cuda.h"

using namespace cermet::ptxsim;
using namespace cermet::ptxsim::test;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

namespace {

std::unique_ptr<Module> module_for(const char* source, int sm) {
  return Module::parse(cermet::compiler::compile_cuda(source, {.arch = {sm}, .cubin = false}).ptx);
}

bool close(float got, double expected, double relative) {
  return std::fabs(static_cast<double>(got) - expected) <= relative * std::fabs(expected);
}

template <class T>
struct Function {
  const char* kernel;
  double (*reference)(double);
  double low, high, ulps;
};

// The errors allowed are those of the CUDA programming guide, "Mathematical Functions Appendix".
const Function<float> kFloatFunctions[] = {
    {"f_sin", [](double x) { return std::sin(x); }, -200000, 200000, 2},
    {"f_cos", [](double x) { return std::cos(x); }, -20, 20, 2},
    {"f_tan", [](double x) { return std::tan(x); }, -20, 20, 4},
    {"f_exp", [](double x) { return std::exp(x); }, -87, 88, 2},
    {"f_log", [](double x) { return std::log(x); }, 1e-30, 1e3, 1},
    {"f_log1p", [](double x) { return std::log1p(x); }, -0.9, 5, 1},
    {"f_tanh", [](double x) { return std::tanh(x); }, -10, 10, 2},
    {"f_erf", [](double x) { return std::erf(x); }, -4, 4, 2},
    {"f_pow", [](double x) { return std::pow(x, 2.5); }, 0, 100, 4},
    {"f_rsqrt", [](double x) { return 1 / std::sqrt(x); }, 1e-10, 1e10, 2},
    {"f_cbrt", [](double x) { return std::cbrt(x); }, -100, 100, 1},
    {"f_atan", [](double x) { return std::atan(x); }, -100, 100, 2},
    {"f_lgamma", [](double x) { return std::lgamma(x); }, 3, 50, 6},
    {"f_round", [](double x) { return std::round(x); }, -100, 100, 0},
    {"f_fmod", [](double x) { return std::fmod(x, static_cast<double>(0.7F)); }, -100, 100, 0},
};
const Function<double> kDoubleFunctions[] = {
    {"d_sin", [](double x) { return std::sin(x); }, -1e6, 1e6, 2},
    {"d_exp", [](double x) { return std::exp(x); }, -700, 700, 1},
    {"d_log", [](double x) { return std::log(x); }, 1e-300, 1e3, 1},
    {"d_pow", [](double x) { return std::pow(x, 2.5); }, 0, 1e5, 2},
    {"d_tanh", [](double x) { return std::tanh(x); }, -20, 20, 1},
    {"d_erf", [](double x) { return std::erf(x); }, -6, 6, 2},
    {"d_sqrt", [](double x) { return std::sqrt(x); }, 0, 1e9, 0},
    {"d_atan", [](double x) { return std::atan(x); }, -100, 100, 2},
    {"d_div", [](double x) { return 1 / x; }, -1e9, 1e9, 0},
};

// The worst error in units of the last place, allowing one for the host's own.
template <class T>
void check_function(Module& module, const Function<T>& f) {
  INFO(f.kernel << " sm_" << module.target_sm());
  constexpr int count = 3000;
  std::vector<T> values(count);
  for (int i = 0; i < count; ++i) {
    values[static_cast<std::size_t>(i)] =
        static_cast<T>(f.low + (f.high - f.low) * std::pow((i + 0.37) / count, 1.3));
  }
  Device device;
  device.options.compute_capability = std::max(90, module.target_sm());
  T* const out = device.raw<T>(count);
  const Report report =
      device.run(module, f.kernel, {{4, 1, 1}, {128, 1, 1}, 0}, device.array(values), out, count);
  REQUIRE(report.text() == "");
  for (std::size_t i = 0; i < count; ++i) {
    const T expected = static_cast<T>(f.reference(static_cast<double>(values[i])));
    const T unit = std::nextafter(std::fabs(expected), std::numeric_limits<T>::infinity()) -
                   std::fabs(expected);
    const double error = std::fabs(static_cast<double>(out[i]) - static_cast<double>(expected)) /
                         static_cast<double>(unit);
    INFO(values[i] << " gives " << out[i] << ", expected " << expected);
    if (!(error <= f.ulps + (sizeof(T) == 8 ? 1 : 0))) FAIL(error);
  }
}

}  // namespace

TEST_CASE("ptxsim programs: CUDA's mathematics is as accurate as its manual says") {
  CERMET_NEEDS_NVRTC();
  for (const int sm : {75, 90, 100, 120}) {
    const auto module = module_for(kMathKernels, sm);
    for (const auto& f : kFloatFunctions) check_function(*module, f);
    for (const auto& f : kDoubleFunctions) check_function(*module, f);
  }
}

TEST_CASE("ptxsim programs: reductions, scans, transposes, atomics") {
  CERMET_NEEDS_NVRTC();
  for (const int sm : {80, 90, 100, 120}) {
    INFO("sm_" << sm);
    const auto module = module_for(kReductionKernels, sm);
    for (const u64 seed : {0, 3}) {
      Device device;
      device.options.seed = seed;
      device.options.compute_capability = std::max(90, sm);
      std::vector<float> x(64 * 256);
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>((i * 7919) % 1000) / 128 - 3;
      const float* const in = device.array(x, "in");
      float* const out = device.raw<float>(x.size(), "out");

      CHECK(device.run(*module, "sum_all", {{5, 1, 1}, {256, 1, 1}, 0}, in, out, 64 * 64).text() ==
            "");
      CHECK(close(out[0], std::accumulate(x.begin(), x.end(), 0.0), 1e-6));
      const float first = out[0];
      CHECK(device.run(*module, "sum_all", {{5, 1, 1}, {256, 1, 1}, 0}, in, out, 64 * 64).text() ==
            "");
      CHECK(out[0] == first);

      CHECK(device.run(*module, "softmax", {{9, 1, 1}, {256, 1, 1}, 0}, in, out, 64).text() == "");
      double total = 0;
      for (int i = 0; i < 256; ++i)
        total += std::exp(static_cast<double>(x[static_cast<std::size_t>(5 * 256 + i)]));
      for (int i = 0; i < 256; ++i) {
        const double e = std::exp(static_cast<double>(x[static_cast<std::size_t>(5 * 256 + i)]));
        CHECK(close(out[5 * 256 + i], e / total, 1e-5));
      }

      for (const char* const kernel : {"transpose_padded", "transpose_conflicts"}) {
        CHECK(device.run(*module, kernel, {{4, 4, 1}, {32, 8, 1}, 0}, in, out, 128).text() == "");
        for (int i = 0; i < 128 * 128; ++i)
          REQUIRE(out[i] == x[static_cast<std::size_t>(i % 128 * 128 + i / 128)]);
      }
    }
  }
}

TEST_CASE("ptxsim programs: integers as g++ computes them") {
  CERMET_NEEDS_NVRTC();
  for (const int sm : {80, 100}) {
    INFO("sm_" << sm);
    const auto module = module_for(kReductionKernels, sm);
    Device device;
    device.options.compute_capability = 100;
    std::mt19937_64 random(11);
    std::vector<long long> a(512), b(512);
    for (auto* values : {&a, &b}) {
      for (long long& v : *values)
        v = static_cast<long long>(random() >> (random() % 60)) * (random() % 2 == 0 ? 1 : -1);
    }
    long long* const out = device.raw<long long>(512);
    CHECK(device
              .run(*module, "integers", {{4, 1, 1}, {128, 1, 1}, 0}, device.array(a),
                   device.array(b), out, 512)
              .text() == "");
    for (std::size_t i = 0; i < 512; ++i) {
      const long long x = a[i], y = b[i] | 1;
      u64 h = static_cast<u64>(x) * 0x9e3779b97f4a7c15U;
      h ^= h >> 29, h *= 0xbf58476d1ce4e5b9U, h = (h << 13) | (h >> 51);
      __extension__ typedef unsigned __int128 u128;
      u32 reversed = 0;
      for (int bit = 0; bit < 32; ++bit) reversed |= static_cast<u32>(h >> bit & 1) << (31 - bit);
      const u64 expected =
          static_cast<u64>(x / y) + static_cast<u64>(x % y) +
          static_cast<u64>(static_cast<u128>(h) * static_cast<u64>(y) >> 64) +
          static_cast<u64>(static_cast<long long>(__builtin_popcountll(h)) * (x < y ? 3 : -5)) +
          static_cast<u64>(static_cast<long long>(static_cast<int>(x)) /
                           (static_cast<int>(y) | 1)) +
          reversed;
      CHECK(static_cast<u64>(out[i]) == expected);
    }

    std::vector<int> numbers(512);
    for (std::size_t i = 0; i < 512; ++i) numbers[i] = static_cast<int>(i * 37 % 101) - 50;
    int* const sums = device.raw<int>(512);
    CHECK(device.run(*module, "scan", {{2, 1, 1}, {256, 1, 1}, 0}, device.array(numbers), sums, 512)
              .text() == "");
    for (int i = 0, sum = 0; i < 512; ++i) {
      sum = (i % 256 == 0 ? 0 : sum) + numbers[static_cast<std::size_t>(i)];
      CHECK(sums[i] == sum);
    }

    std::vector<u32> keys(512);
    std::iota(keys.begin(), keys.end(), 5U);
    u32* const counts = device.array(std::vector<u32>(16));
    u64* const extremes = device.array(std::vector<u64>{~u64{0}, 0, 0});
    CHECK(device
              .run(*module, "histogram", {{4, 1, 1}, {128, 1, 1}, 0}, device.array(keys), counts,
                   extremes, 512)
              .text() == "");
    std::vector<u32> expected(16);
    u64 low = ~u64{0}, high = 0, odd = 0;
    for (const u32 key : keys) {
      const u32 x = key * 2654435761U;
      ++expected[x >> 28];
      low = std::min<u64>(low, x), high = std::max<u64>(high, x), odd += x & 1;
    }
    CHECK(device.read(counts, 16) == expected);
    CHECK(extremes[0] == low);
    CHECK(extremes[2] == odd);
    CHECK(extremes[1] <= high);  // of the first lanes of each group only
    CHECK(extremes[1] > 0);
  }
}

TEST_CASE("ptxsim programs: tensor-core products") {
  CERMET_NEEDS_NVRTC();
  for (const int sm : {80, 90, 120}) {
    INFO("sm_" << sm);
    const auto module = module_for(kProductKernels, sm);
    constexpr std::size_t M = 128, N = 128, K = 96;
    for (const bool bfloat : {true, false}) {
      Device device;
      device.options.compute_capability = std::max(90, sm);
      std::vector<u16> a(M * K), b(N * K);
      std::mt19937 random(5);
      const auto value = [&](u16 x) {
        return static_cast<double>(bfloat ? bfloat_to_float(x) : half_to_float(x));
      };
      for (auto* matrix : {&a, &b}) {
        for (u16& x : *matrix) {
          const float f = static_cast<float>(random() % 2001) / 1000 - 1;
          x = bfloat ? float_to_bfloat(f) : float_to_half(f);
        }
      }
      float* const c = device.raw<float>(M * N);
      const Report report = device.run(
          *module, bfloat ? "product_bf16" : "product_f16", {{N / 64, M / 64, 1}, {128, 1, 1}, 0},
          device.array(a), device.array(b), c, static_cast<int>(N), static_cast<int>(K));
      REQUIRE(report.text() == "");
      for (std::size_t i = 0; i < M * N; ++i) {
        double expected = 0, size = 0;
        for (std::size_t k = 0; k < K; ++k) {
          const double term = value(a[i / N * K + k]) * value(b[i % N * K + k]);
          expected += term, size += std::fabs(term);
        }
        REQUIRE(std::fabs(static_cast<double>(c[i]) - expected) < size * 1e-6);
      }
      CHECK(report.counters.mma == M * N * K / (16 * 8 * 16));
      // Rows of 80 bytes: the 8 rows of a matrix lie in different banks.
      CHECK(report.counters.count("ldmatrix") == report.counters.mma / 2 + report.counters.mma / 8);
      CHECK(report.counters.shared_load_wavefronts == 4 * report.counters.shared_load_requests);
    }
  }
}

TEST_CASE("ptxsim programs: fragments lie where the manual says") {
  CERMET_NEEDS_NVRTC();
  const auto module = module_for(kProductKernels, 80);
  Device device;
  const LaunchShape warp{{1, 1, 1}, {32, 1, 1}, 0};

  std::vector<float> a(128), b(64);
  for (std::size_t i = 0; i < 128; ++i) a[i] = static_cast<float>(i % 11) - 5;
  for (std::size_t i = 0; i < 64; ++i) b[i] = static_cast<float>(i % 7) - 3;
  float* const c = device.raw<float>(128);
  REQUIRE(device.run(*module, "fragment_tf32", warp, device.array(a), device.array(b), c).text() ==
          "");
  for (std::size_t i = 0; i < 128; ++i) {
    float expected = static_cast<float>(1 + i % 2 + 2 * (i / 64));
    for (std::size_t k = 0; k < 8; ++k) expected += a[i / 8 * 8 + k] * b[k * 8 + i % 8];
    CHECK(c[i] == expected);
  }
  // Of a register the upper 19 bits are a number of tf32; the rest makes no difference.
  const auto with_tail = [](std::vector<float> numbers) {
    for (float& x : numbers) x = std::bit_cast<float>(std::bit_cast<u32>(x) | 0x1fff);
    return numbers;
  };
  float* const same = device.raw<float>(128);
  REQUIRE(device
              .run(*module, "fragment_tf32", warp, device.array(with_tail(a)),
                   device.array(with_tail(b)), same)
              .text() == "");
  CHECK(device.read(same, 128) == device.read(c, 128));

  std::vector<signed char> sa(512);
  std::vector<unsigned char> ub(256);
  for (std::size_t i = 0; i < 512; ++i) sa[i] = static_cast<signed char>(i * 37 % 256);
  for (std::size_t i = 0; i < 256; ++i) ub[i] = static_cast<unsigned char>(i * 91 % 256);
  int* const ci = device.raw<int>(128);
  REQUIRE(device.run(*module, "fragment_s8", warp, device.array(sa), device.array(ub), ci).text() ==
          "");
  for (std::size_t i = 0; i < 128; ++i) {
    int expected = 0;
    for (std::size_t k = 0; k < 32; ++k) expected += sa[i / 8 * 32 + k] * ub[i % 8 * 32 + k];
    CHECK(ci[i] == expected);
  }

  std::vector<u16> ha(128), hb(64);
  for (std::size_t i = 0; i < 128; ++i) ha[i] = float_to_half(a[i]);
  for (std::size_t i = 0; i < 64; ++i) hb[i] = float_to_half(b[i]);
  u16* const ch = device.raw<u16>(128);
  REQUIRE(
      device.run(*module, "fragment_f16", warp, device.array(ha), device.array(hb), ch).text() ==
      "");
  for (std::size_t i = 0; i < 128; ++i) {
    float expected = i < 64 ? 1.0F : 0.0F;
    for (std::size_t k = 0; k < 8; ++k) expected += a[i / 8 * 8 + k] * b[k * 8 + i % 8];
    CHECK(half_to_float(ch[i]) == expected);
  }
}

TEST_CASE("ptxsim programs: the counters are exact") {
  CERMET_NEEDS_NVRTC();
  for (const int sm : {80, 100}) {
    INFO("sm_" << sm);
    const auto module = module_for(kReductionKernels, sm);
    Device device;
    device.options.compute_capability = 100;
    const float* const in = device.array(std::vector<float>(128 * 128, 1.0F));
    float* const out = device.raw<float>(128 * 128);
    const Counters one =
        device.run(*module, "copy1", {{4, 1, 1}, {256, 1, 1}, 0}, in, out, 1000).counters;
    CHECK(one.global_load_requests == 32);
    CHECK(one.global_load_sectors == 125);
    CHECK(one.global_store_sectors == 125);
    CHECK(one.global_load_bytes == 4000);
    const Counters four =
        device.run(*module, "copy4", {{4, 1, 1}, {256, 1, 1}, 0}, in, out, 1024).counters;
    CHECK(four.global_load_sectors == 16 * four.global_load_requests);
    CHECK(four.global_store_bytes == 16384);
    CHECK(four.count("ld.global") == 32);
    // Every lane runs everything but the branch around it all.
    CHECK(four.thread_instructions == 32 * (four.warp_instructions - four.count("bra")));
    const Counters strided =
        device.run(*module, "strided", {{4, 1, 1}, {256, 1, 1}, 0}, in, out, 1024).counters;
    CHECK(strided.global_load_sectors == 32 * strided.global_load_requests);
    const Counters padded =
        device.run(*module, "transpose_padded", {{4, 4, 1}, {32, 8, 1}, 0}, in, out, 128).counters;
    CHECK(padded.shared_load_wavefronts == padded.shared_load_requests);
    CHECK(padded.barriers == 16 * 8);
    const Counters conflicts =
        device.run(*module, "transpose_conflicts", {{4, 4, 1}, {32, 8, 1}, 0}, in, out, 128)
            .counters;
    CHECK(conflicts.shared_load_wavefronts == 32 * conflicts.shared_load_requests);
    CHECK(conflicts.shared_store_wavefronts == conflicts.shared_store_requests);
    Counters sum = padded;
    sum.add(conflicts);
    CHECK(sum.barriers == 2 * 16 * 8);
    CHECK(sum.count("bar.sync") == sum.barriers);
  }
}
