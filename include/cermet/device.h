#pragma once
// Where tensors live.

#include <cstdint>
#include <string>
#include <string_view>

#include "cermet/error.h"

namespace cermet {

struct Device {
  enum class Kind : uint8_t { Cpu, Cuda };
  Kind kind = Kind::Cpu;
  int index = 0;

  // "cpu", "cuda" or "cuda:1". Throws Error for other texts.
  static Device parse(std::string_view text, SourceLocation where = SourceLocation::current());
  friend bool operator==(const Device&, const Device&) = default;
};

std::string to_string(const Device& device);  // "cpu", "cuda:0"

namespace cuda {
// Whether tensors can be moved to an NVIDIA GPU.
bool is_available();

// Waits until a GPU is done with everything that it was given; does nothing for the CPU. Throws
// Error for an index out of range in what this thread realized there (see cermet/tensor.h), if that
// was not thrown yet; DeviceError if there is no such GPU or something on it failed.
void synchronize(const Device& device = {Device::Kind::Cuda, 0},
                 SourceLocation where = SourceLocation::current());
}  // namespace cuda

}  // namespace cermet
