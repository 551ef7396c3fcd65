#include "runtime/gpu_code.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace cermet::runtime {
namespace {

// An ELF image, which is what a cubin is, begins with these.
constexpr std::array<std::byte, 4> elf = {std::byte{0x7f}, std::byte{'E'}, std::byte{'L'},
                                          std::byte{'F'}};

}  // namespace

// How many bytes the cubin has, the cubin, the PTX.
std::vector<std::byte> serialize_gpu_code(const GpuCode& code) {
  const uint64_t cubin_bytes = code.cubin.size();
  std::vector<std::byte> out(sizeof cubin_bytes + code.cubin.size() + code.ptx.size());
  std::memcpy(out.data(), &cubin_bytes, sizeof cubin_bytes);
  const auto end = std::ranges::copy(code.cubin, out.begin() + sizeof cubin_bytes).out;
  std::ranges::copy(std::as_bytes(std::span(code.ptx)), end);
  return out;
}

std::optional<GpuCode> parse_gpu_code(std::span<const std::byte> bytes) {
  uint64_t cubin_bytes = 0;
  if (bytes.size() < sizeof cubin_bytes) return std::nullopt;
  std::memcpy(&cubin_bytes, bytes.data(), sizeof cubin_bytes);
  bytes = bytes.subspan(sizeof cubin_bytes);
  if (cubin_bytes > bytes.size()) return std::nullopt;
  const auto cubin = bytes.first(cubin_bytes), ptx = bytes.subspan(cubin_bytes);
  if (!cubin.empty() && !std::ranges::equal(cubin.first(std::min(cubin.size(), elf.size())), elf))
    return std::nullopt;
  GpuCode code;
  code.cubin.assign(cubin.begin(), cubin.end());
  code.ptx.assign(reinterpret_cast<const char*>(ptx.data()), ptx.size());
  if (code.ptx.find(".version") == code.ptx.npos) return std::nullopt;
  return code;
}

}  // namespace cermet::runtime
