#pragma once
// Which kernels may write over what they read.
//
// A map reads each element of an operand and writes a result at the same place, so the result may
// lie where the operand does: the elements of one iteration of its loop are loaded before any of
// them is stored, and no other iteration touches them. The same holds for what a product's epilogue
// reads beside the sums (a parameter that an optimiser changes), and for a row program whose last
// look at an operand is the one that stores. Only how the kernel reads decides here; whether the
// operand is dead after it is the memory plan's to find out.

#include <vector>

#include "compiler/kernels.h"

namespace cermet::compiler {

struct Overwrite {
  int32_t store;   // of the kernel: which
  int32_t buffer;  // that it may write over
  bool pays;       // it takes no longer than in other memory
};

// The pairs of a store and an operand of which this holds: the only store to its buffer, at the
// place of every load of the operand, all elements of both, of one size. What is read at another
// place as well (shifted, transposed, broadcast, by an index) is not among them. For CPUs.
std::vector<Overwrite> overwrites_of(const Kernel& kernel,
                                     const std::vector<KernelBuffer>& buffers);

// Whether it can find an index out of range.
bool reports(const Kernel& kernel);

}  // namespace cermet::compiler
