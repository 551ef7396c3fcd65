// From CUDA C to a result, with what NVRTC makes and the runtime loads.
#include "runtime/cuda_setup.h"
#include "support/cuda.h"

using namespace cermet::test;

TEST_CASE("cuda compiled: a program is compiled for the card, loaded and run") {
  CERMET_NEEDS_NVRTC();
  const std::string source = R"(
    extern "C" __global__ void __launch_bounds__(128) square(const float* __restrict__ x, float* y,
                                                             long count) {
      for (long i = blockIdx.x * 128l + threadIdx.x; i < count; i += gridDim.x * 128l)
        y[i] = x[i] * x[i];
    })";
  for (const bool with_ptx_only : {false, true}) {
    INFO("PTX only: " << with_ptx_only);
    const TestDriver driver;
    CudaSetup setup(*driver);
    const auto object = cermet::compiler::compile_cuda(
        source, {.arch = {setup.device.facts().compute_capability}, .cubin = !with_ptx_only});
    // The fake driver runs no machine code and says so as a card of another kind does.
    const auto module = cuda::Module::load(setup.device.card(), object.cubin, object.ptx);
    const cuda::Function square = module.function("square");
    CHECK(square.max_threads_per_block() == 128);
    CHECK(square.local_bytes() == 0);
    const std::vector<float> x = counting(1000, -500);
    const cuda::DeviceBuffer a = setup.array(x), b = setup.device.allocate(a.bytes());
    square.launch(setup.device.stream(), {{3, 1, 1}, {128, 1, 1}},
                  cuda::Arguments().add(a.address()).add(b.address()).add(int64_t(1000)).bytes());
    std::vector<float> expected = x;
    for (float& value : expected) value *= value;
    CHECK(setup.values(b) == expected);
  }
}
