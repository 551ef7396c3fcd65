// Whole kernels: loops, masked tails, error reports, calls of helpers, memory on the stack.

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <thread>

#include "cermet/error.h"
#include "support/catch.h"
#include "support/kernels.h"
#include "support/message.h"
#include "support/repeats.h"

using Catch::Matchers::ContainsSubstring;
using cermet::DType;
using cermet::compiler::Target;
using cermet::compiler::loops::Buffer;
using cermet::compiler::loops::Builder;
using cermet::compiler::loops::Function;
using cermet::compiler::loops::Helper;
using cermet::compiler::loops::Opcode;
using cermet::compiler::loops::Ref;
using cermet::test::argument;
using cermet::test::for_each_target;
using cermet::test::GuardedMemory;
using cermet::test::Kernel;
using cermet::test::make_function;
using cermet::test::runnable_targets;

namespace {

// z = x * y + x over [begin, end), the last vector masked.
Function masked_map(const Target& target, int lanes, DType dtype) {
  return make_function(target, [&](Builder& b) {
    const int32_t x = b.add_buffer(argument(0, dtype)), y = b.add_buffer(argument(1, dtype)),
                  z = b.add_buffer(argument(2, dtype));
    const Ref end = b.end();
    b.for_loop(b.begin(), end, lanes, [&](Ref i) {
      const Ref mask = lanes == 1 ? Ref{} : b.lt(b.ramp(i, lanes), end);
      const Ref u = b.load(x, i, lanes, mask), v = b.load(y, i, lanes, mask);
      b.store(z, i, b.add(b.mul(u, v), u), mask);
    });
  });
}

template <class T>
void check_masked_map(const Target& target, int lanes) {
  Kernel kernel(masked_map(target, lanes, cermet::dtype_of<T>), target);
  // All lengths around the vector's, fewer for long vectors.
  for (int64_t n = 0; n <= 3 * lanes + 1; n += 1 + lanes / 32) {
    const size_t bytes = size_t(n) * sizeof(T);
    const GuardedMemory x(bytes + 1), y(bytes + 1), z(bytes + 1);
    for (const bool at_front : {false, true}) {
      const auto place = [&](const GuardedMemory& memory) {
        return reinterpret_cast<T*>(at_front ? memory.front()
                                             : static_cast<std::byte*>(memory.back()) + 1);
      };
      T *px = place(x), *py = place(y), *pz = place(z);
      for (int64_t i = 0; i < n; ++i) px[i] = T(i % 11 + 1), py[i] = T(i % 7 + 1);
      kernel.buffers = {px, py, pz};
      kernel.run(0, n);
      for (int64_t i = 0; i < n; ++i) REQUIRE(pz[i] == T(px[i] * py[i] + px[i]));
    }
  }
}

}  // namespace

TEST_CASE("llvm kernel: a masked tail never touches what lies behind the buffers") {
  for_each_target({1, 4, 8, 16, 32}, [](const Target& target, int lanes) {
    check_masked_map<float>(target, lanes);
    check_masked_map<double>(target, lanes);
    check_masked_map<uint8_t>(target, lanes);
    check_masked_map<int16_t>(target, lanes);
    check_masked_map<int32_t>(target, lanes);
    check_masked_map<int64_t>(target, lanes);
  });
}

