#pragma once
// The threads that compute on CPUs. By default the library has its own, one for each processor the
// process may use; a program with a pool of its own can lend it instead:
//
//   ct::set_parallel_for([&](int count, const auto& body) { pool.run(count, body); }, pool.size());

#include <functional>

#include "cermet/error.h"

namespace cermet {

// A loop on the caller's threads: calls body(i) once for each i in [0, count), several at the same
// time if it can, and returns when all have returned. Any order will do, also one after the other;
// body does not throw. It is called from every thread that computes tensors, also from inside a
// body if that one does.
using ParallelLoop = std::function<void(int count, const std::function<void(int i)>& body)>;

// From now on kernels are compiled and run in this loop, with at most `threads` rounds, and not on
// threads of the library; with an empty loop, on these again. Work that is not worth sharing stays
// on the thread that computes. Results do not change. What the loop throws, realize() throws.
// Throws Error for a loop with less than one thread or more than 1024.
void set_parallel_for(ParallelLoop loop, int threads,
                      SourceLocation where = SourceLocation::current());

// How many threads kernels run on.
int num_threads();

}  // namespace cermet
