#include "runtime/cuda/device.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "cermet/error.h"

namespace cermet::runtime::cuda {

DeviceOptions DeviceOptions::from_environment() {
  const char* exact = std::getenv("CERMET_CUDA_EXACT");
  return {.card = CardOptions::from_environment(),
          .memory = {.exact = exact && std::strcmp(exact, "1") == 0}};
}

Device::Device(const Driver& driver, int index, const DeviceOptions& options)
    : card_(Card::open(driver, index, options.card)),
      stream_(card_),
      memory_(card_, options.memory),
      copies_(card_) {}

void Device::use_stream(const Stream& stream) {
  if (stream == stream_) return;
  stream.wait(stream_);
  stream_ = stream;
}

Devices::Devices(const Driver& driver, const DeviceOptions& options)
    : driver_(driver), options_(options), devices_(size_t(card_count(driver))) {}

Device& Devices::at(int index) {
  const std::lock_guard lock(mutex_);
  if (index < 0 || index >= count()) Card::open(driver_, index, options_.card);  // throws
  std::unique_ptr<Device>& device = devices_[size_t(index)];
  if (!device) device = std::make_unique<Device>(driver_, index, options_);
  return *device;
}

int available_devices(std::string* why) {
  try {
    return card_count(driver());
  } catch (const DeviceError& error) {
    if (why) *why = error.what();
    return 0;
  }
}

}  // namespace cermet::runtime::cuda
