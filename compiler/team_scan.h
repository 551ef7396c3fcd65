#pragma once
// One step of a scan by all threads of a team together: each has a vector of neighbouring elements,
// in the order of the threads.
//
// A thread scans its vector; the threads of a warp exchange what they have so far in a butterfly
// (after step s everyone knows the 2^s threads around it, and what comes before itself among them);
// warps leave their totals in shared memory. What comes before all of the step is the carry. So the
// order in which elements are combined depends on the shape alone: pairs of threads, pairs of
// pairs, warps one after another, steps one after another.

#include <functional>

#include "compiler/lower_scope.h"

namespace cermet::compiler {

struct Team {
  loops::Ref team, part;  // which team of the block this thread belongs to, and which part it is
  int64_t threads;        // of a team; a power of two
  int64_t teams;          // of a block
  std::function<int32_t(DType, int64_t elements)> shared;  // a new buffer in shared memory
};

struct ScanStep {
  loops::Ref values;  // of the elements, before rounding to the expression's dtype
  loops::Ref carry;   // what comes before the next step; scalar
};

// `value` is this thread's elements (identities where there are none), `carry` a scalar. A reversed
// scan's first thread has its first elements: the last ones, in a vector that counts upwards.
ScanStep scan_in_team(loops::Builder& b, const Expr& expr, const Team& team, loops::Ref value,
                      loops::Ref carry);

}  // namespace cermet::compiler