namespace {

template <class T>
T reduce_pairwise(Opcode op, std::vector<T> x) {
  const auto combine = [op](T a, T b) -> T {
    // Integers wrap, which only unsigned arithmetic of full width may do.
    using Wide = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;
    if (op == Opcode::ReduceAdd) return T(Wide(a) + Wide(b));
    if (op == Opcode::ReduceMul) return T(Wide(a) * Wide(b));
    if (a != a || b != b) return a != a ? a : b;
    if (op == Opcode::ReduceMax) return a < b ? b : a;
    return b < a ? b : a;
  };
  for (size_t half = x.size() / 2; half >= 1; half /= 2)
    for (size_t i = 0; i < half; ++i) x[i] = combine(x[i], x[i + half]);
  return x[0];
}

template <class T>
void check_reductions(const Target& target, int lanes) {
  constexpr std::array ops = {Opcode::ReduceAdd, Opcode::ReduceMul, Opcode::ReduceMax,
                              Opcode::ReduceMin};
  const DType dtype = cermet::dtype_of<T>;
  Kernel kernel(target, [&](Builder& b) {
    const int32_t x = b.add_buffer(argument(0, dtype));
    const int32_t y = b.add_buffer(argument(1, dtype));
    const Ref v = b.load(x, b.index(0), lanes);
    for (size_t k = 0; k < ops.size(); ++k) b.store(y, b.index(int64_t(k)), b.reduce(ops[k], v));
  });
  std::mt19937 random(7);
  for (int round = 0; round < 40; ++round) {
    std::vector<T> x(static_cast<size_t>(lanes)), y(ops.size());
    for (T& v : x) v = T(T(random() % 17) / T(8)) - T(1);
    if constexpr (std::is_floating_point_v<T>) {
      if (round % 4 == 1) x[random() % x.size()] = std::numeric_limits<T>::quiet_NaN();
      if (round % 4 == 2) x[random() % x.size()] = -T(0);
    }
    kernel.buffers = {x.data(), y.data()};
    kernel.run();
    for (size_t k = 0; k < ops.size(); ++k) {
      const T expected = reduce_pairwise(ops[k], x);
      const bool equal =
          (y[k] != y[k] && expected != expected) || std::memcmp(&y[k], &expected, sizeof(T)) == 0;
      CHECK(equal);
    }
  }
}

}  // namespace

TEST_CASE("llvm kernel: lanes are reduced in halves, bit for bit") {
  for_each_target({1, 2, 4, 8, 16, 32, 64}, [&](const Target& target, int lanes) {
    check_reductions<float>(target, lanes);
    check_reductions<double>(target, lanes);
    check_reductions<int8_t>(target, lanes);
    check_reductions<uint16_t>(target, lanes);
    check_reductions<int32_t>(target, lanes);
    check_reductions<uint64_t>(target, lanes);
  });
}

TEST_CASE("llvm kernel: vectors are zipped, and prefetches need no memory") {
  for_each_target({2, 4, 16, 32}, [](const Target& target, int lanes) {
    Kernel kernel(target, [&](Builder& b) {
      const int32_t in = b.add_buffer(argument(0)), out = b.add_buffer(argument(1));
      const Ref x = b.load(in, b.index(0), lanes), y = b.load(in, b.index(lanes), lanes);
      b.prefetch(in, b.index(int64_t(1) << 40));
      b.store(out, b.index(0), b.zip_low(x, y));
      b.store(out, b.index(lanes), b.zip_high(x, y));
    });
    std::vector<float> in(size_t(lanes) * 2), out(size_t(lanes) * 2);
    std::iota(in.begin(), in.end(), 0.0f);
    kernel.buffers = {in.data(), out.data()};
    kernel.run();
    for (size_t i = 0; i < out.size(); ++i) CHECK(out[i] == float(i / 2 + (i % 2) * size_t(lanes)));
  });
}

TEST_CASE("llvm kernel: any and all of a mask") {
  for_each_target({1, 2, 4, 8, 16, 32, 64, 128}, [&](const Target& target, int lanes) {
    Kernel kernel(target, [&](Builder& b) {
      const int32_t x = b.add_buffer(argument(0, DType::Bool));
      const int32_t y = b.add_buffer(argument(1, DType::Bool));
      const Ref v = b.load(x, b.index(0), lanes);
      b.store(y, b.index(0), b.reduce(Opcode::ReduceOr, v));
      b.store(y, b.index(1), b.reduce(Opcode::ReduceAnd, v));
    });
    const auto n = static_cast<size_t>(lanes);
    for (size_t odd = 0; odd <= n; ++odd)
      for (const uint8_t rest : {0, 1}) {
        std::vector<uint8_t> x(n, rest), y(2, 9);
        if (odd < n) x[odd] = 1 - rest;
        kernel.buffers = {x.data(), y.data()};
        kernel.run();
        const bool any = std::ranges::count(x, 1) > 0, all = std::ranges::count(x, 0) == 0;
        CHECK((y[0] == any && y[1] == all));
      }
  });
}

