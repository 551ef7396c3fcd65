#pragma once
// A small device for the tests of the interpreter: arrays in host memory whose addresses are their
// device addresses, and launches with arguments by value.

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include "ptxsim/ptxsim.h"

namespace cermet::ptxsim::test {

class Device {
 public:
  Options options;

  // An array on the device, initialised with values, or with nothing.
  template <class T>
  T* array(const std::vector<T>& values, const std::string& name = "array") {
    T* const result = raw<T>(values.size(), name);
    if (!values.empty()) std::memcpy(result, values.data(), values.size() * sizeof(T));
    memory.mark_initialised(address(result), values.size() * sizeof(T));
    return result;
  }
  template <class T>
  T* raw(std::size_t count, const std::string& name = "array") {
    const std::size_t bytes = count * sizeof(T);
    storage_.push_back(std::make_unique<Chunk[]>(bytes / sizeof(Chunk) + 2));
    T* const result = reinterpret_cast<T*>(storage_.back().get());
    memory.add(address(result), bytes, result, name);
    return result;
  }
  void free(const void* pointer) { memory.release(address(pointer)); }

  template <class T>
  std::vector<T> read(const T* pointer, std::size_t count) const {
    return {pointer, pointer + count};
  }

  // Runs a kernel of a module with its arguments in order; its variables get their places first.
  template <class... A>
  Report run(Module& module, const std::string& kernel, LaunchShape shape, A... arguments) {
    place_variables(module);
    const Kernel* const found = module.kernel(kernel);
    if (found == nullptr) throw Error("no kernel '" + kernel + "'");
    std::vector<std::byte> bytes(found->parameter_bytes);
    std::size_t next = 0;
    (put(*found, bytes, next, arguments), ...);
    if (next != found->parameters.size()) throw Error("wrong number of arguments");
    return launch(module, *found, shape, bytes, memory, options);
  }

  Memory memory;

 private:
  struct alignas(256) Chunk {
    std::byte bytes[256];
  };

  static std::uint64_t address(const void* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
  }

  template <class T>
  static void put(const Kernel& kernel, std::vector<std::byte>& bytes, std::size_t& next, T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (next >= kernel.parameters.size() || kernel.parameters[next].size != sizeof(T)) {
      throw Error("argument " + std::to_string(next) + " of '" + kernel.name +
                  "' has another size");
    }
    std::memcpy(&bytes[kernel.parameters[next].offset], &value, sizeof(T));
    ++next;
  }

  // Once per module: its variables keep their values from launch to launch.
  void place_variables(Module& module) {
    if (!placed_.insert(&module).second) return;
    for (const Variable& variable : module.variables()) {
      std::byte* const place = array(variable.initial, variable.name);
      module.place(variable.name, address(place));
    }
  }

  std::vector<std::unique_ptr<Chunk[]>> storage_;
  std::set<const Module*> placed_;
};

}  // namespace cermet::ptxsim::test
