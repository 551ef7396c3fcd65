#include "compiler/cuda/arch.h"

#include <fmt/format.h>

#include <charconv>

#include "cermet/error.h"

namespace cermet::compiler {

CudaArch CudaArch::parse(std::string_view name) {
  constexpr std::string_view prefix = "sm_";
  CudaArch arch;
  if (name.starts_with(prefix)) {
    const char* end = name.data() + name.size();
    const auto [at, error] = std::from_chars(name.data() + prefix.size(), end, arch.number);
    const bool plain = at == end;
    const bool suffixed = at + 1 == end && (*at == 'a' || *at == 'f');
    if (error == std::errc() && arch.number >= 10 && arch.number < 1000 && (plain || suffixed)) {
      arch.suffix = plain ? '\0' : *at;
      return arch;
    }
  }
  throw Error(
      fmt::format("cuda: '{}' is no GPU architecture, one is written as sm_90 or sm_90a", name));
}

std::string to_string(const CudaArch& arch) {
  return arch.suffix ? fmt::format("sm_{}{}", arch.number, arch.suffix)
                     : fmt::format("sm_{}", arch.number);
}

}  // namespace cermet::compiler
