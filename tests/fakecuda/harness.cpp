// The library is opened once a process, as a program opens a driver; fakecuda_reset makes it new.

#include "fakecuda/harness.h"

#include <dlfcn.h>

#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "support/catch.h"

namespace cermet::fakecuda {
namespace {

constexpr const char* variables[] = {"FAKECUDA_SCHEDULE", "FAKECUDA_CC",     "FAKECUDA_DEVICES",
                                     "FAKECUDA_MEMORY",   "FAKECUDA_DRIVER", "FAKECUDA_BUDGET",
                                     "FAKECUDA_QUIET",    "FAKECUDA_CHECKS", "FAKECUDA_FAIL",
                                     "FAKECUDA_LIMITS"};

void* library() {
  static void* opened = [] {
    void* handle = dlopen(FAKECUDA_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) throw std::runtime_error(dlerror());
    return handle;
  }();
  return opened;
}

template <class Pointer>
void find(Pointer& pointer, const char* symbol) {
  pointer = reinterpret_cast<Pointer>(dlsym(library(), symbol));
  if (pointer == nullptr) throw std::runtime_error(std::string("no ") + symbol);
}

void set_environment(const std::string& environment) {
  for (const char* name : variables) unsetenv(name);
  setenv("FAKECUDA_QUIET", "1", 1);
  std::istringstream words(environment);
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    setenv(word.substr(0, equals).c_str(), word.substr(equals + 1).c_str(), 1);
  }
}

}  // namespace

Fake::Fake(const std::string& environment) {
#define ENTRY(name, symbol, version, parameters) find(symbol, #symbol);
#include "fakecuda/api.def"
#undef ENTRY
  set_environment(environment);
  FakecudaFunction reset = nullptr;
  find(reset, "fakecuda_reset");
  reset();
}

Fake::~Fake() { set_environment({}); }

FakecudaCounters Fake::counters() const {
  FakecudaCountersFunction get = nullptr;
  find(get, "fakecuda_counters");
  FakecudaCounters result{};
  get(&result);
  return result;
}

std::string Fake::violations() const { return counters().violation_text; }

uint64_t Fake::instructions(const char* prefix) const {
  FakecudaInstructionsFunction get = nullptr;
  find(get, "fakecuda_instructions");
  return get(prefix);
}

void Fake::reset_counters() const {
  FakecudaFunction reset = nullptr;
  find(reset, "fakecuda_reset_counters");
  reset();
}

Session::Session(const std::string& environment) : Fake(environment) {
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
}

CUstream Session::stream(unsigned flags) const {
  CUstream result = nullptr;
  OK(cuStreamCreate(&result, flags));
  return result;
}

CUevent Session::event(unsigned flags) const {
  CUevent result = nullptr;
  OK(cuEventCreate(&result, flags));
  return result;
}

CUdeviceptr Session::allocate(size_t bytes) const {
  CUdeviceptr result = 0;
  OK(cuMemAlloc_v2(&result, bytes));
  return result;
}

void* Session::pinned_bytes(size_t bytes) const {
  void* result = nullptr;
  OK(cuMemHostAlloc(&result, bytes, 0));
  return result;
}

CUfunction Session::function(const char* ptx, const char* name) const {
  CUmodule module = nullptr;
  CUfunction result = nullptr;
  OK(cuModuleLoadData(&module, ptx));
  OK(cuModuleGetFunction(&result, module, name));
  return result;
}

std::string name_of(CUresult result) {
  if (result == CUDA_SUCCESS) return "CUDA_SUCCESS";
#define ERROR(name, value, text) \
  if (result == CUDA_ERROR_##name) return "CUDA_ERROR_" #name;
#include "fakecuda/errors.def"
#undef ERROR
  return "result " + std::to_string(static_cast<unsigned>(result));
}

const std::vector<std::string>& schedules() {
  static const std::vector<std::string> all = {"lazy",     "eager",    "random:1", "random:2",
                                               "random:3", "random:4", "random:5", "random:6"};
  return all;
}

}  // namespace cermet::fakecuda
