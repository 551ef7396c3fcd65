// Modules are PTX texts. A cubin is answered as one for another GPU would be (209), so that a
// caller's way from cubin to PTX is tested too.

#include "fakecuda/module.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

// The newest PTX that a driver reads, from the release notes in the PTX ISA manual.
int newest_ptx(int driver_version) {
  struct Row {
    int driver, ptx;
  };
  constexpr Row rows[] = {{12090, 88}, {12080, 87}, {12070, 86}, {12050, 85},
                          {12040, 84}, {12030, 83}, {12020, 82}, {12010, 81},
                          {12000, 80}, {11080, 78}, {11070, 77}, {0, 75}};
  // From 13.0 on, each minor version brings one of PTX.
  if (driver_version >= 13000) return 90 + (driver_version - 13000) / 10;
  for (const Row& row : rows) {
    if (driver_version >= row.driver) return row.ptx;
  }
  return 75;
}

[[noreturn]] void refuse(CUresult code, std::string& log, std::string why) {
  log = std::move(why);
  fail(code, log);
}

std::string_view text_of(const void* image, std::string& log) {
  require(image != nullptr);
  constexpr uint32_t elf = 0x464c457f, fat_binary = 0xba55ed50, fat_wrapper = 0x466243b1;
  uint32_t magic = 0;
  std::memcpy(&magic, image, std::strlen(static_cast<const char*>(image)) >= 3 ? 4 : 0);
  if (magic == elf || magic == fat_binary || magic == fat_wrapper) {
    refuse(CUDA_ERROR_NO_BINARY_FOR_GPU, log, "the fake driver runs PTX, not machine code");
  }
  const std::string_view text(static_cast<const char*>(image));
  if (text.find(".version") == std::string_view::npos) {
    refuse(CUDA_ERROR_INVALID_IMAGE, log, "not a PTX text");
  }
  return text;
}

void check_target(const ptxsim::Module& program, const Device& device, std::string& log) {
  const int capability = device.properties.compute_capability;
  const int sm = program.target_sm();
  const char last = program.target().back();
  const bool exact = last == 'a';
  const bool family = last == 'f';
  if (sm > capability || (exact && sm != capability) || (family && sm / 10 != capability / 10)) {
    refuse(CUDA_ERROR_INVALID_PTX, log,
           fmt::format("ptxas fatal: the module is for {}, the device is sm_{}", program.target(),
                       capability));
  }
  const int newest = newest_ptx(driver().options.driver_version);
  if (program.ptx_version() > newest) {
    refuse(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, log,
           fmt::format("ptxas fatal: unsupported .version {}.{}, current version is {}.{}",
                       program.ptx_version() / 10, program.ptx_version() % 10, newest / 10,
                       newest % 10));
  }
}

void check_parameters(const ptxsim::Module& program, const Device& device, std::string& log) {
  const int most = parameter_bytes_of(device.properties, program.ptx_version());
  for (const ptxsim::Kernel& kernel : program.kernels())
    if (kernel.parameter_bytes > static_cast<size_t>(most))
      refuse(CUDA_ERROR_INVALID_PTX, log,
             fmt::format("ptxas error: the parameters of {} take {} bytes, at most {} are there",
                         kernel.name, kernel.parameter_bytes, most));
}

void place_variables(Module& module) {
  DeviceMemory& memory = module.context->device.memory;
  for (const ptxsim::Variable& variable : module.program->variables()) {
    const uint64_t bytes = std::max<uint64_t>(variable.size, 1);
    Allocation& allocation = memory.reserve(bytes, Origin::Module, module.context->handle);
    memory.begin(allocation);
    std::memcpy(allocation.host.get(), variable.initial.data(), variable.initial.size());
    memory.mark_initialised(allocation.address, bytes);
    module.variables.push_back(allocation.address);
    module.program->place(variable.name, allocation.address);
  }
}

int max_threads(const ptxsim::Kernel& kernel) {
  const auto bound = static_cast<int>(kernel.max_threads.count());
  const auto required = static_cast<int>(kernel.required_threads.count());
  if (required != 0) return required;
  constexpr int most = 1024;
  return bound != 0 ? std::min(bound, most) : most;
}

// What ptxas would have to keep to for the launch bounds; a plain kernel is taken to need 32.
int registers(const ptxsim::Kernel& kernel) {
  constexpr int usual = 32, most = 255;
  const int blocks = std::max(static_cast<int>(kernel.min_blocks), 1);
  const int allowed = registers_per_multiprocessor / (max_threads(kernel) * blocks);
  return std::min({usual, most, std::max(allowed / 8 * 8, 8)});
}

std::vector<std::byte> pack(const ptxsim::Kernel& kernel, void** parameters, void** extra) {
  std::vector<std::byte> packed(kernel.parameter_bytes);
  if (extra != nullptr) {
    require(parameters == nullptr);
    const void* buffer = nullptr;
    size_t bytes = 0;
    for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
      if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER) {
        buffer = extra[1];
      } else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE) {
        bytes = *static_cast<const size_t*>(extra[1]);
      } else {
        fail(CUDA_ERROR_INVALID_VALUE, "an unknown key in extra");
      }
    }
    require(buffer != nullptr && bytes == packed.size());
    std::memcpy(packed.data(), buffer, bytes);
    return packed;
  }
  require(kernel.parameters.empty() || parameters != nullptr);
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    require(parameters[i] != nullptr);
    const ptxsim::Parameter& parameter = kernel.parameters[i];
    std::memcpy(packed.data() + parameter.offset, parameters[i], parameter.size);
  }
  return packed;
}

