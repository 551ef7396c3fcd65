#pragma once
// Devices and contexts: who owns what, and which context is current in a thread.

#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "fakecuda/abi.h"
#include "fakecuda/memory.h"
#include "fakecuda/properties.h"
#include "fakecuda/stream.h"

namespace cermet::fakecuda {

struct Device {
  Device(int ordinal, const Properties& properties, uint64_t memory_bytes, bool poison)
      : ordinal(ordinal), properties(properties), memory(ordinal, memory_bytes, poison) {}

  int ordinal;
  const Properties properties;
  DeviceMemory memory;
  std::shared_ptr<Context> primary;  // null while nobody retains it
  int primary_users = 0;
  unsigned primary_flags = 0;
};

struct Context {
  explicit Context(Device& device) : device(device) {}

  Device& device;
  CUcontext handle = nullptr;
  bool primary = false;
  unsigned flags = 0;
  CUresult lost = CUDA_SUCCESS;  // the sticky error, after which nothing works
  std::shared_ptr<Stream> legacy_stream;
  std::map<std::thread::id, std::shared_ptr<Stream>> thread_streams;
  std::vector<std::shared_ptr<Stream>> streams;  // all of them, and those destroyed with work left
  std::map<CUlimit, size_t> limits;
};

std::shared_ptr<Context> create_context(Device& device, unsigned flags);
// Finishes its work, reports what was not given back, and gives it back.
void destroy_context(const std::shared_ptr<Context>& context);

// Kernels on every device may access pinned memory, from now on or no longer.
void show_pinned(const Pinned& pinned);
void hide_pinned(const Pinned& pinned);

// The stack of current contexts of this thread.
std::vector<CUcontext>& context_stack();

// The stream that a handle means to the current context: 0, 1 and 2 are special.
Stream& stream_of(CUstream handle, Context& current);

}  // namespace cermet::fakecuda
