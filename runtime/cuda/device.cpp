#include "runtime/cuda/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <string>

#include "cermet/error.h"
#include "ir/check.h"

namespace cermet::runtime::cuda {

DeviceOptions DeviceOptions::from_environment() {
  return {.card = CardOptions::from_environment(),
          .memory = {.exact = switched_on("CERMET_CUDA_EXACT")}};
}

namespace {

// What a thread chose, by device. Few threads choose, and then one stream of one device.
class Choices {
 public:
  struct Choice {
    uint64_t device;
    std::shared_ptr<const Stream> stream;
  };

  // This thread's; null when they are gone, which is before objects with static storage are.
  static Choices* mine() {
    thread_local bool gone = false;
    struct Mine : Choices {
      ~Mine() { gone = true; }
    };
    if (gone) return nullptr;
    thread_local Mine choices;
    return &choices;
  }
  std::vector<Choice>::iterator find(uint64_t device) {
    return std::ranges::find(list, device, &Choice::device);
  }

  std::vector<Choice> list;
};

uint64_t next_id() {
  static std::atomic<uint64_t> next = 0;
  return ++next;
}

}  // namespace

Device::Device(const Driver& driver, int index, const DeviceOptions& options)
    : id_(next_id()),
      card_(Card::open(driver, index, options.card)),
      stream_(card_),
      memory_(card_, options.memory),
      copies_(card_) {}

const Stream& Device::stream() const {
  Choices* const choices = Choices::mine();
  if (!choices || choices->list.empty()) return stream_;
  const auto at = choices->find(id_);
  return at == choices->list.end() ? stream_ : *at->stream;
}

std::shared_ptr<const Stream> Device::use_stream(std::shared_ptr<const Stream> stream) {
  Choices* const choices = Choices::mine();
  CERMET_CHECK(choices, "a stream is chosen when its thread has ended");
  if (stream) {
    const std::lock_guard lock(mutex_);
    std::erase_if(chosen_, [](const StreamUse& use) { return use.finished(); });
    chosen_.emplace_back(*stream);
  }
  auto at = choices->find(id_);
  if (at == choices->list.end()) at = choices->list.insert(at, {id_, nullptr});
  std::swap(at->stream, stream);
  if (!at->stream) choices->list.erase(at);
  return stream;
}

void Device::synchronize() const {
  std::vector<StreamUse> chosen;
  {
    const std::lock_guard lock(mutex_);
    chosen = chosen_;
  }
  for (const StreamUse& use : chosen) use.synchronize();
  stream_.synchronize();
}

Devices::Devices(const Driver& driver, const DeviceOptions& options)
    : driver_(driver), options_(options), devices_(size_t(card_count(driver))) {}

void Devices::require(int index) const {
  if (index < 0 || index >= count()) Card::open(driver_, index, options_.card);  // throws
}

void Devices::use_context(int index, CUctx_st* context) {
  require(index);
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Device>& device = devices_[size_t(index)];
  if (device && device->card()->context() == context) return;
  if (device)
    throw Error(fmt::format("context: cuda:{} is in use already, in another context", index));
  int found = -1, wanted = -1;
  CUctx_st* popped = nullptr;
  if (!context || driver_.CtxPushCurrent(context) != Result::Success)
    throw Error(fmt::format("context: {} is no context of the driver", fmt::ptr(context)));
  const Result result = driver_.CtxGetDevice(&found);
  driver_.CtxPopCurrent(&popped);
  driver_.DeviceGet(&wanted, index);
  if (result != Result::Success || found != wanted)
    throw Error(fmt::format("context: it belongs to another GPU than cuda:{}", index));
  DeviceOptions options = options_;
  options.card.context = context;
  device = std::make_unique<Device>(driver_, index, options);
}

Device& Devices::at(int index) {
  require(index);
  const std::lock_guard lock(mutex_);
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
