#pragma once
// The driver that tests of CUDA run on: the one that CERMET_CUDA_DRIVER names, else the fake one of
// tests/fakecuda, which runs kernels on the processor and reports what programs do wrong.

#include <cstdlib>
#include <initializer_list>
#include <list>
#include <optional>
#include <string>
#include <utility>

#include "ir/dynlib.h"
#include "runtime/cuda/driver.h"
#include "support/catch.h"
#include "support/environment.h"
#include "support/fakecuda.h"

namespace cermet::test {

inline std::string fake_driver_file() { return CERMET_FAKECUDA; }

// Whether the tests run on the fake driver, and so may set it up and ask what it saw.
inline bool on_fake_driver() {
  const char* named = std::getenv("CERMET_CUDA_DRIVER");
  return !named || named == fake_driver_file();
}

// A driver as if just loaded. The settings are variables of its environment, which README.md of
// tests/fakecuda lists; only the fake driver can be set up. At its end the fake one must have seen
// nothing wrong, leaks included, unless FAKECUDA_QUIET was among the settings.
class TestDriver {
 public:
  explicit TestDriver(std::initializer_list<std::pair<const char*, std::string>> settings = {}) {
    if (on_fake_driver()) {
      library_.emplace(fake_driver_file());
      for (const auto& [name, value] : settings) {
        environment_.emplace_back(name, value.c_str());
        quiet_ |= name == std::string("FAKECUDA_QUIET");
      }
      library_->symbol<void()>("fakecuda_reset")();
    }
    const char* named = std::getenv("CERMET_CUDA_DRIVER");
    driver_ = &runtime::cuda::open_driver(named && *named ? named : fake_driver_file());
  }

  ~TestDriver() {
    if (!library_ || quiet_) return;
    const FakecudaCounters found = counters();
    if (found.violations > 0) FAIL_CHECK("the fake driver saw: " << found.violation_text);
    CHECK(found.live_allocations + found.live_pinned == 0);
    CHECK(found.live_graphs + found.live_graph_execs == 0);
  }
  TestDriver(const TestDriver&) = delete;
  TestDriver& operator=(const TestDriver&) = delete;

  const runtime::cuda::Driver& operator*() const { return *driver_; }
  const runtime::cuda::Driver* operator->() const { return driver_; }

  // How often functions of the fake driver were called whose names begin so, since
  // reset_counters().
  uint64_t calls(const char* prefix) const {
    return library_->symbol<uint64_t(const char*)>("fakecuda_calls")(prefix);
  }
  void reset_counters() const { library_->symbol<void()>("fakecuda_reset_counters")(); }

  // What the fake driver counted since it was loaded.
  FakecudaCounters counters() const {
    FakecudaCounters result{};
    library_->symbol<void(FakecudaCounters*)>("fakecuda_counters")(&result);
    return result;
  }

 private:
  std::list<EnvironmentVariable> environment_;
  std::optional<ir::DynamicLibrary> library_;
  const runtime::cuda::Driver* driver_ = nullptr;
  bool quiet_ = false;
};

}  // namespace cermet::test

// Begins a test case that sets the fake driver up.
#define CERMET_NEEDS_FAKE_DRIVER() \
  if (!cermet::test::on_fake_driver()) SKIP("this is for the fake driver")
