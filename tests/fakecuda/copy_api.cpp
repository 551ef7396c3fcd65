// Entry points that copy and fill. How far each waits is as the driver API reference says in "API
// synchronization behavior", where the least waiting that it allows is done here: pageable host
// memory is read when the call is made, pinned memory when the copy runs; what ends in pageable
// memory has run when the call returns; between device addresses nothing waits, not even the calls
// without "Async".

#include <fmt/format.h>

#include <cstring>
#include <optional>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

enum class Place { Device, Pinned, Pageable };

// Which calls the two sides of a copy have to be what.
struct Sides {
  std::optional<bool> to_device, from_device;  // nothing: either
};
constexpr Sides anywhere{};
constexpr Sides to_device{true, false}, to_host{false, true}, between{true, true};

// What an address is, and whether the range lies in an allocation now.
Place place_of(uint64_t address, uint64_t bytes, const char* call) {
  Driver& state = driver();
  Device* device = state.device_of(address);
  if (device == nullptr) {
    const Pinned* pinned = state.pinned.find(address, bytes);
    return pinned != nullptr && !pinned->freed ? Place::Pinned : Place::Pageable;
  }
  const Allocation* allocation = device->memory.find(address);
  if (allocation == nullptr || allocation->life == Life::Freed) {
    state.violate(CUDA_ERROR_INVALID_VALUE,
                  fmt::format("{}: {:#x} is {}", call, address,
                              allocation ? "freed memory" : "not in any allocation"));
  }
  if (address + bytes > allocation->address + allocation->bytes) {
    state.violate(CUDA_ERROR_INVALID_VALUE,
                  fmt::format("{}: {} bytes at {:#x} go past the end of an allocation of {} bytes "
                              "at {:#x}",
                              call, bytes, address, allocation->bytes, allocation->address));
  }
  return Place::Device;
}

// A device address where one of the host belongs, or the other way round.
void check_side(std::optional<bool> expected, Place place, const char* call, const char* side) {
  if (!expected || *expected == (place == Place::Device)) return;
  if (*expected && place == Place::Pinned) return;  // a device may use it by the same address
  driver().violate(CUDA_ERROR_INVALID_VALUE,
                   fmt::format("{}: the {} is memory of the {}", call, side,
                               place == Place::Device ? "device" : "host"));
}

uint64_t extent(const CopyWork& work, const CopySide& side) {
  return (work.depth - 1) * side.slice + (work.height - 1) * side.pitch + work.width;
}

void stage(CopyWork& work) {
  const uint64_t bytes = extent(work, work.from);
  const auto* source = reinterpret_cast<const std::byte*>(work.from.address);
  work.staged = std::make_shared<std::vector<std::byte>>(source, source + bytes);
  work.from.address = reinterpret_cast<uint64_t>(work.staged->data());
}

void copy(const char* call, Stream& stream, CopyWork work, const Sides& sides, bool async) {
  if (work.width == 0 || work.height == 0 || work.depth == 0) return;
  require(work.to.address != 0 && work.from.address != 0);
  const Place to = place_of(work.to.address, extent(work, work.to), call);
  const Place from = place_of(work.from.address, extent(work, work.from), call);
  check_side(sides.to_device, to, call, "destination");
  check_side(sides.from_device, from, call, "source");
  Context& context = *stream.context;

  // A captured copy reads and writes whatever is there when the graph runs.
  if (stream.capture) {
    submit(stream, std::move(work));
    return;
  }
  const bool host_waits = to == Place::Pageable || (to != Place::Device && from != Place::Device);
  if (to == Place::Device && from == Place::Pageable) {
    if (!async) wait(stream.last, context);
    stage(work);
    submit(stream, std::move(work));
    return;
  }
  const auto completion = submit(stream, std::move(work));
  const bool device_only = to == Place::Device && from == Place::Device;
  if (host_waits || (!async && !device_only)) wait(completion, context);
}

CopyWork flat(uint64_t to, uint64_t from, size_t bytes) {
  return {
      .to = {to, bytes, bytes}, .from = {from, bytes, bytes}, .width = bytes, .staged = nullptr};
}

CUresult copy_now(const char* call, uint64_t to, uint64_t from, size_t bytes, Sides sides) {
  return in_context(call, [&](Context& context) {
    forbid_implicit_dependency(context);
    copy(call, *context.legacy_stream, flat(to, from, bytes), sides, false);
  });
}

CUresult copy_later(const char* call, uint64_t to, uint64_t from, size_t bytes, Sides sides,
                    CUstream stream) {
  return in_context(call, [&](Context& context) {
    copy(call, stream_of(stream, context), flat(to, from, bytes), sides, true);
  });
}

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

void check_peer(CUdeviceptr address, CUcontext context) {
  const Device& device = driver().contexts.get(context, CUDA_ERROR_INVALID_CONTEXT)->device;
  if (driver().device_of(address) == &device) return;
  driver().violate(
      CUDA_ERROR_INVALID_VALUE,
      fmt::format("a copy between devices: {:#x} is not of device {}", address, device.ordinal));
}

