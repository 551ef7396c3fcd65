#pragma once
// What NVRTC made of a program, as it is kept on disk: machine code, and the PTX of the same
// compile for a driver that takes no machine code.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cermet::runtime {

struct GpuCode {
  std::vector<std::byte> cubin;  // empty if only PTX was made
  std::string ptx;
  friend bool operator==(const GpuCode&, const GpuCode&) = default;
};

std::vector<std::byte> serialize_gpu_code(const GpuCode& code);
// Nothing if the bytes are not what serialize_gpu_code() makes.
std::optional<GpuCode> parse_gpu_code(std::span<const std::byte> bytes);

}  // namespace cermet::runtime
