#pragma once
// NVRTC as a library that is opened at run time: where it is looked for, and its functions.
//
// It stays open until the process ends, because it keeps state of its own. Nothing of CUDA's
// headers is needed to build this.
//
// It is looked for in this order:
//   1. the file that the environment variable CERMET_NVRTC names; no other is tried then,
//   2. the toolkit that CUDA_HOME or CUDA_PATH names,
//   3. the wheels nvidia-cuda-nvrtc (CUDA 13) and nvidia-cuda-nvrtc-cu12 in the folders of
//      PYTHONPATH and in the Python environments that VIRTUAL_ENV and CONDA_PREFIX name,
//   4. where the dynamic linker looks, which also finds one that is open already,
//   5. toolkits in /usr/local and /opt, then wheels of the user's and the system's Python.

#include <compare>
#include <cstddef>
#include <filesystem>
#include <string>
#include <type_traits>
#include <vector>

namespace cermet::compiler {

struct NvrtcVersion {
  int major = 0, minor = 0;
  friend auto operator<=>(const NvrtcVersion&, const NvrtcVersion&) = default;
};

enum class NvrtcResult : int { Success = 0, InvalidOption = 5, Compilation = 6 };
using NvrtcProgram = struct NvrtcProgramOpaque*;

struct NvrtcLibrary {
#define CERMET_NVRTC(name, ...) std::type_identity_t<__VA_ARGS__>* name = nullptr;
#include "compiler/cuda/nvrtc.def"

  std::filesystem::path path;
  NvrtcVersion version;
  std::vector<int> architectures;  // numbers, ascending
};

// The oldest version that is accepted.
inline constexpr NvrtcVersion nvrtc_minimum{12, 0};

// Where to look. A file is tried whether it is known to exist or not; a bare name is left to the
// dynamic linker.
struct NvrtcPlaces {
  std::vector<std::filesystem::path> files;
  std::vector<std::filesystem::path> empty_folders;  // were searched and had none
};
NvrtcPlaces nvrtc_places();

// The library; opened by the first call. Throws DeviceError, which names every place that was
// looked at; a later call tries again.
const NvrtcLibrary& nvrtc_library();

// Opens the first file that is an NVRTC of at least the minimal version. Throws as above.
const NvrtcLibrary& open_nvrtc(const NvrtcPlaces& places);

}  // namespace cermet::compiler
