#pragma once
// What must hold of the machine code of every kernel: it keeps its values in registers.

#include <string>
#include <vector>

#include "compiler/cuda/nvrtc.h"
#include "compiler/cuda/print.h"
#include "compiler/program.h"
#include "support/catch.h"

namespace cermet::test {

// The architectures that every kernel must be good for.
inline constexpr int architectures[] = {75, 80, 86, 89, 90, 120};

inline std::vector<const compiler::loops::Function*> kernels_of(const compiler::Program& program) {
  std::vector<const compiler::loops::Function*> out;
  for (const auto& launch : program.launches)
    if (launch.kind == compiler::Kernel::Kind::Fused) out.push_back(&launch.kernel.function);
  return out;
}

// Compiles the program's kernels, of which there is at least one, as one unit, and checks that
// there are no warnings, no spills and no local memory.
inline compiler::CudaObject check_machine_code(const compiler::Program& program, int compute) {
  const auto kernels = kernels_of(program);
  compiler::CudaObject object =
      compiler::compile_cuda(compiler::print_cuda_unit(kernels), {.arch = {compute}});
  INFO("sm_" << compute);
  CHECK(object.log == "");
  CHECK(object.ptx.find(".local") == std::string::npos);
  CHECK(object.kernels.size() == kernels.size());
  for (const compiler::CudaResources& kernel : object.kernels) {
    INFO(kernel.kernel << ", " << kernel.registers << " registers");
    CHECK(kernel.stack_bytes == 0);
    CHECK(kernel.spill_store_bytes == 0);
    CHECK(kernel.spill_load_bytes == 0);
  }
  return object;
}

}  // namespace cermet::test
