#pragma once
// The engine: from pending expressions to buffers.
//
//   1. request   the pending part of the graph in canonical form (runtime/signature.h)
//   2. plan      looked up by signature; else compiled: simplify, fuse, lower, plan memory
//   (compiler/program.h)
//   3. kernels   each looked up by its loops in memory, by their text + target on disk, else
//   compiled by LLVM and put on both
//   4. run       one arena for temporaries, buffers for results, launches in order, their ranges
//   shared out to the threads
//
// An Engine owns everything that changes: allocator, threads, caches, counters. Several can live in
// a process; the tensor functions use default_engine(). All functions may be called from several
// threads.

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "compiler/program.h"
#include "ir/graph.h"
#include "runtime/buffer.h"
#include "runtime/code_arena.h"
#include "runtime/disk_cache.h"
#include "runtime/dump.h"
#include "runtime/engine_log.h"
#include "runtime/signature.h"
#include "runtime/storage.h"
#include "runtime/thread_pool.h"

namespace cermet::runtime {

struct EngineOptions {
  int threads = 0;              // 0: CERMET_NUM_THREADS, else the processors this process may use
  std::string target = "host";  // see compiler::target
  bool tiny_caches = false;     // for tests: small arrays are treated as large ones are
  std::filesystem::path cache_directory = DiskCache::default_directory();  // empty: no disk cache
  int64_t cache_bytes = DiskCache::default_max_bytes;
  Allocator::Options allocator = {};
};

// Inputs that a run may write over.
struct Overwriting {
  // By slot: whether the caller alone can reach the input, whose memory is an Engine's.
  SmallVector<uint8_t, 16> allowed;
  // Set by the run: it may have written over them. An Error that a kernel reports is thrown before
  // that, and so is a DeviceError for want of memory.
  bool begun = false;
};

class Engine {
 public:
  explicit Engine(EngineOptions options = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Computes the roots as one program. Result i is a buffer with the elements of root i, row-major.
  // Nodes without borrowed memory below them remember their value. Throws Error for what a kernel
  // reports (an index out of range), DeviceError when memory or the compiler fails.
  std::vector<std::shared_ptr<const ir::Storage>> realize(std::span<const ir::Value> roots,
                                                          compiler::Numerics numerics = {},
                                                          int64_t memory_budget = 0);

  // The program of a request; compiled if it is not known, which `known` says.
  struct Plan;
  std::shared_ptr<const Plan> plan_for(const Request& request, bool& known);
  // Runs it on inputs that are like those of the request, as one that was `known` or not; no node
  // is told its value. There are as many results as roots. With `overwriting` they may be written
  // over inputs.
  void run(const Plan& plan, bool known, std::span<const ir::Value> inputs,
           std::span<std::shared_ptr<const ir::Storage>> results,
           Overwriting* overwriting = nullptr);

  Allocator& allocator() { return allocator_; }
  ThreadPool& threads() { return threads_; }
  const compiler::Target& target();
  EngineStats stats() const { return log_.stats(); }
  std::vector<CompileRecord> compiles() const { return log_.compiles(); }
  void reset_stats() { log_.reset(); }
  DiskCache& disk_cache() { return disk_cache_; }

 private:
  struct Kernel;
  std::shared_ptr<const Plan> known_plan(const Signature& signature) const;
  std::shared_ptr<const Plan> make_plan(const Request& request);
  // By launch; null for Sort. Those that are missing are loaded side by side.
  std::vector<std::shared_ptr<const Kernel>> kernels_for(const compiler::Program& program);
  struct MissingKernel;
  struct KeyHash {  // of keys of compiler/loops_key.h
    size_t operator()(const std::string& key) const;
  };
  template <class T>
  using KernelMap = std::unordered_map<std::string, T, KeyHash>;
  void load(MissingKernel& missing);
  std::shared_ptr<const Kernel> keep(const MissingKernel& loaded);
  struct Run;
  int64_t scratch_bytes(const Plan& plan, int threads) const;
  void launch(const Run& run, size_t index);
  void launch_pack(const Run& run, size_t index);

  EngineOptions options_;
  Allocator allocator_;
  ThreadPool threads_;
  CodeArena arena_;
  DiskCache disk_cache_;
  EngineLog log_;
  const std::vector<const compiler::Stage*> dump_stages_;
  mutable std::mutex mutex_;  // guards what follows; never held while a kernel compiles or runs
  std::unique_ptr<compiler::Target> target_;
  std::unordered_map<Signature, std::shared_ptr<const Plan>, SignatureHash> plans_;
  size_t signature_words_ = 0;  // of the keys of plans_, about
  KernelMap<std::shared_ptr<const Kernel>> kernels_;
  std::unordered_map<std::string, std::string>
      last_text_;  // by kernel name: for the reason of a compile
};

// The engine of the tensor functions, made at its first use from the environment.
Engine& default_engine();

}  // namespace cermet::runtime
