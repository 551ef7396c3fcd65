// Entry points about contexts. Which one is current is a thread's own affair, so most of these work
// without one, and on a context that is lost.

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

constexpr int least_priority = 0, greatest_priority = -5;

void create(CUcontext* result, unsigned flags, CUdevice ordinal) {
  Device& device = driver().device(ordinal);
  require(result != nullptr && flags <= CU_CTX_FLAGS_MASK);
  *result = create_context(device, flags)->handle;
  context_stack().push_back(*result);
}

// A context that may be named to become current: it exists, or nothing is named.
CUcontext usable(CUcontext context) {
  if (context != nullptr) driver().contexts.get(context, CUDA_ERROR_INVALID_CONTEXT);
  return context;
}

// The context that a call names, which stands for the current one if it is null.
Context& named(CUcontext context) {
  if (context == nullptr) {
    require(!context_stack().empty() && context_stack().back() != nullptr,
            CUDA_ERROR_INVALID_CONTEXT);
    context = context_stack().back();
  }
  return *driver().contexts.get(context, CUDA_ERROR_CONTEXT_IS_DESTROYED);
}

void synchronize(Context& context) {
  require_alive(context);
  forbid_unsafe_call();
  for (const auto& stream : context.streams) forbid_capturing(*stream);
  ++driver().report.counters.waits;
  finish(context);
  for (const auto& pool : context.device.memory.pools) pool->trim_to(pool->release_threshold);
  require_alive(context);
}

}  // namespace

CUresult cuCtxCreate_v2(CUcontext* context, unsigned flags, CUdevice device) {
  return initialised("cuCtxCreate", [&] { create(context, flags, device); });
}

CUresult cuCtxCreate_v4(CUcontext* context, CUctxCreateParams* parameters, unsigned flags,
                        CUdevice device) {
  return initialised("cuCtxCreate", [&] {
    require(parameters == nullptr, CUDA_ERROR_NOT_SUPPORTED);
    create(context, flags, device);
  });
}

CUresult cuCtxDestroy_v2(CUcontext handle) {
  return initialised("cuCtxDestroy", [&] {
    const auto context = driver().contexts.get(handle, CUDA_ERROR_INVALID_CONTEXT);
    require(!context->primary, CUDA_ERROR_INVALID_CONTEXT);
    std::vector<CUcontext>& stack = context_stack();
    if (!stack.empty() && stack.back() == handle) stack.pop_back();
    destroy_context(context);
  });
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
  return initialised("cuCtxPushCurrent", [&] {
    require(context != nullptr, CUDA_ERROR_INVALID_CONTEXT);
    context_stack().push_back(usable(context));
  });
}

CUresult cuCtxPopCurrent_v2(CUcontext* context) {
  return initialised("cuCtxPopCurrent", [&] {
    std::vector<CUcontext>& stack = context_stack();
    require(!stack.empty(), CUDA_ERROR_INVALID_CONTEXT);
    if (context != nullptr) *context = stack.back();
    stack.pop_back();
  });
}

CUresult cuCtxSetCurrent(CUcontext context) {
  return initialised("cuCtxSetCurrent", [&] {
    std::vector<CUcontext>& stack = context_stack();
    usable(context);
    if (!stack.empty()) stack.pop_back();
    if (context != nullptr) stack.push_back(context);
  });
}

CUresult cuCtxGetCurrent(CUcontext* context) {
  return initialised("cuCtxGetCurrent", [&] {
    const std::vector<CUcontext>& stack = context_stack();
    out(context) = stack.empty() ? nullptr : stack.back();
  });
}

CUresult cuCtxGetDevice(CUdevice* device) {
  return initialised("cuCtxGetDevice", [&] { out(device) = named(nullptr).device.ordinal; });
}

CUresult cuCtxGetDevice_v2(CUdevice* device, CUcontext context) {
  return initialised("cuCtxGetDevice", [&] { out(device) = named(context).device.ordinal; });
}

CUresult cuCtxGetFlags(unsigned* flags) {
  return initialised("cuCtxGetFlags", [&] { out(flags) = named(nullptr).flags; });
}

CUresult cuCtxGetId(CUcontext context, unsigned long long* id) {
  return initialised("cuCtxGetId",
                     [&] { out(id) = reinterpret_cast<uint64_t>(named(context).handle); });
}

CUresult cuCtxGetApiVersion(CUcontext context, unsigned* version) {
  return initialised("cuCtxGetApiVersion", [&] {
    named(context);
    out(version) = 3020;
  });
}

CUresult cuCtxGetLimit(size_t* value, CUlimit limit) {
  return in_context("cuCtxGetLimit", [&](Context& context) {
    require(context.limits.contains(limit), CUDA_ERROR_UNSUPPORTED_LIMIT);
    out(value) = context.limits[limit];
  });
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value) {
  return in_context("cuCtxSetLimit", [&](Context& context) {
    require(context.limits.contains(limit), CUDA_ERROR_UNSUPPORTED_LIMIT);
    context.limits[limit] = value;
  });
}

CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  return in_context("cuCtxGetStreamPriorityRange", [&](Context&) {
    if (least != nullptr) *least = least_priority;
    if (greatest != nullptr) *greatest = greatest_priority;
  });
}

CUresult cuCtxSynchronize() {
  return in_context("cuCtxSynchronize", [&](Context& context) { synchronize(context); });
}

CUresult cuCtxSynchronize_v2(CUcontext context) {
  return initialised("cuCtxSynchronize", [&] { synchronize(named(context)); });
}

CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) {
  return in_context("cuCtxEnablePeerAccess", [&](Context& context) {
    require(flags == 0);
    Device& other = driver().contexts.get(peer, CUDA_ERROR_INVALID_CONTEXT)->device;
    require(&other != &context.device, CUDA_ERROR_INVALID_DEVICE);
    require(!other.memory.allows(context.device.memory), CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
    other.memory.allow(context.device.memory);
  });
}

CUresult cuCtxDisablePeerAccess(CUcontext peer) {
  return in_context("cuCtxDisablePeerAccess", [&](Context& context) {
    Device& other = driver().contexts.get(peer, CUDA_ERROR_INVALID_CONTEXT)->device;
    require(other.memory.allows(context.device.memory), CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
    other.memory.deny(context.device.memory);
  });
}

}  // namespace cermet::fakecuda
