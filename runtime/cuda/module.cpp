#include "runtime/cuda/module.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include "cermet/error.h"
#include "ir/check.h"

namespace cermet::runtime::cuda {

struct LoadedModule {
  std::shared_ptr<const Card> card;
  CUmod_st* module = nullptr;

  // The driver waits until none of its kernels runs.
  ~LoadedModule() {
    if (!module) return;
    const Card::CurrentIfPossible current(*card);
    if (current) card->driver().ModuleUnload(module);
  }
};

struct LoadedFunction {
  std::shared_ptr<LoadedModule> module;
  std::string name;
  CUfunc_st* function = nullptr;
  int64_t registers = 0, local_bytes = 0, shared_bytes = 0, max_threads = 0;
  // What a launch may add to the declared shared memory. A kernel that wants more than the 48 KB
  // of old has to ask once.
  std::atomic<int64_t> extra_shared_limit = 0;

  const Card& card() const { return *module->card; }
};

namespace {

constexpr int64_t shared_without_asking = 48 << 10;

// What usually helps against the error, or nothing.
const char* advice(Result result) {
  if (result == Result::UnsupportedPtxVersion)
    return "; the PTX comes from a newer NVRTC than the driver: install a newer driver, or name an "
           "older NVRTC with CERMET_NVRTC";
  if (result == Result::NoBinaryForGpu || result == Result::InvalidImage)
    return "; it was made for another architecture or for a newer driver";
  return "";
}

// Always to the most that there is, so that threads that come here at once set the same.
void raise_shared_limit(LoadedFunction& function, int64_t wanted) {
  const Card& card = function.card();
  const int64_t most = card.facts().shared_bytes_per_block;
  CERMET_CHECK(function.shared_bytes + wanted <= most,
               "kernel {} wants {} bytes of shared memory, cuda:{} has {} for a block",
               function.name, function.shared_bytes + wanted, card.index(), most);
  const int64_t limit = most - function.shared_bytes;
  card.check(card.driver().FuncSetAttribute(function.function,
                                            FunctionAttribute::MaxDynamicSharedBytes, int(limit)),
             "cuFuncSetAttribute");
  function.extra_shared_limit = limit;
}

void check_shape(const LoadedFunction& function, const LaunchShape& shape) {
  const Card& card = function.card();
  const auto& [grid, block, shared] = shape;
  for (size_t axis = 0; axis < 3; ++axis)
    CERMET_CHECK(grid[axis] <= card.facts().grid[axis] && block[axis] >= 1,
                 "{} on a card whose grids end at {}, {}, {}", to_string(function.name, shape),
                 card.facts().grid[0], card.facts().grid[1], card.facts().grid[2]);
  const int64_t most = std::min(function.max_threads, card.facts().threads_per_block);
  CERMET_CHECK(block[0] * block[1] * block[2] <= most && shared >= 0,
               "{}, but its blocks have at most {} threads", to_string(function.name, shape), most);
}

}  // namespace

Result Module::try_load(LoadedModule& module, const char* image, std::string& log) {
  const Driver& driver = module.card->driver();
  std::array<char, 8192> buffer = {};
  std::array<JitOption, 2> options = {JitOption::ErrorLogBuffer, JitOption::ErrorLogBufferBytes};
  std::array<void*, 2> values = {buffer.data(), reinterpret_cast<void*>(buffer.size() - 1)};
  const Result result =
      driver.ModuleLoadDataEx(&module.module, image, options.size(), options.data(), values.data());
  if (result != Result::Success) module.module = nullptr;
  log = buffer.data();
  return result;
}

Module Module::load_image(std::shared_ptr<const Card> shared_card, const char* image) {
  const Card& card = *shared_card;
  const Card::Current current(card);
  auto loaded = std::make_shared<LoadedModule>();
  loaded->card = std::move(shared_card);
  std::string log;
  const Result result = try_load(*loaded, image, log);
  if (is_fatal(result)) card.fail(result, "cuModuleLoadDataEx");
  if (result != Result::Success)
    throw DeviceError(fmt::format(
        "cuda:{}: a module is refused by {} (compute capability {}.{}, driver for CUDA {}.{}): "
        "{}{}{}{}",
        card.index(), card.facts().name, card.facts().compute_capability / 10,
        card.facts().compute_capability % 10, card.driver().version / 1000,
        card.driver().version % 1000 / 10, describe(card.driver(), result, "cuModuleLoadDataEx"),
        advice(result), log.empty() ? "" : "\n", log));
  return Module(std::move(loaded));
}

Module Module::load(std::shared_ptr<const Card> card, std::span<const std::byte> image) {
  // An ELF image says how long it is; text has to end with a zero byte.
  constexpr std::array<std::byte, 4> elf = {std::byte{0x7f}, std::byte{'E'}, std::byte{'L'},
                                            std::byte{'F'}};
  const auto* text = reinterpret_cast<const char*>(image.data());
  if (image.size() > elf.size() && std::equal(elf.begin(), elf.end(), image.begin()))
    return load_image(std::move(card), text);
  return load(std::move(card), std::string(text, image.size()));
}

Module Module::load(std::shared_ptr<const Card> card, const std::string& ptx) {
  return load_image(std::move(card), ptx.c_str());
}

Module Module::load(std::shared_ptr<const Card> card, std::span<const std::byte> cubin,
                    const std::string& ptx) {
  if (!cubin.empty()) {
    const Card::Current current(*card);
    auto loaded = std::make_shared<LoadedModule>();
    loaded->card = card;
    std::string log;
    const Result result = try_load(*loaded, reinterpret_cast<const char*>(cubin.data()), log);
    if (result == Result::Success) return Module(std::move(loaded));
    if (result != Result::NoBinaryForGpu && result != Result::InvalidImage)
      card->fail(result, "cuModuleLoadDataEx");
  }
  return load(std::move(card), ptx);
}

Function Module::function(const std::string& name, const std::string& shown) const {
  const Card& card = *loaded_->card;
  const Driver& driver = card.driver();
  const Card::Current current(card);
  auto loaded = std::make_shared<LoadedFunction>();
  loaded->module = loaded_;
  loaded->name = shown.empty() ? name : shown;
  const Result result = driver.ModuleGetFunction(&loaded->function, loaded_->module, name.c_str());
  if (result == Result::NotFound)
    throw DeviceError(fmt::format("cuda:{}: a module has no kernel {}", card.index(), name));
  card.check(result, "cuModuleGetFunction");
  const auto attribute = [&](FunctionAttribute which) {
    int value = 0;
    card.check(driver.FuncGetAttribute(&value, which, loaded->function), "cuFuncGetAttribute");
    return int64_t(value);
  };
  loaded->registers = attribute(FunctionAttribute::Registers);
  loaded->local_bytes = attribute(FunctionAttribute::LocalBytes);
  loaded->shared_bytes = attribute(FunctionAttribute::SharedBytes);
  loaded->max_threads = attribute(FunctionAttribute::MaxThreadsPerBlock);
  loaded->extra_shared_limit = std::max<int64_t>(shared_without_asking - loaded->shared_bytes, 0);
  return Function(std::move(loaded));
}

const std::string& Function::name() const { return loaded_->name; }
CUfunc_st* Function::handle() const { return loaded_->function; }
int64_t Function::registers() const { return loaded_->registers; }
int64_t Function::local_bytes() const { return loaded_->local_bytes; }
int64_t Function::shared_bytes() const { return loaded_->shared_bytes; }
int64_t Function::max_threads_per_block() const { return loaded_->max_threads; }

void Function::launch(const Stream& stream, const LaunchShape& shape,
                      std::span<const std::byte> arguments) const {
  const auto& [grid, block, shared] = shape;
  if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0) return;
  const Card& card = loaded_->card();
  CERMET_CHECK(card.context() == stream.card().context(),
               "kernel {} of cuda:{} is launched on a stream of cuda:{}", name(), card.index(),
               stream.card().index());
  CERMET_CHECK(arguments.size() <= max_argument_bytes, "kernel {} has {} bytes of arguments",
               name(), arguments.size());
  check_shape(*loaded_, shape);
  const Card::Current current(card);
  if (shared > loaded_->extra_shared_limit) raise_shared_limit(*loaded_, shared);

  // CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE and _END.
  size_t bytes = arguments.size();
  std::array<void*, 5> extra = {reinterpret_cast<void*>(1),
                                const_cast<std::byte*>(arguments.data()),
                                reinterpret_cast<void*>(2), &bytes, nullptr};
  if (!card.lost()) card.launches().add(name(), shape);
  card.check(card.driver().LaunchKernel(handle(), unsigned(grid[0]), unsigned(grid[1]),
                                        unsigned(grid[2]), unsigned(block[0]), unsigned(block[1]),
                                        unsigned(block[2]), unsigned(shared), stream.handle(),
                                        nullptr, bytes ? extra.data() : nullptr),
             "cuLaunchKernel");
  if (card.waits_after_launch() && !stream.capturing()) stream.synchronize();
}

}  // namespace cermet::runtime::cuda
