#pragma once
// What fusion weighs: a pointwise value that several kernels use is stored by one and loaded by the
// others, or computed by each of them. All numbers are cycles of one core for a vector of elements,
// as in the op table.

#include <string>

#include "compiler/fuse_plan.h"
#include "compiler/target.h"

namespace cermet::compiler {

// Of storing a value of so many bytes and loading it once: by the cache that it stays in.
int round_trip_cycles(int64_t bytes, const Target& target);

// Why a value is better stored than computed `times` times, or an empty string.
std::string why_stored(const NodeFacts& facts, double times, const Target& target);

}  // namespace cermet::compiler
