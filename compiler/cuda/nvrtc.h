#pragma once
// From CUDA C to machine code, by NVIDIA's run-time compiler NVRTC, opened at the first compile
// that needs it (nvrtc_library.h says where it is looked for). No driver and no GPU is needed.
//
// All functions may be called from any thread. NVRTC 13 compiles one program at a time in a process
// whatever the number of threads, so several kernels cost least as one program.

#include <cstddef>
#include <string>
#include <vector>

#include "compiler/cuda/arch.h"
#include "compiler/cuda/nvrtc_library.h"
#include "compiler/cuda/resources.h"

namespace cermet::compiler {

struct CudaOptions {
  CudaArch arch;
  // Contract products and sums, approximate division and square root, flush denormals. Otherwise
  // arithmetic is what is written, each step rounded as IEEE 754 says.
  bool fast = false;
  // Machine code as well; without it only PTX is made, which takes half of the time.
  bool cubin = true;
  // Source lines in the machine code, for profilers and compute-sanitizer.
  bool line_info = false;
};

struct CudaObject {
  std::vector<std::byte> cubin;  // empty if only PTX was made
  std::string ptx;
  std::string target;  // what it was made for: "sm_90"; "compute_121" if only PTX was made
  std::string log;     // warnings; empty if there are none
  std::vector<CudaResources> kernels;  // by name; empty if only PTX was made
};

// Compiles a program; equal arguments give equal results. An architecture that is newer than all
// that this NVRTC knows gets PTX for the newest of them, for the driver to translate. Throws
// DeviceError if there is no NVRTC or it makes no code for the architecture; InternalError, with
// NVRTC's log and the numbered source, if the program does not compile.
CudaObject compile_cuda(const std::string& source, const CudaOptions& options);

// The options that NVRTC is given, for a version of it; part of what a cached object depends on.
std::vector<std::string> nvrtc_options(const CudaOptions& options, NvrtcVersion version);

// The version of NVRTC, and the numbers of the architectures that it makes code for, ascending.
// Both throw DeviceError if there is no NVRTC.
NvrtcVersion nvrtc_version();
std::vector<int> nvrtc_architectures();

}  // namespace cermet::compiler