TEST_CASE("llvm kernel: loops carry values, nest, and may not run at all") {
  for (const Target& target : runnable_targets()) {
    // For each row: sum and maximum, the row's length an argument.
    Kernel kernel(target, [](Builder& b) {
      const int32_t x = b.add_buffer(argument(0)), y = b.add_buffer(argument(1));
      const Ref length = b.argument(0);
      b.for_loop(b.begin(), b.end(), 1, [&](Ref row) {
        const std::vector<Ref> initial = {b.constant({}, DType::F32, 0),
                                          b.constant({}, DType::F32, -100)};
        const std::vector<Ref> last =
            b.for_loop(b.index(0), length, 1, initial, [&](Ref i, std::span<const Ref> carried) {
              const Ref v = b.load(x, b.add(b.mul(row, length), i));
              return std::vector<Ref>{b.add(carried[0], v),
                                      b.select(b.lt(carried[1], v), v, carried[1])};
            });
        b.store(y, b.mul(row, b.index(2)), last[0]);
        b.store(y, b.add(b.mul(row, b.index(2)), b.index(1)), last[1]);
      });
    });
    for (const int64_t length : {0, 1, 2, 7}) {
      std::vector<float> x(size_t(5 * length + 1)), y(10, -1.0f);
      for (size_t i = 0; i < x.size(); ++i) x[i] = float(i % 6);
      kernel.buffers = {x.data(), y.data()};
      kernel.integers = {length};
      kernel.run(0, 0);
      CHECK(y == std::vector<float>(10, -1.0f));
      kernel.run(1, 5);
      CHECK(y[0] == -1.0f);
      for (int64_t row = 1; row < 5; ++row) {
        float sum = 0, most = -100;
        for (int64_t i = 0; i < length; ++i) {
          sum += x[size_t(row * length + i)];
          most = std::max(most, x[size_t(row * length + i)]);
        }
        CHECK(y[size_t(2 * row)] == sum);
        CHECK(y[size_t(2 * row + 1)] == most);
      }
    }
  }
}

TEST_CASE("llvm kernel: values that loops swap are swapped at once") {
  for (const Target& target : runnable_targets()) {
    Kernel kernel(target, [](Builder& b) {
      const int32_t y = b.add_buffer(argument(0, DType::I64));
      const std::vector<Ref> initial = {b.index(0), b.index(1)};
      const auto last =
          b.for_loop(b.begin(), b.end(), 1, initial, [&](Ref, std::span<const Ref> carried) {
            return std::vector<Ref>{carried[1], b.add(carried[0], carried[1])};
          });
      b.store(y, b.index(0), last[0]);
    });
    int64_t y = 0;
    kernel.buffers = {&y};
    kernel.run(0, 50);
    CHECK(y == 12586269025);  // the 50th Fibonacci number
  }
}

TEST_CASE("llvm kernel: gathers and scatters touch no masked element, the last lane wins") {
  for (const Target& target : runnable_targets())
    for (const DType dtype : {DType::U8, DType::F16, DType::F32, DType::I64})
      for (const int lanes : {1, 2, 4, 8, 16}) {
        INFO(target.cpu << ", " << name(dtype) << ", lanes " << lanes);
        Kernel kernel(target, [&](Builder& b) {
          const int32_t x = b.add_buffer(argument(0, dtype)), y = b.add_buffer(argument(1, dtype)),
                        p = b.add_buffer(argument(2, DType::I64));
          const Ref positions = b.load(p, b.index(0), lanes);
          const Ref mask = b.ge(positions, b.iconstant(positions, DType::I64, 0));
          b.scatter_store(y, positions, b.gather_load(x, positions, mask), mask);
          // And without a mask, all to one place.
          const Ref same = b.iconstant(positions, DType::I64, 20);
          const Ref inside = b.max_index(positions, same);
          b.scatter_store(y, same, b.gather_load(x, inside));
        });
        const size_t size = cermet::size_of(dtype);
        const GuardedMemory x(32 * size), y(32 * size);
        auto* px = static_cast<uint8_t*>(x.back());
        auto* py = static_cast<uint8_t*>(y.back());
        for (size_t i = 0; i < 32 * size; ++i) px[i] = uint8_t(i + 1), py[i] = 0;
        std::vector<int64_t> positions;
        for (int k = 0; k < lanes; ++k) positions.push_back(k % 3 == 2 ? -100000000 : 31 - k);
        kernel.buffers = {px, py, positions.data()};
        kernel.run();
        for (int64_t i = 16; i < 32; ++i) {
          const bool set = i != 20 && std::ranges::count(positions, i) > 0;
          for (size_t k = 0; k < size; ++k)
            if (i != 20) CHECK(py[size_t(i) * size + k] == (set ? px[size_t(i) * size + k] : 0));
        }
        const auto last = size_t(std::max<int64_t>(positions.back(), 20));
        CHECK(std::memcmp(py + 20 * size, px + last * size, size) == 0);
      }
}

