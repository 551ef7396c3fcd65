#pragma once
// For tests that compile CUDA C: whether they can run here.

#include <string>

#include "cermet/error.h"
#include "compiler/cuda/nvrtc.h"
#include "support/catch.h"

namespace cermet::test {

// Why there is no NVRTC, in one line, or an empty text.
inline std::string no_nvrtc() {
  try {
    compiler::nvrtc_library();
    return {};
  } catch (const DeviceError& error) {
    const std::string text = error.what();
    return text.substr(0, text.find('\n'));
  }
}

}  // namespace cermet::test

// Begins a test case that needs NVRTC.
#define CERMET_NEEDS_NVRTC() \
  if (const std::string cermet_why = cermet::test::no_nvrtc(); !cermet_why.empty()) SKIP(cermet_why)
