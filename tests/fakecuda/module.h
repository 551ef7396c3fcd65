#pragma once
// Modules, their functions, and what a launch must satisfy.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fakecuda/abi.h"
#include "fakecuda/work.h"
#include "ptxsim/ptxsim.h"

namespace cermet::fakecuda {

struct Module {
  Context* context = nullptr;
  CUmodule handle = nullptr;
  std::unique_ptr<ptxsim::Module> program;
  std::vector<CUdeviceptr> variables;  // its memory
  std::map<std::string, CUfunction> functions;
  bool unloaded = false;
};

struct Function {
  std::shared_ptr<Module> module;
  CUfunction handle = nullptr;
  const ptxsim::Kernel* kernel = nullptr;
  int max_dynamic_shared = 0;
  int carveout = -1;
};

// The module that an image holds, loaded into a context. Failure 200, 209, 218, 222; `log` says
// why.
std::shared_ptr<Module> load_module(const void* image, Context& context, std::string& log);
void unload_module(Module& module);
// Its functions' handles are no more.
void forget_functions(Module& module);

int function_attribute(const Function& function, CUfunction_attribute attribute);

// Blocks that fit a multiprocessor at once. Registers are not known, as nothing is assembled: they
// are taken to be what the kernel's launch bounds promise, else 32.
int resident_blocks(const Function& function, int block_size, size_t dynamic_shared);

// A launch, its parameters packed. Failure if the device or the function does not allow the shape,
// or the parameters are not there.
KernelWork make_launch(const std::shared_ptr<Function>& function, const ptxsim::LaunchShape& shape,
                       void** parameters, void** extra);

}  // namespace cermet::fakecuda