TEST_CASE("llvm kernel: the first report stays, with the value of its first lane") {
  for_each_target({1, 4, 16}, [&](const Target& target, int lanes) {
    Kernel kernel(target, [&](Builder& b) {
      const int32_t x = b.add_buffer(argument(0, DType::I64));
      b.for_loop(b.begin(), b.end(), lanes, [&](Ref i) {
        const Ref v = b.load(x, i, lanes);
        b.report(3, b.ge(v, b.iconstant(v, DType::I64, 1000)), v);
        b.report(4, b.lt(v, b.iconstant(v, DType::I64, 0)), v);
      });
    });
    std::vector<int64_t> x(64);
    std::iota(x.begin(), x.end(), 5);
    kernel.buffers = {x.data()};
    kernel.run(0, 64);
    CHECK((kernel.error[0] == 0 && kernel.error[1] == 0));
    x[37] = -7, x[38] = 5000, x[53] = 6000;
    kernel.run(0, 32);
    CHECK(kernel.error[0] == 0);
    kernel.run(0, 64);
    // Lane by lane, -7 comes first; in a vector of 16 the first Report sees 5000.
    CHECK(kernel.error[0] == (lanes == 1 ? 4 : 3));
    CHECK(kernel.error[1] == (lanes == 1 ? -7 : 5000));
    kernel.error[0] = 9, kernel.error[1] = 8;
    kernel.run(0, 64);
    CHECK((kernel.error[0] == 9 && kernel.error[1] == 8));
  });
}

TEST_CASE("llvm kernel: helpers are called in the lanes of the mask only") {
  static int calls = 0;
  double (*sine)(double) = [](double x) { return ++calls, std::sin(x); };
  double (*remainder)(double, double) = [](double x, double y) { return ++calls, std::fmod(x, y); };
  const auto check = [&](const Target& target, int lanes, auto zero) {
    using T = decltype(zero);
    const DType dtype = cermet::dtype_of<T>;
    Kernel kernel(target, [&](Builder& b) {
      const int32_t x = b.add_buffer(argument(0, dtype)), y = b.add_buffer(argument(1, dtype)),
                    z = b.add_buffer(argument(2, dtype));
      b.for_loop(b.begin(), b.end(), lanes, [&](Ref i) {
        const Ref u = b.load(x, i, lanes), v = b.load(y, i, lanes);
        const Ref large = b.gt(u, b.constant(u, dtype, 100));
        const std::vector<Ref> one = {u}, two = {u, v};
        const Ref s = b.call_scalar(Helper::Sin, large, u, one);
        const Ref f = b.call_scalar(Helper::Fmod, large, v, two);
        b.store(z, i, b.add(s, f));
      });
    });
    kernel.helpers = {reinterpret_cast<const void*>(remainder),
                      reinterpret_cast<const void*>(sine)};
    std::vector<T> x(64), y(64), z(64);
    for (size_t i = 0; i < 64; ++i) x[i] = T(i), y[i] = T(i) / 4 + 1;
    for (const size_t i : {17, 18, 40, 63}) x[i] = T(1000 + i);
    kernel.buffers = {x.data(), y.data(), z.data()};
    calls = 0;
    kernel.run(0, 64);
    CHECK(calls == 8);
    for (size_t i = 0; i < 64; ++i) {
      const T s = x[i] > 100 ? T(std::sin(double(x[i]))) : x[i];
      const T f = x[i] > 100 ? T(std::fmod(double(x[i]), double(y[i]))) : y[i];
      CHECK(z[i] == T(s + f));
    }
  };
  for_each_target({1, 4, 8, 16, 32}, [&](const Target& target, int lanes) {
    check(target, lanes, float());
    check(target, lanes, double());
  });
}

