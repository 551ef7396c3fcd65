#pragma once
// Declares every exported entry point, from the table in api.def.

#include "fakecuda/abi.h"

#define FAKECUDA_EXPORT __attribute__((visibility("default")))

namespace cermet::fakecuda {

extern "C" {
#define ENTRY(name, symbol, version, parameters) FAKECUDA_EXPORT CUresult symbol parameters;
#include "fakecuda/api.def"
#undef ENTRY
}

}  // namespace cermet::fakecuda
