#pragma once
// Architectures of NVIDIA GPUs by their names in CUDA's tools: "sm_90", "sm_90a", "sm_120".
//
// The number is ten times the major compute capability plus the minor one. The suffix 'a' stands
// for instructions of that architecture alone, 'f' for those of its family: code made for either
// does not run on later devices, code made for a plain name runs on all later ones through its PTX.

#include <compare>
#include <string>
#include <string_view>

namespace cermet::compiler {

struct CudaArch {
  int number = 90;
  char suffix = '\0';  // 'a', 'f' or none

  // Throws Error for anything but sm_NUMBER, sm_NUMBERa and sm_NUMBERf.
  static CudaArch parse(std::string_view name);
  friend auto operator<=>(const CudaArch&, const CudaArch&) = default;
};

std::string to_string(const CudaArch& arch);  // "sm_90a"

}  // namespace cermet::compiler
