// Entry points about modules, functions and launches.

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

// The options of cuModuleLoadDataEx that have an effect: where the logs go.
struct Logs {
  char* error = nullptr;
  char* info = nullptr;
  void** error_bytes = nullptr;  // in: the capacity; out: what was written
  void** info_bytes = nullptr;
};

Logs read_options(unsigned count, const CUjit_option* options, void** values) {
  require(count == 0 || (options != nullptr && values != nullptr));
  Logs logs;
  for (unsigned i = 0; i < count; ++i) {
    switch (options[i]) {
      case CU_JIT_ERROR_LOG_BUFFER: logs.error = static_cast<char*>(values[i]); continue;
      case CU_JIT_INFO_LOG_BUFFER: logs.info = static_cast<char*>(values[i]); continue;
      case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES: logs.error_bytes = &values[i]; continue;
      case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES: logs.info_bytes = &values[i]; continue;
      case CU_JIT_WALL_TIME:
      case CU_JIT_POSITION_INDEPENDENT_CODE:
      case CU_JIT_SPLIT_COMPILE: break;
    }
    require(static_cast<unsigned>(options[i]) <= CU_JIT_SPLIT_COMPILE);
  }
  return logs;
}

void write_log(char* buffer, void** bytes, const std::string& text) {
  if (buffer == nullptr || bytes == nullptr) return;
  const auto capacity = static_cast<size_t>(reinterpret_cast<uintptr_t>(*bytes));
  if (capacity == 0) return;
  const size_t count = std::min(text.size(), capacity - 1);
  std::memcpy(buffer, text.data(), count);
  buffer[count] = '\0';
  *bytes = reinterpret_cast<void*>(count + 1);
}

CUresult load(const char* name, CUmodule* module, const void* image, unsigned count,
              const CUjit_option* options, void** values) {
  return in_context(name, [&](Context& context) {
    require(module != nullptr);
    forbid_unsafe_call();
    const Logs logs = read_options(count, options, values);
    std::string log;
    try {
      *module = load_module(image, context, log)->handle;
    } catch (const Failure&) {
      write_log(logs.error, logs.error_bytes, log);
      throw;
    }
    write_log(logs.error, logs.error_bytes, "");
    write_log(logs.info, logs.info_bytes, "");
  });
}

Stream& launch_stream(CUstream handle, const Function& function, Context& context) {
  Stream& stream = stream_of(handle, context);
  require(stream.context == function.module->context, CUDA_ERROR_INVALID_HANDLE);
  return stream;
}

}  // namespace

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  return load("cuModuleLoadData", module, image, 0, nullptr, nullptr);
}

CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned count,
                            CUjit_option* options, void** values) {
  return load("cuModuleLoadDataEx", module, image, count, options, values);
}

CUresult cuModuleLoad(CUmodule* module, const char* path) {
  if (path == nullptr || !std::filesystem::exists(path)) return CUDA_ERROR_FILE_NOT_FOUND;
  std::ifstream file(path, std::ios::binary);
  const std::string image{std::istreambuf_iterator<char>(file), {}};
  return load("cuModuleLoad", module, image.c_str(), 0, nullptr, nullptr);
}

CUresult cuModuleUnload(CUmodule module) {
  return in_context("cuModuleUnload", [&](Context&) {
    forbid_unsafe_call();
    unload_module(*driver().modules.get(module));
  });
}

CUresult cuModuleGetFunction(CUfunction* result, CUmodule handle, const char* name) {
  return in_context("cuModuleGetFunction", [&](Context&) {
    const auto module = driver().modules.get(handle);
    require(result != nullptr && name != nullptr);
    const ptxsim::Kernel* kernel = module->program->kernel(name);
    require(kernel != nullptr, CUDA_ERROR_NOT_FOUND);
    CUfunction& known = module->functions[name];
    if (known == nullptr) {
      auto function = std::make_shared<Function>();
      function->module = module;
      function->kernel = kernel;
      function->max_dynamic_shared =
          default_shared_per_block - static_cast<int>(kernel->static_shared_bytes);
      known = function->handle = driver().functions.add(function);
    }
    *result = known;
  });
}

CUresult cuModuleGetFunctionCount(unsigned* count, CUmodule module) {
  return in_context("cuModuleGetFunctionCount", [&](Context&) {
    out(count) = static_cast<unsigned>(driver().modules.get(module)->program->kernels().size());
  });
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr* address, size_t* bytes, CUmodule module,
                              const char* name) {
  return in_context("cuModuleGetGlobal", [&](Context&) {
    require(name != nullptr);
    const auto* variable = driver().modules.get(module)->program->variable(name);
    require(variable != nullptr, CUDA_ERROR_NOT_FOUND);
    if (address != nullptr) *address = variable->address;
    if (bytes != nullptr) *bytes = variable->size;
  });
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode* mode) {
  return anytime("cuModuleGetLoadingMode", [&] { out(mode) = CU_MODULE_EAGER_LOADING; });
}

// ---- Functions ---------------------------------------------------------------------------------

CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction function) {
  return in_context("cuFuncGetAttribute", [&](Context&) {
    out(value) = function_attribute(*driver().functions.get(function), attribute);
  });
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  return in_context("cuFuncSetAttribute", [&](Context&) {
    const auto function = driver().functions.get(handle);
    if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) {
      require(value >= -1 && value <= 100);
      function->carveout = value;
      return;
    }
    require(attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
    const int most = function->module->context->device.properties.shared_per_block_optin -
                     static_cast<int>(function->kernel->static_shared_bytes);
    require(value >= 0 && value <= most);
    function->max_dynamic_shared = value;
  });
}

CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache) {
  return in_context("cuFuncSetCacheConfig", [&](Context&) { driver().functions.get(function); });
}

CUresult cuFuncGetModule(CUmodule* module, CUfunction function) {
  return in_context("cuFuncGetModule", [&](Context&) {
    out(module) = driver().functions.get(function)->module->handle;
  });
}

CUresult cuFuncGetName(const char** name, CUfunction function) {
  return in_context("cuFuncGetName", [&](Context&) {
    out(name) = driver().functions.get(function)->kernel->name.c_str();
  });
}

CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t* offset, size_t* bytes) {
  return in_context("cuFuncGetParamInfo", [&](Context&) {
    const auto& parameters = driver().functions.get(function)->kernel->parameters;
    require(index < parameters.size());
    out(offset) = parameters[index].offset;
    if (bytes != nullptr) *bytes = parameters[index].size;
  });
}

CUresult cuFuncIsLoaded(CUfunctionLoadingState* state, CUfunction function) {
  return in_context("cuFuncIsLoaded", [&](Context&) {
    driver().functions.get(function);
    out(state) = CU_FUNCTION_LOADING_STATE_LOADED;
  });
}

CUresult cuFuncLoad(CUfunction function) {
  return in_context("cuFuncLoad", [&](Context&) { driver().functions.get(function); });
}

// ---- Occupancy ---------------------------------------------------------------------------------

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction function,
                                                     int block_size, size_t dynamic_shared) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, block_size,
                                                              dynamic_shared, 0);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, CUfunction function,
                                                              int block_size, size_t dynamic_shared,
                                                              unsigned flags) {
  return in_context("cuOccupancyMaxActiveBlocksPerMultiprocessor", [&](Context&) {
    require(flags <= 1 && block_size > 0);
    out(blocks) = resident_blocks(*driver().functions.get(function), block_size, dynamic_shared);
  });
}

CUresult cuOccupancyMaxPotentialBlockSize(int* grid_size, int* block_size, CUfunction handle,
                                          CUoccupancyB2DSize shared_of_block, size_t dynamic_shared,
                                          int limit) {
  return in_context("cuOccupancyMaxPotentialBlockSize", [&](Context&) {
    const auto function = driver().functions.get(handle);
    require(grid_size != nullptr && block_size != nullptr);
    const Properties& device = function->module->context->device.properties;
    int most = function_attribute(*function, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
    if (limit > 0) most = std::min(most, limit);
    int best_threads = 0;
    for (int size = std::max(most / 32 * 32, std::min(most, 32)); size > 0; size -= 32) {
      const size_t shared = shared_of_block ? shared_of_block(size) : dynamic_shared;
      const int blocks = resident_blocks(*function, size, shared);
      if (blocks * size <= best_threads) continue;
      best_threads = blocks * size;
      *block_size = size;
      *grid_size = blocks * device.multiprocessors;
    }
    require(best_threads > 0);
  });
}

CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t* dynamic_shared, CUfunction handle,
                                                 int blocks, int block_size) {
  return in_context("cuOccupancyAvailableDynamicSMemPerBlock", [&](Context&) {
    const auto function = driver().functions.get(handle);
    require(blocks > 0 && block_size > 0);
    size_t low = 0, high = static_cast<size_t>(function->max_dynamic_shared) + 1;
    require(resident_blocks(*function, block_size, 0) >= blocks);
    while (high - low > 1) {
      const size_t middle = low + (high - low) / 2;
      (resident_blocks(*function, block_size, middle) >= blocks ? low : high) = middle;
    }
    out(dynamic_shared) = low;
  });
}

// ---- Launches ----------------------------------------------------------------------------------

CUresult cuLaunchKernel(CUfunction handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z,
                        unsigned dynamic_shared, CUstream stream, void** parameters, void** extra) {
  return in_context("cuLaunchKernel", [&](Context& context) {
    const auto function = driver().functions.get(handle);
    Stream& target = launch_stream(stream, *function, context);
    const ptxsim::LaunchShape shape{
        {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, dynamic_shared};
    submit(target, make_launch(function, shape, parameters, extra));
  });
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction handle, void** parameters,
                          void** extra) {
  return in_context("cuLaunchKernelEx", [&](Context& context) {
    const auto function = driver().functions.get(handle);
    require(config != nullptr && (config->numAttrs == 0 || config->attrs != nullptr));
    for (unsigned i = 0; i < config->numAttrs; ++i) {
      const CUlaunchAttribute& attribute = config->attrs[i];
      const auto& cluster = attribute.value.dimension;
      const bool harmless =
          attribute.id == CU_LAUNCH_ATTRIBUTE_IGNORE ||
          attribute.id == CU_LAUNCH_ATTRIBUTE_PRIORITY ||
          (attribute.id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE && attribute.value.integer == 0) ||
          (attribute.id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION && cluster.x == 1 &&
           cluster.y == 1 && cluster.z == 1);
      require(harmless, CUDA_ERROR_NOT_SUPPORTED);
    }
    Stream& target = launch_stream(config->hStream, *function, context);
    const ptxsim::LaunchShape shape{{config->gridDimX, config->gridDimY, config->gridDimZ},
                                    {config->blockDimX, config->blockDimY, config->blockDimZ},
                                    config->sharedMemBytes};
    submit(target, make_launch(function, shape, parameters, extra));
  });
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void* data) {
  return in_context("cuLaunchHostFunc", [&](Context& context) {
    require(function != nullptr);
    submit(stream_of(stream, context), HostWork{function, data});
  });
}

}  // namespace cermet::fakecuda