bool within(const ptxsim::Dim3& size, uint32_t x, uint32_t y, uint32_t z) {
  return size.count() != 0 && size.x <= x && size.y <= y && size.z <= z;
}

void check_shape(const Function& function, const ptxsim::LaunchShape& shape) {
  const ptxsim::Kernel& kernel = *function.kernel;
  const Properties& device = function.module->context->device.properties;
  const auto threads = static_cast<uint32_t>(device.threads_per_block);
  require(within(shape.grid, static_cast<uint32_t>(device.blocks_of_grid), 65535, 65535));
  require(within(shape.block, threads, threads, 64));
  require(shape.block.count() <= threads);
  if (shape.block.count() > static_cast<uint64_t>(max_threads(kernel))) {
    fail(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "more threads than the kernel's launch bounds");
  }
  const ptxsim::Dim3& required = kernel.required_threads;
  const bool exact =
      shape.block.x == required.x && shape.block.y == required.y && shape.block.z == required.z;
  require(required.count() == 0 || exact);
  require(shape.dynamic_shared_bytes <= static_cast<uint32_t>(function.max_dynamic_shared));
}

}  // namespace

std::shared_ptr<Module> load_module(const void* image, Context& context, std::string& log) {
  auto module = std::make_shared<Module>();
  module->context = &context;
  const std::string_view text = text_of(image, log);
  try {
    module->program = ptxsim::Module::parse(text);
  } catch (const ptxsim::Error& error) {
    // Not only refused: a kernel that cannot be simulated cannot be tested.
    driver().violation(fmt::format("a module was refused: {}", error.what()));
    refuse(CUDA_ERROR_INVALID_PTX, log, error.what());
  }
  check_target(*module->program, context.device, log);
  check_parameters(*module->program, context.device, log);
  place_variables(*module);
  module->handle = driver().modules.add(module);
  ++driver().report.counters.module_loads;
  return module;
}

void forget_functions(Module& module) {
  for (const auto& [name, handle] : module.functions) driver().functions.remove(handle);
  module.unloaded = true;
}

void unload_module(Module& module) {
  forget_functions(module);
  DeviceMemory& memory = module.context->device.memory;
  for (const CUdeviceptr address : module.variables) memory.end(*memory.find(address));
  driver().modules.remove(module.handle);
}

int function_attribute(const Function& function, CUfunction_attribute attribute) {
  const ptxsim::Kernel& kernel = *function.kernel;
  const ptxsim::Module& program = *function.module->program;
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return max_threads(kernel);
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: return static_cast<int>(kernel.static_shared_bytes);
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES: {
      uint64_t bytes = 0;
      for (const auto& variable : program.variables()) bytes += variable.constant * variable.size;
      return static_cast<int>(bytes);
    }
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: return static_cast<int>(kernel.local_bytes);
    case CU_FUNC_ATTRIBUTE_NUM_REGS: return registers(kernel);
    case CU_FUNC_ATTRIBUTE_PTX_VERSION: return program.target_sm();
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      return function.module->context->device.properties.compute_capability;
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA: return 0;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: return function.max_dynamic_shared;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: return function.carveout;
  }
  fail(CUDA_ERROR_INVALID_VALUE, "an unknown attribute of a function");
}

// Units of allocation as in cuda_occupancy.h of the toolkit: registers in 256 a warp, shared memory
// in 128 bytes (256 on compute capability 7.5).
int resident_blocks(const Function& function, int block_size, size_t dynamic_shared) {
  const Properties& device = function.module->context->device.properties;
  const ptxsim::Kernel& kernel = *function.kernel;
  if (block_size <= 0 || block_size > max_threads(kernel)) return 0;
  const size_t shared_unit = device.compute_capability < 80 ? 256 : 128;
  const size_t shared = kernel.static_shared_bytes + dynamic_shared +
                        static_cast<size_t>(device.reserved_shared_per_block);
  const size_t shared_taken = (shared + shared_unit - 1) / shared_unit * shared_unit;
  if (dynamic_shared > static_cast<size_t>(function.max_dynamic_shared)) return 0;
  const int warps = (block_size + 31) / 32;
  const int registers_of_warp = (registers(kernel) * 32 + 255) / 256 * 256;
  int blocks = device.blocks_per_multiprocessor;
  blocks = std::min(blocks, device.threads_per_multiprocessor / (warps * 32));
  blocks = std::min(blocks, registers_per_multiprocessor / (warps * registers_of_warp));
  if (shared_taken != 0) {
    const auto total = static_cast<size_t>(device.shared_per_multiprocessor);
    blocks = std::min(blocks, static_cast<int>(total / shared_taken));
  }
  return blocks;
}

KernelWork make_launch(const std::shared_ptr<Function>& function, const ptxsim::LaunchShape& shape,
                       void** parameters, void** extra) {
  check_shape(*function, shape);
  return {function, shape, pack(*function->kernel, parameters, extra)};
}

}  // namespace cermet::fakecuda
