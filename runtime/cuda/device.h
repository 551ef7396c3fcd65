#pragma once
// A GPU with all that running programs on it takes: a card, a stream, memory and copies. This is
// what the engine uses; the parts are public for those who want less.

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/cuda/copy.h"
#include "runtime/cuda/memory.h"
#include "runtime/cuda/module.h"

namespace cermet::runtime::cuda {

struct DeviceOptions {
  CardOptions card = {};
  DeviceAllocatorOptions memory = {};

  // From CERMET_CUDA_SYNC, see CardOptions; CERMET_CUDA_EXACT=1 sets memory.exact.
  static DeviceOptions from_environment();
};

// Thread-safe.
class Device {
 public:
  // Throws Error if the index does not exist, DeviceError where the driver refuses.
  Device(const Driver& driver, int index, const DeviceOptions& options = {});

  const std::shared_ptr<const Card>& card() const { return card_; }
  int index() const { return card_->index(); }
  const CardFacts& facts() const { return card_->facts(); }
  DeviceAllocator& memory() { return memory_; }

  // The stream that everything below is given to when the calling thread asks for it: the device's
  // own, unless the thread chose another one.
  const Stream& stream() const;
  // Chooses for the calling thread, perhaps a stream of the caller's; null for the device's own.
  // Returns the choice of before. Nothing waits: DeviceBuffer orders what streams do with memory.
  std::shared_ptr<const Stream> use_stream(std::shared_ptr<const Stream> stream);

  DeviceBuffer allocate(size_t bytes) { return memory_.allocate(bytes, stream()); }
  Module load(std::span<const std::byte> image) const { return Module::load(card_, image); }
  // The host's bytes may be reused at once.
  void copy_to_device(Address to, std::span<const std::byte> from) {
    copies_.to_card(to, from, stream());
  }
  // Waits, then the bytes are there.
  void copy_to_host(std::span<std::byte> to, Address from) { copies_.to_host(to, from, stream()); }
  // Waits for what all streams of all threads were given. Throws what any of it did wrong.
  void synchronize() const;

 private:
  const uint64_t id_;  // no other device had it or will
  std::shared_ptr<const Card> card_;
  Stream stream_;
  mutable std::mutex mutex_;               // guards what follows
  mutable std::vector<StreamUse> chosen_;  // streams that threads chose and that may be at work
  DeviceAllocator memory_;
  HostCopies copies_;
};

// The GPUs of a driver, each opened when it is first asked for. Thread-safe.
class Devices {
 public:
  // Throws DeviceError if there is no driver ("cuda requested, but libcuda.so.1 was not found").
  Devices() : Devices(cuda::driver(), DeviceOptions::from_environment()) {}
  Devices(const Driver& driver, const DeviceOptions& options);

  int count() const { return int(devices_.size()); }
  // Opens a device in a context of the caller's, which must outlive the device, in place of the
  // primary one. Throws Error if the device was opened already, or the context is not one of it.
  void use_context(int index, CUctx_st* context);
  // Throws Error, naming how many there are, if the index does not exist.
  Device& at(int index);

 private:
  const Driver& driver_;
  DeviceOptions options_;
  void require(int index) const;
  std::mutex mutex_;  // guards what follows
  std::vector<std::unique_ptr<Device>> devices_;
};

// How many GPUs can be used; 0 without a driver, and `why`, if given, says what is missing.
int available_devices(std::string* why = nullptr);

}  // namespace cermet::runtime::cuda
