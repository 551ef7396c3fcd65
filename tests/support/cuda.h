#pragma once
// For tests that compile CUDA C: whether they can run here.

#include <cstdio>
#include <cstdlib>
#include <string>

#include "cermet/error.h"
#include "compiler/cuda/nvrtc.h"
#include "support/catch.h"
#include "support/gpu.h"
#include "support/message.h"

namespace cermet::test {

// Why there is no NVRTC, in one line, or an empty text.
inline std::string no_nvrtc() {
  const std::string text = message_of<DeviceError>([] { compiler::nvrtc_library(); });
  return text.substr(0, text.find('\n'));
}

// For programs whose cases all run on a GPU if on_gpu(): ends the process as skipped where that
// cannot be, else makes it so.
inline void use_gpu_or_skip_all() {
  if (const std::string why = no_nvrtc(); !why.empty()) {
    std::fprintf(stderr, "SKIPPED: %s\n", why.c_str());
    std::_Exit(0);
  }
  use_gpu();
}

}  // namespace cermet::test

// Begins a test case that needs NVRTC.
#define CERMET_NEEDS_NVRTC() \
  if (const std::string cermet_why = cermet::test::no_nvrtc(); !cermet_why.empty()) SKIP(cermet_why)
