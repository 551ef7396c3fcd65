#pragma once
// What a kernel costs on a GPU, read from what NVIDIA's assembler reports (--ptxas-options=-v), so
// that tests and ir-dump can say it on machines without one.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cermet::compiler {

struct CudaResources {
  std::string kernel;
  int registers = 0;  // of one thread
  int barriers = 0;
  int64_t stack_bytes = 0, spill_store_bytes = 0, spill_load_bytes = 0;  // of one thread
  // Of one block, as declared in the kernel; neither what a launch adds nor what the system
  // reserves.
  int64_t shared_bytes = 0;
  // Parameters included; 0 for sm_90 and later, where the assembler does not say.
  int64_t constant_bytes = 0;
  friend bool operator==(const CudaResources&, const CudaResources&) = default;
};

// The kernels that a log reports on, by name. Lines that belong to no such report (warnings) are
// appended to `rest`, if it is given.
std::vector<CudaResources> parse_resources(std::string_view log, std::string* rest = nullptr);

}  // namespace cermet::compiler
