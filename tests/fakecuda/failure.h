#pragma once
// How an entry point fails: by throwing the result that the call is to return.

#include <string>
#include <utility>

#include "fakecuda/abi.h"

namespace cermet::fakecuda {

struct Failure {
  CUresult code;
  std::string why;  // for whoever debugs the fake driver; the API has no place for it
};

[[noreturn]] inline void fail(CUresult code, std::string why = {}) {
  throw Failure{code, std::move(why)};
}

inline void require(bool condition, CUresult code = CUDA_ERROR_INVALID_VALUE) {
  if (!condition) fail(code);
}

// Errors after which a context is of no use: every later call returns the same.
constexpr bool is_sticky(CUresult code) {
  switch (static_cast<unsigned>(code)) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_ECC_UNCORRECTABLE: return true;
  }
  return false;
}

}  // namespace cermet::fakecuda
