#pragma once
// A long axis cut into chunks of the same length, each of which is reduced or scanned by itself.

#include "ir/build.h"

namespace cermet::compiler {

// The largest divisor of the extent between half of the wanted number of chunks and that number,
// else the wanted number itself.
int64_t chunks_near(int64_t extent, int64_t wanted);

// The axis as two, [count, length]; what the last chunk lacks is the identity of the combination.
ir::Value in_chunks(const ir::Value& x, int64_t axis, int64_t count, ir::Combine combine);

// Both, element by element. Not for Set.
ir::Value combined(ir::Combine combine, const ir::Value& x, const ir::Value& y);

// What combined with any x is x.
double identity_of(ir::Combine combine);

}  // namespace cermet::compiler
