// Arrays (CUarray) are not simulated, and copies of host memory are described by the host's
// address.

#include "fakecuda/node_parameters.h"

#include <vector>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

template <class T>
const T& as(const Work& work) {
  const T* found = std::get_if<T>(&work);
  require(found != nullptr);
  return *found;
}

uint64_t offset(size_t x, size_t y, size_t z, size_t pitch, size_t height) {
  return x + (y + z * height) * pitch;
}

}  // namespace

KernelWork kernel_work(const CUDA_KERNEL_NODE_PARAMS* parameters) {
  require(parameters != nullptr);
  require(parameters->func != nullptr, CUDA_ERROR_NOT_SUPPORTED);
  const CUDA_KERNEL_NODE_PARAMS& p = *parameters;
  const ptxsim::LaunchShape shape{{p.gridDimX, p.gridDimY, p.gridDimZ},
                                  {p.blockDimX, p.blockDimY, p.blockDimZ},
                                  p.sharedMemBytes};
  return make_launch(driver().functions.get(p.func, CUDA_ERROR_INVALID_VALUE), shape,
                     p.kernelParams, p.extra);
}

CUDA_KERNEL_NODE_PARAMS kernel_parameters(const Work& work) {
  const auto& kernel = as<KernelWork>(work);
  thread_local std::vector<std::byte> bytes;
  thread_local std::vector<void*> pointers;
  bytes = kernel.parameters;
  pointers.clear();
  for (const ptxsim::Parameter& parameter : kernel.function->kernel->parameters) {
    pointers.push_back(bytes.data() + parameter.offset);
  }
  const ptxsim::LaunchShape& shape = kernel.shape;
  CUDA_KERNEL_NODE_PARAMS result{};
  result.func = kernel.function->handle;
  result.gridDimX = shape.grid.x;
  result.gridDimY = shape.grid.y;
  result.gridDimZ = shape.grid.z;
  result.blockDimX = shape.block.x;
  result.blockDimY = shape.block.y;
  result.blockDimZ = shape.block.z;
  result.sharedMemBytes = shape.dynamic_shared_bytes;
  result.kernelParams = pointers.data();
  result.ctx = kernel.function->module->context->handle;
  return result;
}

CopyWork copy_work(const CUDA_MEMCPY3D* parameters) {
  require(parameters != nullptr);
  const CUDA_MEMCPY3D& p = *parameters;
  require(p.srcMemoryType != CU_MEMORYTYPE_ARRAY && p.dstMemoryType != CU_MEMORYTYPE_ARRAY,
          CUDA_ERROR_NOT_SUPPORTED);
  require(p.WidthInBytes != 0 && p.Height != 0 && p.Depth != 0);
  const bool from_host = p.srcMemoryType == CU_MEMORYTYPE_HOST;
  const bool to_host = p.dstMemoryType == CU_MEMORYTYPE_HOST;
  const uint64_t from = from_host ? reinterpret_cast<uint64_t>(p.srcHost) : p.srcDevice;
  const uint64_t to = to_host ? reinterpret_cast<uint64_t>(p.dstHost) : p.dstDevice;
  require((driver().device_of(from) == nullptr) == from_host || !from_host);
  require((driver().device_of(to) == nullptr) == to_host || !to_host);
  const size_t from_pitch = p.srcPitch != 0 ? p.srcPitch : p.WidthInBytes;
  const size_t to_pitch = p.dstPitch != 0 ? p.dstPitch : p.WidthInBytes;
  const size_t from_height = p.srcHeight != 0 ? p.srcHeight : p.Height;
  const size_t to_height = p.dstHeight != 0 ? p.dstHeight : p.Height;
  CopyWork work;
  work.from = {from + offset(p.srcXInBytes, p.srcY, p.srcZ, from_pitch, from_height), from_pitch,
               from_pitch * from_height};
  work.to = {to + offset(p.dstXInBytes, p.dstY, p.dstZ, to_pitch, to_height), to_pitch,
             to_pitch * to_height};
  work.width = p.WidthInBytes;
  work.height = p.Height;
  work.depth = p.Depth;
  return work;
}

CUDA_MEMCPY3D copy_parameters(const Work& work) {
  const auto& copy = as<CopyWork>(work);
  CUDA_MEMCPY3D result{};
  const bool from_device = driver().device_of(copy.from.address) != nullptr;
  const bool to_device = driver().device_of(copy.to.address) != nullptr;
  result.srcMemoryType = from_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
  result.dstMemoryType = to_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
  if (from_device) result.srcDevice = copy.from.address;
  if (!from_device) result.srcHost = reinterpret_cast<const void*>(copy.from.address);
  if (to_device) result.dstDevice = copy.to.address;
  if (!to_device) result.dstHost = reinterpret_cast<void*>(copy.to.address);
  result.srcPitch = copy.from.pitch;
  result.dstPitch = copy.to.pitch;
  result.srcHeight = copy.from.pitch == 0 ? 0 : copy.from.slice / copy.from.pitch;
  result.dstHeight = copy.to.pitch == 0 ? 0 : copy.to.slice / copy.to.pitch;
  result.WidthInBytes = copy.width;
  result.Height = copy.height;
  result.Depth = copy.depth;
  return result;
}

FillWork fill_work(const CUDA_MEMSET_NODE_PARAMS* parameters) {
  require(parameters != nullptr);
  const CUDA_MEMSET_NODE_PARAMS& p = *parameters;
  const bool size_known = p.elementSize == 1 || p.elementSize == 2 || p.elementSize == 4;
  require(size_known && p.width != 0 && p.height != 0 && p.dst % p.elementSize == 0);
  require(driver().device_of(p.dst) != nullptr);
  return {p.dst, p.value, p.elementSize, p.width, p.height, p.pitch};
}

CUDA_MEMSET_NODE_PARAMS fill_parameters(const Work& work) {
  const auto& fill = as<FillWork>(work);
  return {fill.to, fill.pitch, fill.value, fill.element_bytes, fill.width, fill.height};
}

}  // namespace cermet::fakecuda
