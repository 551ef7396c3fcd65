#include "runtime/cuda/card.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "cermet/error.h"

namespace cermet::runtime::cuda {
namespace {

void check_call(const Driver& driver, Result result, const char* call) {
  if (result != Result::Success)
    throw DeviceError(fmt::format("cuda: {}", describe(driver, result, call)));
}

CardFacts read_facts(const Driver& driver, int device) {
  const auto attribute = [&](DeviceAttribute which) {
    int value = 0;
    check_call(driver, driver.DeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
    return value;
  };
  CardFacts facts;
  char name[256] = {};
  check_call(driver, driver.DeviceGetName(name, int(sizeof name) - 1, device), "cuDeviceGetName");
  size_t bytes = 0;
  check_call(driver, driver.DeviceTotalMem(&bytes, device), "cuDeviceTotalMem");
  facts.name = name;
  facts.memory_bytes = int64_t(bytes);
  facts.compute_capability = attribute(DeviceAttribute::ComputeCapabilityMajor) * 10 +
                             attribute(DeviceAttribute::ComputeCapabilityMinor);
  facts.multiprocessors = attribute(DeviceAttribute::MultiprocessorCount);
  facts.l2_bytes = attribute(DeviceAttribute::L2CacheSize);
  facts.threads_per_block = attribute(DeviceAttribute::MaxThreadsPerBlock);
  facts.shared_bytes_per_block = attribute(DeviceAttribute::MaxSharedMemoryPerBlockOptin);
  facts.shared_bytes_per_multiprocessor =
      attribute(DeviceAttribute::MaxSharedMemoryPerMultiprocessor);
  facts.grid[0] = attribute(DeviceAttribute::MaxGridDimX);
  facts.grid[1] = attribute(DeviceAttribute::MaxGridDimY);
  facts.grid[2] = attribute(DeviceAttribute::MaxGridDimZ);
  return facts;
}

}  // namespace

bool switched_on(const char* variable) {
  const char* set = std::getenv(variable);
  const std::string_view value = set ? set : "";
  if (value != "1" && value != "0" && !value.empty())
    throw Error(fmt::format("{}: expected 0 or 1, got \"{}\"", variable, value));
  return value == "1";
}

CardOptions CardOptions::from_environment() {
  return {.wait_after_launch = switched_on("CERMET_CUDA_SYNC")};
}

int card_count(const Driver& driver) {
  int count = 0;
  check_call(driver, driver.DeviceGetCount(&count), "cuDeviceGetCount");
  return count;
}

std::shared_ptr<Card> Card::open(const Driver& driver, int index, const CardOptions& options) {
  return std::shared_ptr<Card>(new Card(driver, index, options));
}

Card::Card(const Driver& driver, int index, const CardOptions& options)
    : driver_(driver), index_(index), options_(options) {
  const int count = card_count(driver);
  if (index < 0 || index >= count)
    throw Error(fmt::format("device: cuda:{} does not exist, the driver shows {} {}", index, count,
                            count == 1 ? "GPU" : "GPUs"));
  check_call(driver, driver.DeviceGet(&device_, index), "cuDeviceGet");
  facts_ = read_facts(driver, device_);
  context_ = options.context;
  if (!context_)
    check_call(driver, driver.DevicePrimaryCtxRetain(&context_, device_),
               "cuDevicePrimaryCtxRetain");
}

Card::~Card() {
  if (!options_.context && !forked()) driver_.DevicePrimaryCtxRelease(device_);
}

namespace {

// The context that the innermost Current of this thread made current; null outside of all.
thread_local CUctx_st* held_context = nullptr;

}  // namespace

Result Card::Current::push(const Card& card) noexcept {
  outer_ = held_context;
  if (held_context == card.context_) {
    holds_ = true;
    return Result::Success;
  }
  if (forked()) return Result::NotInitialized;
  CUctx_st* current = nullptr;
  Result result = card.driver_.CtxGetCurrent(&current);
  if (result == Result::Success && current != card.context_) {
    result = card.driver_.CtxPushCurrent(card.context_);
    if (result == Result::Success) pushed_ = &card;
  }
  holds_ = result == Result::Success;
  if (holds_) held_context = card.context_;
  return result;
}

void Card::Current::pop() noexcept {
  held_context = outer_;
  CUctx_st* popped = nullptr;
  if (pushed_) pushed_->driver_.CtxPopCurrent(&popped);
}

Card::Current::Current(const Card& card) { card.check(push(card), "cuCtxPushCurrent"); }
Card::Current::Current(const Card& card, Quiet) noexcept { push(card); }

void Card::fail(Result result, const char* call) const {
  std::string text =
      forked() ? fmt::format(
                     "cuda:{}: it was opened before this process was forked, and does not "
                     "work in the child",
                     index_)
               : fmt::format("cuda:{}: {}", index_, describe(driver_, result, call));
  if (is_fatal(result)) {
    lost_ = true;
    text += "; the device is lost to this process";
    const std::string launches = launches_.text();
    if (!launches.empty())
      text += fmt::format(
          "; {}, last first: {}",
          options_.wait_after_launch ? "the first of these launches made it" : "the last launches",
          launches);
    if (!options_.wait_after_launch) text += "; with CERMET_CUDA_SYNC=1 the kernel is named";
  }
  throw DeviceError(text);
}

void Card::require_memory(Address address) const {
  const Current current(*this);
  unsigned type = 0;
  int device = -1;
  const Result result = driver_.PointerGetAttribute(&type, PointerAttribute::MemoryType, address);
  const std::string pointer = fmt::format("memory: {:#x}", address);
  if (result == Result::InvalidValue)
    throw Error(fmt::format("{} is no memory that the driver knows", pointer));
  check(result, "cuPointerGetAttribute");
  if (type != memory_type_device)
    throw Error(fmt::format("{} is memory of the host, not of cuda:{}", pointer, index_));
  check(driver_.PointerGetAttribute(&device, PointerAttribute::DeviceOrdinal, address),
        "cuPointerGetAttribute");
  if (device != device_)
    throw Error(fmt::format("{} is memory of cuda:{}, not of cuda:{}", pointer, device, index_));
  // What comes from a pool of the driver's belongs to no context.
  CUctx_st* context = nullptr;
  if (driver_.PointerGetAttribute(&context, PointerAttribute::Context, address) ==
          Result::Success &&
      context && context != context_)
    throw Error(fmt::format("{} belongs to another context than cuda:{}", pointer, index_));
}

void Card::synchronize() const {
  const Current current(*this);
  check(driver_.CtxSynchronize(), "cuCtxSynchronize");
}

}  // namespace cermet::runtime::cuda
