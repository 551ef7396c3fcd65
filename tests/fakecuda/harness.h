#pragma once
// The fake driver as a test sees it: opened like any driver, started anew with the environment that
// the test asks for, every entry point under its exported name.

#include <string>
#include <vector>

#include "fakecuda/abi.h"
#include "support/fakecuda.h"

namespace cermet::fakecuda {

struct Api {
#define ENTRY(name, symbol, version, parameters) CUresult(*symbol) parameters = nullptr;
#include "fakecuda/api.def"
#undef ENTRY
};

// A new driver. `environment` sets variables: "FAKECUDA_CC=80 FAKECUDA_MEMORY=1M". Violations are
// kept, not printed, as most tests mean to cause them.
class Fake : public Api {
 public:
  explicit Fake(const std::string& environment = {});
  ~Fake();
  Fake(const Fake&) = delete;
  Fake& operator=(const Fake&) = delete;

  FakecudaCounters counters() const;
  std::string violations() const;  // one a line
  uint64_t instructions(const char* prefix) const;
  void reset_counters() const;
};

// A new driver with a context of device 0 current in this thread, and calls that must succeed.
class Session : public Fake {
 public:
  explicit Session(const std::string& environment = {});

  CUstream stream(unsigned flags = CU_STREAM_NON_BLOCKING) const;
  CUevent event(unsigned flags = 0) const;
  CUdeviceptr allocate(size_t bytes) const;
  template <class T>
  T* pinned(size_t count) const {
    return static_cast<T*>(pinned_bytes(count * sizeof(T)));
  }
  CUfunction function(const char* ptx, const char* name) const;

  CUcontext context = nullptr;

 private:
  void* pinned_bytes(size_t bytes) const;
};

// The text of a result, for messages: "CUDA_ERROR_INVALID_VALUE".
std::string name_of(CUresult result);

// All three schedules, the random one with several seeds.
const std::vector<std::string>& schedules();

// Whether `function`, run in a child process, dies of a segmentation fault.
template <class Function>
bool segfaults(Function function);

}  // namespace cermet::fakecuda

// The call must give this result.
#define EXPECT(result, call) \
  REQUIRE(::cermet::fakecuda::name_of(call) == ::cermet::fakecuda::name_of(result))
#define OK(call) EXPECT(::cermet::fakecuda::CUDA_SUCCESS, call)

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

template <class Function>
bool cermet::fakecuda::segfaults(Function function) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    std::signal(SIGSEGV, SIG_DFL);  // not the test framework's handler, nor a sanitizer's
    function();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}
