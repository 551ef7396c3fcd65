#include "runtime/gpu_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "compiler/cuda/print.h"
#include "compiler/cuda/sort.h"

namespace cermet::runtime {
namespace {

// A training step finds its buffers at a few sets of addresses in turn.
constexpr size_t most_replays = 4;
constexpr size_t least_replayed = 2;  // launches; a single one costs no less as a graph

// {code or 0, value}: see loops::Opcode::Report. Every report of a program has a code of its own
// kernel only, so kernels that can report have a cell each.
constexpr size_t error_cell_bytes = 16;

}  // namespace

GpuPlan::GpuPlan(compiler::Program program, std::vector<cuda::Function> kernels,
                 const cuda::Card& card)
    : program_(std::move(program)), kernels_(std::move(kernels)) {
  const std::vector<compiler::Program::Launch>& launches = program_.launches;
  for (size_t i = 0; i < launches.size(); ++i) {
    if (!launches[i].kernel.reports.empty()) reporting_.push_back(i);
    if (launches[i].kind == compiler::Kernel::Kind::Sort && launches[i].columns > 2)
      sort_bytes_ = std::max(sort_bytes_, size_t(launches[i].rows * launches[i].columns) * 8);
  }
  // With a wait after each launch an error names the kernel; a graph would hide it.
  replayable_ =
      (launches.size() >= least_replayed || sort_bytes_ > 0) && !card.waits_after_launch();
  for (const auto& launch : launches)
    replayable_ &= !compiler::arguments_in_memory(launch.kernel.function);
}

std::string GpuPlan::mistake_in(std::span<const std::byte> cells) const {
  for (size_t i = 0; i < reporting_.size(); ++i) {
    std::array<int64_t, 2> cell;
    static_assert(sizeof cell == error_cell_bytes);
    std::memcpy(cell.data(), cells.data() + i * error_cell_bytes, error_cell_bytes);
    const auto [code, value] = cell;
    if (code == 0) continue;
    const auto& reports = program_.launches[reporting_[i]].kernel.reports;
    return fmt::format(fmt::runtime(reports.at(size_t(code) - 1)), value);
  }
  return {};
}

std::unique_ptr<ReportSlot> GpuPlan::run(cuda::Device& device,
                                         std::span<const cuda::Address> buffers, Recorder& recorder,
                                         ReportSlots& slots) const {
  const cuda::Stream& stream = device.stream();
  std::unique_lock lock(mutex_);
  const size_t cell_bytes = reporting_.size() * error_cell_bytes;
  if (cell_bytes > 0) {
    if (!cells_) cells_ = device.allocate(cell_bytes);
    cells_.written_by(stream);
  }
  if (replayable_ && runs_++ > 0) {
    replay(device, buffers, recorder);
  } else {
    if (cell_bytes == 0) lock.unlock();  // else another run must not come before the cells are read
    launch_all(device, buffers, stream);
  }
  if (cell_bytes == 0) return nullptr;
  std::unique_ptr<ReportSlot> slot = slots.take(cell_bytes, stream);
  cuda::copy(slot->memory, cells_.address(), cell_bytes, stream);
  slot->copied.record(stream);
  return slot;
}

void GpuPlan::replay(cuda::Device& device, std::span<const cuda::Address> buffers,
                     Recorder& recorder) const {
  const auto same = [&](const Replay& replay) {
    return std::ranges::equal(replay.addresses, buffers);
  };
  auto replay = std::ranges::find_if(replays_, same);
  if (replay == replays_.end()) {
    const std::lock_guard recording(recorder.mutex);
    const auto work = [&] { launch_all(device, buffers, recorder.stream); };
    if (replays_.size() < most_replays) {
      replays_.push_back({{}, cuda::Graph::capture(recorder.stream, work)});
      replay = replays_.end() - 1;
    } else {
      replay = replays_.begin() + int64_t(oldest_++ % most_replays);
      replay->addresses.clear();  // of no use if recording fails
      replay->graph.recapture(recorder.stream, work);
    }
    replay->addresses.assign(buffers.begin(), buffers.end());
  }
  replay->graph.launch(device.stream());
}

void GpuPlan::launch_all(cuda::Device& device, std::span<const cuda::Address> buffers,
                         const cuda::Stream& stream) const {
  if (cells_)
    cuda::fill(cells_.address(), std::byte(0), reporting_.size() * error_cell_bytes, stream);
  const auto& launches = program_.launches;
  for (size_t i = 0, cell = 0; i < launches.size(); ++i) {
    const compiler::LoweredKernel& kernel = launches[i].kernel;
    if (launches[i].kind == compiler::Kernel::Kind::Sort) {
      sort(i, buffers, stream);
      continue;
    }
    const cuda::Address error_cell =
        kernel.reports.empty() ? 0 : cells_.address() + cell++ * error_cell_bytes;
    launch(i, device, buffers, error_cell, stream);
  }
}

void GpuPlan::launch(size_t index, cuda::Device& device, std::span<const cuda::Address> buffers,
                     cuda::Address error_cell, const cuda::Stream& stream) const {
  const compiler::LoweredKernel& kernel = program_.launches[index].kernel;
  if (kernel.range <= 0) return;
  cuda::Arguments arguments;
  for (int32_t b : kernel.buffers) arguments.add(buffers[size_t(b)]);
  for (int64_t i : kernel.integers) arguments.add(i);
  arguments.add(error_cell);
  cuda::DeviceBuffer table;  // of arguments, if they are too many; the stream still reads it later
  if (compiler::arguments_in_memory(kernel.function)) {
    table = device.allocate(arguments.bytes().size());
    device.copy_to_device(table.address(), arguments.bytes());
    arguments = {};
    arguments.add(table.address());
  }
  cuda::LaunchShape shape;
  shape.grid[0] = kernel.range;
  shape.block[0] = kernel.function.threads;
  shape.shared_bytes = kernel.scratch_bytes;
  kernels_[index].launch(stream, shape, arguments.bytes());
}

// Merges until one run is left, to and fro between the result and memory of its own; see
// compiler/cuda/sort.h.
void GpuPlan::sort(size_t index, std::span<const cuda::Address> buffers,
                   const cuda::Stream& stream) const {
  const compiler::Program::Launch& launch = program_.launches[index];
  const int64_t total = launch.rows * launch.columns;
  if (total == 0) return;
  const cuda::Address elements = buffers[size_t(launch.kernel.buffers[0])];
  const cuda::Address result = buffers[size_t(launch.kernel.buffers[1])];
  int64_t passes = 1;
  while ((int64_t(1) << passes) < launch.columns) ++passes;
  cuda::LaunchShape shape;
  shape.block[0] = compiler::cuda_sort_threads;
  shape.grid[0] = (total + shape.block[0] - 1) / shape.block[0];
  cuda::Address from{};
  for (int64_t pass = 0; pass < passes; ++pass) {
    const cuda::Address to = (passes - pass) % 2 == 1 ? result : buffers.back();
    cuda::Arguments arguments;
    arguments.add(elements)
        .add(from)
        .add(to)
        .add(launch.columns)
        .add(int64_t(1) << pass)
        .add(total);
    kernels_[index].launch(stream, shape, arguments.bytes());
    from = to;
  }
}

}  // namespace cermet::runtime
