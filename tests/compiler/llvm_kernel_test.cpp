// Whole kernels: loops, masked tails, error reports, calls of helpers, memory on the stack.

#include "support/catch.h"
#include "support/kernels.h"

using cermet::DType;
using cermet::compiler::Target;
using cermet::compiler::loops::Buffer;
using cermet::compiler::loops::Builder;
using cermet::compiler::loops::Function;
using cermet::compiler::loops::Ref;
using cermet::test::GuardedMemory;
using cermet::test::Kernel;
using cermet::test::make_function;
using cermet::test::runnable_targets;

namespace {

Buffer argument(int32_t index, DType dtype = DType::F32) {
  Buffer buffer;
  buffer.index = index, buffer.dtype = dtype;
  return buffer;
}

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
  for (int64_t n = 0; n <= 3 * lanes + 1; ++n) {
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
  for (const Target& target : runnable_targets()) {
    CAPTURE(target.cpu);
    for (const int lanes : {1, 4, 8, 16, 32}) {
      CAPTURE(lanes);
      check_masked_map<float>(target, lanes);
      check_masked_map<double>(target, lanes);
      check_masked_map<uint8_t>(target, lanes);
      check_masked_map<int16_t>(target, lanes);
      check_masked_map<int32_t>(target, lanes);
      check_masked_map<int64_t>(target, lanes);
    }
  }
}
