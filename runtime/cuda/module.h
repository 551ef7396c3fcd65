#pragma once
// Compiled kernels on a card: a module is a loaded image, a function one of its kernels.

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/cuda/launch_log.h"
#include "runtime/cuda/stream.h"

namespace cermet::runtime::cuda {

struct LoadedModule;  // in module.cpp
struct LoadedFunction;

// A counted handle, which keeps its module loaded. Thread-safe.
class Function {
 public:
  const std::string& name() const;
  CUfunc_st* handle() const;
  // What the driver says of it.
  int64_t registers() const;     // of a thread
  int64_t local_bytes() const;   // of a thread: stack and spilled registers
  int64_t shared_bytes() const;  // of a block, as declared
  int64_t max_threads_per_block() const;

  // Runs the kernel when the stream comes to it. `arguments` are its parameters as they lie in
  // memory (Arguments makes them). A grid of no blocks is no launch. Throws InternalError for a
  // shape that the card cannot have; DeviceError where the driver refuses, or when an earlier
  // launch went wrong.
  void launch(const Stream& stream, const LaunchShape& shape,
              std::span<const std::byte> arguments) const;

 private:
  friend class Module;
  explicit Function(std::shared_ptr<LoadedFunction> loaded) : loaded_(std::move(loaded)) {}
  std::shared_ptr<LoadedFunction> loaded_;
};

// A counted handle.
class Module {
 public:
  // Loads a cubin, or PTX for the driver to translate. Throws DeviceError with the driver's log.
  static Module load(std::shared_ptr<const Card> card, std::span<const std::byte> image);
  static Module load(std::shared_ptr<const Card> card, const std::string& ptx);
  // The cubin; the PTX if there is no cubin, or if it is for another card or for a newer driver.
  static Module load(std::shared_ptr<const Card> card, std::span<const std::byte> cubin,
                     const std::string& ptx);

  // The kernel of that name. Throws DeviceError if there is none. Errors of launches call it
  // `shown`, if that is given.
  Function function(const std::string& name, const std::string& shown = {}) const;

 private:
  explicit Module(std::shared_ptr<LoadedModule> loaded) : loaded_(std::move(loaded)) {}
  static Result try_load(LoadedModule& module, const char* image, std::string& log);
  static Module load_image(std::shared_ptr<const Card> card, const char* image);
  std::shared_ptr<LoadedModule> loaded_;
};

// The most that the parameters of a kernel can have together, on every card.
inline constexpr size_t max_argument_bytes = 4096;

// The parameters of a kernel, one after the other, each at a multiple of its own size.
class Arguments {
 public:
  template <class T>
  Arguments& add(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) == sizeof(T));
    const size_t at = (bytes_.size() + sizeof(T) - 1) / sizeof(T) * sizeof(T);
    bytes_.resize(at + sizeof(T));
    std::memcpy(bytes_.data() + at, &value, sizeof(T));
    return *this;
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace cermet::runtime::cuda
