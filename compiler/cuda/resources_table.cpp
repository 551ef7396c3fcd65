#include "compiler/cuda/resources_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "compiler/cuda/occupancy.h"

namespace cermet::compiler {

std::string resources_table(const CudaArch& arch, std::span<const CudaLaunchCost> kernels) {
  const CudaLimits& limits = cuda_limits(arch);
  size_t width = std::string_view("kernel").size();
  for (const CudaLaunchCost& kernel : kernels)
    width = std::max(width, kernel.resources.kernel.size());

  std::string text = fmt::format("{:{}}  {:>7}  {:>9}  {:>6}  {:>6}  {:>6}  {:>6}  {:>9}  {}\n",
                                 "kernel", width, "threads", "registers", "spills", "stack",
                                 "shared", "blocks", "occupancy", "limited by");
  for (const auto& [resources, threads, dynamic_shared] : kernels) {
    const int64_t shared = resources.shared_bytes + dynamic_shared;
    const Occupancy found = occupancy(limits, {.threads = threads,
                                               .registers = resources.registers,
                                               .shared = shared,
                                               .barriers = resources.barriers});
    text += fmt::format(
        "{:{}}  {:>7}  {:>9}  {:>6}  {:>6}  {:>6}  {:>6}  {:>8.0f}%  {}\n", resources.kernel, width,
        threads, resources.registers, resources.spill_store_bytes + resources.spill_load_bytes,
        resources.stack_bytes, shared, found.blocks, 100 * found.fraction, to_string(found.limit));
  }
  return text;
}

}  // namespace cermet::compiler