CopyWork box(const CUDA_MEMCPY2D* copy) {
  require(copy != nullptr);
  require(copy->srcMemoryType != CU_MEMORYTYPE_ARRAY && copy->dstMemoryType != CU_MEMORYTYPE_ARRAY,
          CUDA_ERROR_NOT_SUPPORTED);
  const uint64_t from =
      copy->srcMemoryType == CU_MEMORYTYPE_HOST ? address_of(copy->srcHost) : copy->srcDevice;
  const uint64_t to =
      copy->dstMemoryType == CU_MEMORYTYPE_HOST ? address_of(copy->dstHost) : copy->dstDevice;
  const size_t from_pitch = copy->srcPitch != 0 ? copy->srcPitch : copy->WidthInBytes;
  const size_t to_pitch = copy->dstPitch != 0 ? copy->dstPitch : copy->WidthInBytes;
  require(copy->srcXInBytes + copy->WidthInBytes <= from_pitch);
  require(copy->dstXInBytes + copy->WidthInBytes <= to_pitch);
  return {.to = {to + copy->dstY * to_pitch + copy->dstXInBytes, to_pitch, 0},
          .from = {from + copy->srcY * from_pitch + copy->srcXInBytes, from_pitch, 0},
          .width = copy->WidthInBytes,
          .height = copy->Height,
          .staged = nullptr};
}

void fill(const char* call, Stream& stream, CUdeviceptr to, unsigned value, unsigned element_bytes,
          size_t count) {
  if (count == 0) return;
  require(to != 0 && to % element_bytes == 0);
  const Place place = place_of(to, count * element_bytes, call);
  check_side(true, place, call, "destination");
  submit(stream, FillWork{to, value, element_bytes, count});
}

CUresult fill_now(const char* call, CUdeviceptr to, unsigned value, unsigned element_bytes,
                  size_t count) {
  return in_context(call, [&](Context& context) {
    fill(call, *context.legacy_stream, to, value, element_bytes, count);
  });
}

CUresult fill_later(const char* call, CUdeviceptr to, unsigned value, unsigned element_bytes,
                    size_t count, CUstream stream) {
  return in_context(call, [&](Context& context) {
    fill(call, stream_of(stream, context), to, value, element_bytes, count);
  });
}

}  // namespace

// ---- Copies ------------------------------------------------------------------------------------

CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return copy_now("cuMemcpy", to, from, bytes, anywhere);
}

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy_later("cuMemcpyAsync", to, from, bytes, anywhere, stream);
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
  return copy_now("cuMemcpyHtoD", to, address_of(from), bytes, to_device);
}

CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
  return copy_now("cuMemcpyDtoH", address_of(to), from, bytes, to_host);
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return copy_now("cuMemcpyDtoD", to, from, bytes, between);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  return copy_later("cuMemcpyHtoDAsync", to, address_of(from), bytes, to_device, stream);
}

CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy_later("cuMemcpyDtoHAsync", address_of(to), from, bytes, to_host, stream);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy_later("cuMemcpyDtoDAsync", to, from, bytes, between, stream);
}

CUresult cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                      CUcontext from_context, size_t bytes) {
  return in_context("cuMemcpyPeer", [&](Context& context) {
    check_peer(to, to_context);
    check_peer(from, from_context);
    copy("cuMemcpyPeer", *context.legacy_stream, flat(to, from, bytes), between, false);
  });
}

CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                           CUcontext from_context, size_t bytes, CUstream stream) {
  return in_context("cuMemcpyPeerAsync", [&](Context& context) {
    check_peer(to, to_context);
    check_peer(from, from_context);
    copy("cuMemcpyPeerAsync", stream_of(stream, context), flat(to, from, bytes), between, true);
  });
}

CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D* parameters) {
  return in_context("cuMemcpy2D", [&](Context& context) {
    copy("cuMemcpy2D", *context.legacy_stream, box(parameters), anywhere, false);
  });
}

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* parameters, CUstream stream) {
  return in_context("cuMemcpy2DAsync", [&](Context& context) {
    copy("cuMemcpy2DAsync", stream_of(stream, context), box(parameters), anywhere, true);
  });
}

// ---- Fills -------------------------------------------------------------------------------------

CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
  return fill_now("cuMemsetD8", to, value, 1, count);
}

CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) {
  return fill_now("cuMemsetD16", to, value, 2, count);
}

CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) {
  return fill_now("cuMemsetD32", to, value, 4, count);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  return fill_later("cuMemsetD8Async", to, value, 1, count, stream);
}

CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  return fill_later("cuMemsetD16Async", to, value, 2, count, stream);
}

CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
  return fill_later("cuMemsetD32Async", to, value, 4, count, stream);
}

}  // namespace cermet::fakecuda
