#include "runtime/cuda/driver.h"

#include <fmt/format.h>
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "cermet/error.h"
#include "ir/dynlib.h"

namespace cermet::runtime::cuda {
namespace {

// cuGetProcAddress_v2, there since CUDA 12.0; the only functions that are looked up by their
// symbols are this, cuInit and cuDriverGetVersion.
using GetProcAddress = Result(const char* name, void** function, int version, uint64_t flags,
                              unsigned* status);

DeviceError refused(const std::filesystem::path& file, const std::string& why) {
  return DeviceError(fmt::format("cuda requested, but {} {}", file.string(), why));
}

Driver load(const ir::DynamicLibrary& library) {
  const std::filesystem::path& file = library.path();
  auto* get_version = library.find<Result(int*)>("cuDriverGetVersion");
  auto* init = library.find<Result(unsigned)>("cuInit");
  if (!get_version || !init) throw refused(file, "is no CUDA driver");

  Driver driver;
  if (get_version(&driver.version) != Result::Success)
    throw refused(file, "does not say its version");
  auto* look_up = library.find<GetProcAddress>("cuGetProcAddress_v2");
  if (driver.version < minimal_driver_version || !look_up)
    throw refused(file,
                  fmt::format("supports CUDA up to {}.{}, a driver for {}.{} is needed",
                              driver.version / 1000, driver.version % 1000 / 10,
                              minimal_driver_version / 1000, minimal_driver_version % 1000 / 10));

  const auto find = [&](const char* name, auto*& function) {
    void* address = nullptr;
    unsigned status = 0;
    const Result result = look_up(name, &address, minimal_driver_version, 0, &status);
    if (result != Result::Success || !address)
      throw refused(file, fmt::format("has no function {}", name));
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(address);
  };
#define CERMET_CUDA_FUNCTION(name, ...) find("cu" #name, driver.name);
#include "runtime/cuda/driver.def"

  if (const Result result = init(0); result != Result::Success)
    throw refused(file, fmt::format("cannot be used: {}", describe(driver, result, "cuInit")));
  // Of a bare name, the file that the dynamic linker took.
  driver.path = ir::object_of(reinterpret_cast<const void*>(init));
  return driver;
}

std::atomic<bool> is_forked = false;

// The driver's own threads and its connection to the kernel do not come along.
void watch_forks() {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { is_forked = true; }); });
}

}  // namespace

bool forked() { return is_forked.load(std::memory_order_relaxed); }

std::filesystem::path driver_file() {
  const char* named = std::getenv("CERMET_CUDA_DRIVER");
  return named && *named ? named : "libcuda.so.1";
}

const Driver& open_driver(const std::filesystem::path& file) {
  if (forked())
    throw DeviceError(
        "cuda: this process was forked from one that had opened the driver, which does not work in "
        "it: use CUDA in the child only, or start another program");
  std::string why;
  std::optional<ir::DynamicLibrary> library = ir::DynamicLibrary::try_open(file, why);
  if (!library) throw refused(file, fmt::format("was not found: {}", why));
  struct Open {
    ir::DynamicLibrary library;
    Driver functions;
  };
  auto open = std::make_unique<Open>(Open{std::move(*library), {}});
  open->functions = load(open->library);
  watch_forks();
  // Never closed: a driver keeps threads of its own, and other static objects may use it at exit.
  static auto* const opened = new std::vector<std::unique_ptr<Open>>;
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  opened->push_back(std::move(open));
  return opened->back()->functions;
}

const Driver& driver() {
  static std::atomic<const Driver*> opened = nullptr;
  static std::mutex mutex;
  const auto found = [&] { return forked() ? nullptr : opened.load(std::memory_order_acquire); };
  if (const Driver* driver = found()) return *driver;
  const std::scoped_lock lock(mutex);
  if (const Driver* driver = found()) return *driver;
  const Driver& driver = open_driver(driver_file());
  opened.store(&driver, std::memory_order_release);
  return driver;
}

std::string describe(const Driver& driver, Result result, const char* call) {
  if (result == Result::Deinitialized)  // it does not say that any more
    return fmt::format("{}: the driver has shut down, as the process ends ({}, {})", call,
                       "CUDA_ERROR_DEINITIALIZED", unsigned(result));
  const char *name = nullptr, *text = nullptr;
  driver.GetErrorName(result, &name);
  driver.GetErrorString(result, &text);
  return fmt::format("{}: {} ({}, {})", call, text ? text : "an error that it does not describe",
                     name ? name : "no name", unsigned(result));
}

bool is_fatal(Result result) {
  switch (result) {
#define CERMET_CUDA_RESULT(name, number, fatal) \
  case Result::name: return fatal;
#include "runtime/cuda/driver.def"
  }
  return false;
}

}  // namespace cermet::runtime::cuda
