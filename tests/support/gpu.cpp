#include "support/gpu.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <stdexcept>
#include <string>

#include "support/catch.h"
#include "support/paths.h"

namespace cermet::test {
namespace {

std::string named_gpu() {
  const char* named = std::getenv("CERMET_TEST_GPU");
  return named ? named : "";
}

std::string fake_driver() { return (build_dir() / "tests/fakecuda/libfakecuda.so").string(); }

uint64_t reported = 0;  // violations that a test has asked for

void use_fake(const std::string& description) {
  const size_t space = description.find(' ');
  if (space == std::string::npos)
    throw std::runtime_error("CERMET_TEST_GPU is neither 'real' nor like '90 lazy': " +
                             description);
  setenv("FAKECUDA_CC", description.substr(0, space).c_str(), 1);
  setenv("FAKECUDA_SCHEDULE", description.substr(space + 1).c_str(), 1);
  const auto devices = 1 + std::count(description.begin(), description.end(), ',');
  setenv("FAKECUDA_DEVICES", std::to_string(devices).c_str(), 1);
  setenv("CERMET_CUDA_DRIVER", fake_driver().c_str(), 1);
  setenv("CERMET_CUDA_PTX", "1", 1);
  setenv("CERMET_CUDA_EXACT", "1", 1);
}

}  // namespace

bool on_gpu() { return !named_gpu().empty(); }
bool on_real_gpu() { return named_gpu() == "real"; }

std::string gpu_schedule() {
  const std::string named = named_gpu();
  const size_t space = named.find(' ');
  return space == std::string::npos ? "" : named.substr(space + 1);
}

void use_gpu(const char* unless_named) {
  static std::once_flag once;
  std::call_once(once, [&] {
    const std::filesystem::path cache = build_dir() / "tests/gpu-kernels";
    std::filesystem::create_directories(cache);
    setenv("CERMET_CACHE_DIR", cache.c_str(), 1);
    if (!on_real_gpu()) use_fake(on_gpu() ? named_gpu() : unless_named);
  });
}

const FakecudaCounters& gpu_counters() {
  static FakecudaCounters now;
  now = {};
  now.violation_text = "";
  // Without RTLD_NOLOAD a program that never asked for a GPU would load a driver here.
  if (void* library = dlopen(fake_driver().c_str(), RTLD_NOW | RTLD_NOLOAD)) {
    const auto read =
        reinterpret_cast<FakecudaCountersFunction>(dlsym(library, "fakecuda_counters"));
    if (!read) throw std::runtime_error("the fake driver has no fakecuda_counters");
    read(&now);
    dlclose(library);
  }
  return now;
}

void expect_clean_gpu() {
  const FakecudaCounters& c = gpu_counters();
  INFO(c.violation_text);
  CHECK(c.violations == reported);
  reported = c.violations;
}

const char* gpu_violations_left() {
  const FakecudaCounters& c = gpu_counters();
  return on_gpu() && c.violations != reported ? c.violation_text : "";
}

}  // namespace cermet::test
