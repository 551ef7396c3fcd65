#pragma once
// The engine of one GPU: from pending expressions to buffers in its memory.
//
//   1. request, plan   as on the CPU (runtime/engine.h), for the GPU's own target
//   2. kernels         those of a plan that are not known yet are compiled as one program, since
//                      NVRTC compiles one program at a time; looked up on disk by its text
//   3. run             one arena for temporaries, buffers for results, launches in order on the
//                      stream that is current in the calling thread (runtime/gpu_plan.h). It waits
//                      for the streams that wrote what is read; nobody else does
//   4. outcome         of a plan whose kernels can report an index out of range: known later
//                      (runtime/gpu_outcome.h). Nothing waits for the GPU, but for a run so many
//                      before that what is kept until its outcome is known must not pile up
//
// The driver gets machine code, or PTX where it takes no machine code, as checkers behind the
// driver's interface do; with CERMET_CUDA_PTX=1 only PTX.
//
// Elements on the host that a program reads (numbers, tensors without axes, expressions of
// constants that were computed there) are copied to the device first.

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "compiler/program.h"
#include "runtime/cuda/device.h"
#include "runtime/device_storage.h"
#include "runtime/disk_cache.h"
#include "runtime/engine.h"
#include "runtime/gpu_code.h"
#include "runtime/gpu_plan.h"
#include "runtime/signature.h"

namespace cermet::runtime {

// Thread-safe.
class GpuEngine {
 public:
  // The device outlives the engine.
  explicit GpuEngine(cuda::Device& device, const EngineOptions& options = {});
  ~GpuEngine();

  cuda::Device& device() { return device_; }
  const compiler::Target& target() const { return target_; }

  // Computes the roots as one program. Result i is a buffer with the elements of root i, row-major;
  // what is given to the current stream next finds them there. Results that depend on an index
  // have an outcome, which is known later; with a device that waits after each launch it is known
  // at once and Error thrown here. Throws Error for elements that are known to have failed,
  // DeviceError when memory, NVRTC or the driver fails.
  std::vector<std::shared_ptr<const DeviceStorage>> realize(std::span<const ir::Value> roots,
                                                            compiler::Numerics numerics = {},
                                                            int64_t memory_budget = 0);

  // Runs what was requested on these inputs, which are like those of the request; no node is told
  // its value. Results as those of realize().
  std::vector<std::shared_ptr<const DeviceStorage>> run(const Request& request,
                                                        std::span<const ir::Value> inputs);

  // The elements of a storage of the host, copied to the device.
  std::shared_ptr<const DeviceStorage> upload(const ir::Storage& storage, size_t bytes);

  EngineStats stats() const { return log_.stats(); }
  // A record names the kernels of one program that was compiled.
  std::vector<CompileRecord> compiles() const { return log_.compiles(); }
  void reset_stats() { log_.reset(); }

 private:
  struct Memory;
  std::vector<std::shared_ptr<const DeviceStorage>> run(
      const Request& request, std::span<const ir::Value> nodes,
      std::span<const std::shared_ptr<const ir::Storage>> inputs);
  std::shared_ptr<const GpuPlan> plan_for(const Request& request);
  std::vector<cuda::Function> kernels_for(const compiler::Program& program);
  cuda::Module compile(const std::string& kernels, const std::string& source);
  GpuCode code_for(const std::string& kernels, const std::string& source);
  Memory memory_for(const compiler::Program& program, std::span<const ir::Value> nodes,
                    std::span<const std::shared_ptr<const ir::Storage>> inputs);
  cuda::DeviceBuffer ready(const DeviceStorage& storage, size_t bytes);
  void refuse_capture() const;
  void keep_open(std::shared_ptr<Outcome> outcome);

  cuda::Device& device_;
  const compiler::Target target_;
  const bool ptx_only_;
  DiskCache disk_cache_;
  EngineLog log_;
  Recorder recorder_;
  const std::shared_ptr<ReportSlots> slots_;
  mutable std::mutex mutex_;  // guards what follows; never held while a kernel compiles
  std::unordered_map<Signature, std::shared_ptr<const GpuPlan>, SignatureHash> plans_;
  std::unordered_map<std::string, cuda::Function> kernels_;  // by loop text
  std::deque<std::shared_ptr<Outcome>> open_;                // that may not be known yet, in order
};

// Opens a GPU in the caller's context (cuda::Devices::use_context).
void use_gpu_context(int index, CUctx_st* context);
// The engine of the tensors on a GPU, made when it is first asked for. Throws DeviceError without a
// driver, Error if the index does not exist.
GpuEngine& gpu_engine(int index);
// Those that were made so far.
std::vector<GpuEngine*> gpu_engines();

}  // namespace cermet::runtime
