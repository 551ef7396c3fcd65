// The public functions about threads.

#include "cermet/threads.h"

#include "runtime/engine.h"

namespace cermet {

void set_parallel_for(ParallelLoop loop, int threads, SourceLocation where) {
  if (loop && (threads < 1 || threads > runtime::ThreadPool::max_threads))
    throw Error("set_parallel_for: expected 1 to " +
                    std::to_string(runtime::ThreadPool::max_threads) + " threads, got " +
                    std::to_string(threads),
                where);
  runtime::default_engine().threads().borrow(std::move(loop), threads);
}

int num_threads() { return runtime::default_engine().threads().threads(); }

}  // namespace cermet