TEST_CASE("llvm kernel: scratch memory and the stack hold what is put there") {
  for (const Target& target : runnable_targets()) {
    Kernel kernel(target, [](Builder& b) {
      const int32_t x = b.add_buffer(argument(0)), y = b.add_buffer(argument(1));
      Buffer local;
      local.kind = Buffer::Kind::Local, local.elements = 64;
      const int32_t on_stack = b.add_buffer(local);
      Buffer scratch;
      scratch.kind = Buffer::Kind::Scratch;
      scratch.offset = b.mul(b.argument(0), b.index(64));
      const int32_t in_scratch = b.add_buffer(scratch);
      const Ref last = b.index(63);
      // Through both, and backwards.
      b.for_loop(b.index(0), b.index(64), 8, [&](Ref i) { b.store(on_stack, i, b.load(x, i, 8)); });
      b.for_loop(b.index(0), b.index(64), 1,
                 [&](Ref i) { b.store(in_scratch, b.sub(last, i), b.load(on_stack, i)); });
      b.for_loop(b.index(0), b.index(64), 8,
                 [&](Ref i) { b.store(y, i, b.load(in_scratch, i, 8)); });
    });
    std::vector<float> x(64), y(64);
    std::iota(x.begin(), x.end(), 1.0f);
    alignas(64) std::array<std::byte, 1024> scratch{};
    kernel.buffers = {x.data(), y.data()};
    kernel.scratch = scratch.data();
    kernel.integers = {3};
    kernel.run();
    CHECK(std::vector<float>(x.rbegin(), x.rend()) == y);
    float first = 0;
    std::memcpy(&first, scratch.data() + 192, 4);
    CHECK(first == 64.0f);
    CHECK(scratch[0] == std::byte{0});
  }
}

TEST_CASE("llvm kernel: two threads compile at the same time") {
  const auto work = [](unsigned seed, std::atomic<int>& failures) {
    std::mt19937 random(seed);
    for (int round = 0; round < 25; ++round) {
      const auto& targets = runnable_targets();
      const Target& target = targets[random() % targets.size()];
      const int lanes = 1 << (random() % 6);
      Kernel kernel(masked_map(target, lanes, DType::F32), target);
      std::vector<float> x(100), y(100, 0.5f), z(100);
      std::iota(x.begin(), x.end(), 0.0f);
      kernel.buffers = {x.data(), y.data(), z.data()};
      kernel.run(0, 100);
      for (size_t i = 0; i < 100; ++i) failures += z[i] != x[i] * 0.5f + x[i];
    }
  };
  std::atomic<int> failures = 0;
  std::thread other(work, 1, std::ref(failures));
  work(2, failures);
  other.join();
  CHECK(failures == 0);
}

TEST_CASE("llvm kernel: equal functions give equal objects") {
  const Target target = runnable_targets().back();
  const auto& backend = cermet::compiler::llvm_backend();
  CHECK(backend.to_object(masked_map(target, 8, DType::F32), target) ==
        backend.to_object(masked_map(target, 8, DType::F32), target));
}

TEST_CASE("llvm kernel: what cannot be compiled is an InternalError that says why") {
  const auto& backend = cermet::compiler::llvm_backend();
  const Target host = runnable_targets().back();
  const Target v2 = cermet::compiler::target("x86-64-v2");
  const auto message = [&](const Function& function, const Target& target) {
    return cermet::test::message_of<cermet::InternalError>(
        [&] { backend.to_object(function, target); });
  };
  const Function good = masked_map(host, 8, DType::F32);
  Function broken = good;
  broken.instructions.back().operands.clear();
  CHECK_THAT(message(broken, host), ContainsSubstring("kernel kernel: invalid loop IR"));
  Target unknown = host;
  unknown.cpu = "pentium-9000";
  CHECK_THAT(message(good, unknown), ContainsSubstring("pentium-9000"));
  const auto fused = [](Builder& b) {
    const int32_t x = b.add_buffer(argument(0));
    const Ref v = b.load(x, b.index(0), 4);
    b.store(x, b.index(0), b.fma(v, v, v));
  };
  CHECK_THAT(message(make_function(v2, fused), v2), ContainsSubstring("fma for x86-64-v2"));
  const auto large = [](Builder& b) {
    Buffer local;
    local.kind = Buffer::Kind::Local, local.elements = 1 << 20;
    b.add_buffer(local);
  };
  CHECK_THAT(message(make_function(host, large), host), ContainsSubstring("1048576 elements"));
  // And the next compile is none the worse.
  CHECK(message(good, host).empty());
}

