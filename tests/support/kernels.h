#pragma once
// Kernels for tests: written with the builder, compiled for a target and called.

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "compiler/codegen.h"
#include "compiler/llvm_module.h"
#include "compiler/loops_builder.h"
#include "compiler/target.h"
#include "runtime/code_arena.h"
#include "support/catch.h"

namespace cermet::test {

// The targets that this machine can run, the host's own last.
inline const std::vector<compiler::Target>& runnable_targets() {
  static const std::vector<compiler::Target> targets = [] {
    const compiler::Target host = compiler::target("host");
    std::vector<compiler::Target> result;
    for (const char* name : {"x86-64-v2", "x86-64-v3", "x86-64-v4"}) {
      const compiler::Target target = compiler::target(name);
      if (target.vector_bytes <= host.vector_bytes) result.push_back(target);
    }
    result.push_back(host);
    return result;
  }();
  return targets;
}

// Calls f(target, lanes) for each target that this machine can run; what fails says for which.
template <class F>
void for_each_target(std::initializer_list<int> lane_counts, const F& f) {
  for (const compiler::Target& target : runnable_targets())
    for (const int lanes : lane_counts) {
      INFO(target.cpu << ", lanes " << lanes);
      f(target, lanes);
    }
}

// The buffer that is argument `index`.
inline compiler::loops::Buffer argument(int32_t index, DType dtype = DType::F32) {
  compiler::loops::Buffer buffer;
  buffer.index = index, buffer.dtype = dtype;
  return buffer;
}

// A function that `write(builder)` fills.
template <class Write>
compiler::loops::Function make_function(const compiler::Target& target, const Write& write,
                                        const std::string& name = "kernel") {
  compiler::loops::Function function;
  function.name = name;
  compiler::loops::Builder builder(function, target);
  write(builder);
  return function;
}

// A compiled kernel and the arguments it gets.
class Kernel {
 public:
  Kernel(const compiler::loops::Function& function, const compiler::Target& target)
      : object_(compiler::llvm_backend().to_object(function, target)),
        code_(runtime::CodeArena().place(runtime::relocate_elf(object_))),
        run_(reinterpret_cast<compiler::KernelFunction>(code_->entry(function.name))) {}
  // Of make_function(target, write).
  template <std::invocable<compiler::loops::Builder&> Write>
  Kernel(const compiler::Target& target, const Write& write)
      : Kernel(make_function(target, write), target) {}

  std::vector<void*> buffers;
  std::vector<int64_t> integers;
  void* scratch = nullptr;
  int64_t error[2] = {0, 0};
  std::vector<const void*> helpers;  // by Helper

  void run(int64_t begin = 0, int64_t end = 1) {
    const compiler::KernelArguments arguments = {buffers.data(), integers.data(), scratch, error,
                                                 helpers.data()};
    run_(&arguments, begin, end);
  }
  // As LLVM wrote it.
  const std::vector<std::byte>& object() const { return object_; }

 private:
  std::vector<std::byte> object_;
  std::shared_ptr<const runtime::Code> code_;
  compiler::KernelFunction run_;
};

// Memory whose last byte is followed, and whose first is preceded, by a page that faults.
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  void* front() const { return pages_; }  // `bytes` from here on, behind a guard page
  void* back() const { return pages_ + size_ - bytes_; }  // `bytes`, and then a guard page

 private:
  std::byte* pages_ = nullptr;
  size_t bytes_, size_;
};

}  // namespace cermet::test
