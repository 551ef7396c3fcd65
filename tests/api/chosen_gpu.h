#pragma once
// For the programs of test_cuda_api, which are one binary and so use one GPU: the fake one, of two
// cards, unless CERMET_TEST_GPU names another (support/gpu.h).

#include "support/gpu.h"

namespace cermet::test {

// Before anything asks for a driver.
inline const bool gpu_is_chosen = [] {
  use_gpu("90,80 random:7");
  return true;
}();

}  // namespace cermet::test
