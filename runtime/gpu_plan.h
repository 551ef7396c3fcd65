#pragma once
// A program that was compiled for a GPU, and how a run of it is given to a stream.
//
// A plan that comes again is recorded as a graph of the driver's, which is given to the GPU as one:
// for the same addresses it is replayed, for others it is recorded anew. Kernels that may find an
// index out of range write to cells of the plan, which are copied behind the run to a slot of the
// run's own (runtime/gpu_outcome.h).

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "compiler/program.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/graph.h"
#include "runtime/gpu_outcome.h"

namespace cermet::runtime {

// Where launches are recorded. A plan locks it while it uses the stream.
struct Recorder {
  std::mutex mutex;
  const cuda::Stream stream;

  explicit Recorder(const std::shared_ptr<const cuda::Card>& card) : stream(card) {}
};

// Thread-safe.
class GpuPlan {
 public:
  // `kernels` are those of the program's launches, in order.
  GpuPlan(compiler::Program program, std::vector<cuda::Function> kernels, const cuda::Card& card);

  const compiler::Program& program() const { return program_; }
  // What a run needs of memory besides the buffers: for sorting, from which to which it goes.
  size_t sort_bytes() const { return sort_bytes_; }

  // Gives a run to the device's stream; `buffers` are the addresses of the program's, and that of
  // the memory for sorting, if there is any, last. Returns where its reports will be; null if it
  // has none.
  std::unique_ptr<ReportSlot> run(cuda::Device& device, std::span<const cuda::Address> buffers,
                                  Recorder& recorder, ReportSlots& slots) const;
  // What kernels reported, from the bytes of a slot; empty if nothing.
  std::string mistake_in(std::span<const std::byte> cells) const;

 private:
  struct Replay {
    std::vector<cuda::Address> addresses;  // of the buffers
    cuda::Graph graph;
  };
  void replay(cuda::Device& device, std::span<const cuda::Address> buffers,
              Recorder& recorder) const;
  void launch_all(cuda::Device& device, std::span<const cuda::Address> buffers,
                  const cuda::Stream& stream) const;
  void launch(size_t index, cuda::Device& device, std::span<const cuda::Address> buffers,
              cuda::Address error_cell, const cuda::Stream& stream) const;
  void sort(size_t index, std::span<const cuda::Address> buffers, const cuda::Stream& stream) const;

  const compiler::Program program_;
  const std::vector<cuda::Function> kernels_;  // by launch
  std::vector<size_t> reporting_;              // launches that can report, each with an error cell
  size_t sort_bytes_ = 0;
  bool replayable_ = false;  // launches of kernels with their arguments only
  // Guards what follows. Held from the launches to the copy of the cells, which all runs share.
  mutable std::mutex mutex_;
  mutable cuda::DeviceBuffer cells_;  // of reporting_, if there are any
  mutable int64_t runs_ = 0;
  mutable std::vector<Replay> replays_;
  mutable size_t oldest_ = 0;  // of replays_
};

}  // namespace cermet::runtime
