#pragma once
// How much memory a program may take, and how much it would take.

#include <cstdint>
#include <span>

#include "cermet/tensor.h"

namespace cermet {

// Limits what a realize takes for temporaries and results, on one device, to so many bytes (0: no
// limit, the default): values that are needed again much later are computed a second time instead
// of being kept, elementwise operations first, products last. It holds for the whole process and
// for what is computed from then on. A realize that cannot stay within it is an Error that says how
// many bytes it comes to. Throws Error for a negative number. See checkpoint() to choose by hand.
void set_memory_budget(int64_t bytes, SourceLocation where = SourceLocation::current());
int64_t memory_budget();

// The bytes that realize(tensors) would take now for temporaries and results, within the budget;
// nothing is compiled or computed. Memory that exists already, inputs for example, is not counted.
int64_t planned_bytes(std::span<const Tensor> tensors,
                      SourceLocation where = SourceLocation::current());
int64_t planned_bytes(std::initializer_list<Tensor> tensors,
                      SourceLocation where = SourceLocation::current());

}  // namespace cermet
