// Entry points about devices and their primary contexts.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

void copy_text(char* to, int length, const std::string& text) {
  require(to != nullptr && length > 0);
  const size_t count = std::min(text.size(), static_cast<size_t>(length) - 1);
  std::memcpy(to, text.data(), count);
  to[count] = '\0';
}

std::string bus_id(const Device& device) {
  return fmt::format("0000:{:02X}:00.0", device.ordinal + 1);
}

// "FakeGPU" and the ordinal: the same device has the same one in every process.
CUresult get_uuid(CUuuid* uuid, CUdevice ordinal) {
  return initialised("cuDeviceGetUuid", [&] {
    const Device& device = driver().device(ordinal);
    out(uuid) = CUuuid{};
    std::memcpy(uuid->bytes, "FakeGPU", 7);
    uuid->bytes[15] = static_cast<char>(device.ordinal);
  });
}

void end_primary(Device& device) {
  const std::shared_ptr<Context> context = std::move(device.primary);
  device.primary = nullptr;
  device.primary_users = 0;
  if (context) destroy_context(context);
}

}  // namespace

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  return initialised("cuDeviceGet", [&] { out(device) = driver().device(ordinal).ordinal; });
}

CUresult cuDeviceGetCount(int* count) {
  return initialised("cuDeviceGetCount",
                     [&] { out(count) = static_cast<int>(driver().devices.size()); });
}

CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
  return initialised("cuDeviceGetName",
                     [&] { copy_text(name, length, driver().device(device).properties.name); });
}

CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice device) { return get_uuid(uuid, device); }

CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) { return get_uuid(uuid, device); }

CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice device) {
  return initialised("cuDeviceTotalMem",
                     [&] { out(bytes) = driver().device(device).memory.capacity(); });
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  return initialised("cuDeviceGetAttribute", [&] {
    out(value) = attribute_value(driver().device(device).properties, device, attribute);
  });
}

CUresult cuDeviceGetPCIBusId(char* text, int length, CUdevice device) {
  return initialised("cuDeviceGetPCIBusId",
                     [&] { copy_text(text, length, bus_id(driver().device(device))); });
}

CUresult cuDeviceGetByPCIBusId(CUdevice* device, const char* text) {
  return initialised("cuDeviceGetByPCIBusId", [&] {
    require(device != nullptr && text != nullptr);
    for (const auto& one : driver().devices) {
      if (bus_id(*one) != text) continue;
      *device = one->ordinal;
      return;
    }
    fail(CUDA_ERROR_INVALID_DEVICE);
  });
}

CUresult cuDeviceCanAccessPeer(int* can_access, CUdevice device, CUdevice peer) {
  return initialised("cuDeviceCanAccessPeer",
                     [&] { out(can_access) = &driver().device(device) != &driver().device(peer); });
}

CUresult cuDeviceGetP2PAttribute(int* value, CUdevice_P2PAttribute attribute, CUdevice source,
                                 CUdevice destination) {
  return initialised("cuDeviceGetP2PAttribute", [&] {
    require(&driver().device(source) != &driver().device(destination), CUDA_ERROR_INVALID_DEVICE);
    out(value) = attribute == CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED;
  });
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice ordinal) {
  return initialised("cuDevicePrimaryCtxRetain", [&] {
    Device& device = driver().device(ordinal);
    require(context != nullptr);
    if (!device.primary) {
      device.primary = create_context(device, device.primary_flags);
      device.primary->primary = true;
    }
    ++device.primary_users;
    *context = device.primary->handle;
  });
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice ordinal) {
  return initialised("cuDevicePrimaryCtxRelease", [&] {
    Device& device = driver().device(ordinal);
    require(device.primary_users > 0, CUDA_ERROR_INVALID_CONTEXT);
    if (--device.primary_users == 0) end_primary(device);
  });
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice ordinal) {
  return initialised("cuDevicePrimaryCtxReset", [&] { end_primary(driver().device(ordinal)); });
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice ordinal, unsigned flags) {
  return initialised("cuDevicePrimaryCtxSetFlags", [&] {
    Device& device = driver().device(ordinal);
    require(flags <= CU_CTX_FLAGS_MASK);
    device.primary_flags = flags;
    if (device.primary) device.primary->flags = flags;
  });
}

CUresult cuDevicePrimaryCtxGetState(CUdevice ordinal, unsigned* flags, int* active) {
  return initialised("cuDevicePrimaryCtxGetState", [&] {
    const Device& device = driver().device(ordinal);
    if (flags != nullptr) *flags = device.primary_flags;
    if (active != nullptr) *active = device.primary != nullptr;
  });
}

}  // namespace cermet::fakecuda