#if !CERMET_SANITIZED
// Not where leaks are counted: what LLVM holds when it gives up stays behind.
TEST_CASE(
    "llvm kernel: a fatal error inside LLVM is an InternalError, and the next compile works") {
  const auto& backend = cermet::compiler::llvm_backend();
  const Target host = runnable_targets().back();
  const Function good = masked_map(host, 8, DType::F32);
  // A processor of 32 bits, asked for 64-bit code.
  Target narrow = host;
  narrow.cpu = "i386", narrow.features = "";
  for (int round = 0; round < 3; ++round) {
    CHECK_THROWS_AS(backend.to_object(good, narrow), cermet::InternalError);
    CHECK(!backend.to_object(good, host).empty());
  }
}
#endif

TEST_CASE("llvm kernel: LLVM IR and assembly are text") {
  const auto& backend = cermet::compiler::llvm_backend();
  const Target target = cermet::compiler::target("x86-64-v3");
  const Function function = masked_map(target, 8, DType::F32);
  CHECK_THAT(backend.to_llvm_ir(function, target),
             ContainsSubstring("define dso_local void @kernel"));
  CHECK_THAT(backend.to_llvm_ir(function, target), ContainsSubstring("fmul <8 x float>"));
  CHECK_THAT(backend.to_assembly(function, target), ContainsSubstring("vmulps"));
  CHECK_THAT(backend.version(), ContainsSubstring("LLVM 19"));
}

TEST_CASE("target: names of levels and processors are known, others are refused") {
  using cermet::compiler::target;
  CHECK(target("x86-64-v2").vector_bytes == 16);
  CHECK(!target("x86-64-v2").fma);
  CHECK(target("x86-64-v3").vector_bytes == 32);
  CHECK((target("haswell").fma && target("haswell").f16_conversion));
  CHECK(target("x86-64-v4").vector_bytes == 64);
  CHECK((target("znver4").masked_memory && !target("znver3").masked_memory));
  CHECK_THROWS_AS(target("m68k"), cermet::Error);
  CHECK(target("host") == target("host"));
  CHECK(target("host").l1_bytes >= 8 << 10);
}

TEST_CASE("llvm kernel: masks are carried by loops, inverted, stored and loaded") {
  for_each_target({1, 2, 8, 32}, [&](const Target& target, int lanes) {
    // Which columns of a matrix have ever been above the limit, and which not.
    Kernel kernel(target, [&](Builder& b) {
      const int32_t x = b.add_buffer(argument(0)), y = b.add_buffer(argument(1, DType::Bool)),
                    z = b.add_buffer(argument(2, DType::Bool));
      const Ref none = b.constant_bits(DType::Bool, 0, lanes);
      const Ref limit = b.constant(none, DType::F32, 0.5);
      const std::vector<Ref> initial = {none};
      const std::vector<Ref> seen =
          b.for_loop(b.begin(), b.end(), 1, initial, [&](Ref i, std::span<const Ref> carried) {
            const Ref v = b.load(x, b.mul(i, b.index(lanes)), lanes);
            return std::vector<Ref>{b.or_(carried[0], b.gt(v, limit))};
          });
      b.store(y, b.index(0), seen[0]);
      b.store(z, b.index(0), b.not_(b.load(y, b.index(0), lanes)));
    });
    std::mt19937 random(3);
    const auto n = static_cast<size_t>(lanes);
    std::vector<float> x(6 * n);
    for (float& v : x) v = float(random() % 10) / 11;
    std::vector<uint8_t> y(n, 7), z(n, 7);
    kernel.buffers = {x.data(), y.data(), z.data()};
    kernel.run(0, 6);
    for (size_t k = 0; k < n; ++k) {
      bool seen = false;
      for (size_t i = 0; i < 6; ++i) seen |= x[i * n + k] > 0.5f;
      CHECK(y[k] == (seen ? 1 : 0));
      CHECK(z[k] == (seen ? 0 : 1));
    }
  });
}

TEST_CASE("llvm kernel: vectors far wider than the machine's are still right") {
  for (const Target& target : runnable_targets()) {
    INFO(target.cpu);
    check_masked_map<float>(target, 128);
    check_masked_map<double>(target, 64);
    check_masked_map<uint8_t>(target, 256);
    check_reductions<double>(target, 128);
  }
}
