#include "runtime/gpu_engine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>

#include "cermet/error.h"
#include "compiler/cuda/nvrtc.h"
#include "compiler/cuda/print.h"
#include "compiler/cuda/sort.h"
#include "compiler/loops_text.h"
#include "runtime/cuda/graph.h"
#include "runtime/devices.h"
#include "runtime/storage.h"

namespace cermet::runtime {
namespace {

using compiler::KernelBuffer;

// A process that never stops meeting new programs forgets old ones.
constexpr size_t plan_limit = 4096, kernel_limit = 16384;

// A training step finds its buffers at a few sets of addresses in turn.
constexpr size_t most_replays = 4;
constexpr size_t least_replayed = 2;  // launches; a single one costs no less as a graph

// {code or 0, value}: see loops::Opcode::Report. Every report of a program has a code of its own
// kernel only, so kernels that can report have a cell each.
constexpr size_t error_cell_bytes = 16;

// Runs whose outcome is not known. A GPU that has a few is never idle for want of another.
constexpr size_t most_open = 4;

// By slot; null for a scalar.
std::vector<std::shared_ptr<const ir::Storage>> storages_of(const Request& request) {
  std::vector<std::shared_ptr<const ir::Storage>> out;
  out.reserve(request.inputs.size());
  for (const ir::Value& input : request.inputs)
    out.push_back(input->op == ir::Op::Constant ? nullptr
                  : input->op == ir::Op::Data   ? input->as<ir::DataAttr>().storage
                                                : input->value());
  return out;
}

// The outcomes of elements for which it is not known. Throws Error for elements that failed.
std::vector<std::shared_ptr<Outcome>> open_outcomes(
    std::span<const std::shared_ptr<const ir::Storage>> inputs) {
  std::vector<std::shared_ptr<Outcome>> out;
  for (const auto& input : inputs)
    if (std::shared_ptr<Outcome> outcome = input ? outcome_of(*input) : nullptr) {
      outcome->check();
      if (std::ranges::find(out, outcome) == out.end()) out.push_back(std::move(outcome));
    }
  return out;
}

// Which roots depend on an index that is looked up, in this run or in one that is not known to be
// good.
std::vector<bool> roots_that_can_fail(const Request& request,
                                      std::span<const std::shared_ptr<const ir::Storage>> inputs) {
  std::vector<bool> can_fail(request.nodes.size());
  auto operand = request.operands.begin();
  auto input = inputs.begin();
  for (size_t i = 0; i < request.nodes.size(); ++i) {
    const ir::Node& node = *request.nodes[i];
    if (request.is_input[i]) {
      const auto& elements = *input++;
      can_fail[i] = elements && outcome_of(*elements);
      continue;
    }
    can_fail[i] = node.op == ir::Op::Gather || node.op == ir::Op::Scatter;
    for (size_t k = 0; k < node.operands.size(); ++k)
      if (can_fail[size_t(*operand++)]) can_fail[i] = true;
  }
  std::vector<bool> out;
  for (const int64_t root : request.roots) out.push_back(can_fail[size_t(root)]);
  return out;
}

}  // namespace

struct GpuEngine::Plan {
  compiler::Program program;
  std::vector<cuda::Function> kernels;  // by launch
  std::vector<size_t> reporting;        // launches that can report, each with an error cell
  bool replayable = false;              // launches of kernels with their arguments, nothing else

  // What kernels reported, from the bytes of their cells; empty if nothing.
  std::string mistake_in(std::span<const std::byte> cells) const;

  struct Replay {
    std::vector<cuda::Address> addresses;  // of the buffers
    cuda::Graph graph;
  };
  // Guards what follows. Held from the launches to the copy of the cells, which all runs share.
  mutable std::mutex mutex;
  mutable cuda::DeviceBuffer cells;  // of `reporting`, if there are any
  mutable int64_t runs = 0;
  mutable std::vector<Replay> replays;
  mutable size_t oldest = 0;  // of replays
};

std::string GpuEngine::Plan::mistake_in(std::span<const std::byte> cells) const {
  for (size_t i = 0; i < reporting.size(); ++i) {
    std::array<int64_t, 2> cell;
    static_assert(sizeof cell == error_cell_bytes);
    std::memcpy(cell.data(), cells.data() + i * error_cell_bytes, error_cell_bytes);
    const auto [code, value] = cell;
    if (code == 0) continue;
    const auto& reports = program.launches[reporting[i]].kernel.reports;
    return fmt::format(fmt::runtime(reports.at(size_t(code) - 1)), value);
  }
  return {};
}

GpuEngine::GpuEngine(cuda::Device& device, const EngineOptions& options)
    : device_(device),
      target_(compiler::cuda_target(device.facts().compute_capability)),
      ptx_only_(std::getenv("CERMET_CUDA_PTX") != nullptr),
      disk_cache_(options.cache_directory, options.cache_bytes),
      recorder_(device.card()),
      slots_(std::make_shared<ReportSlots>(device.card())) {}

// Modules must not go while their kernels are still to run.
GpuEngine::~GpuEngine() {
  try {
    device_.synchronize();
  } catch (const DeviceError&) {
    // The card is lost, and nothing runs on it any more.
  }
}

std::shared_ptr<const GpuEngine::Plan> GpuEngine::plan_for(const Request& request) {
  {
    std::lock_guard lock(mutex_);
    if (const auto at = plans_.find(request.signature); at != plans_.end()) {
      log_.count(&EngineStats::plan_hits);
      return at->second;
    }
    log_.count(&EngineStats::plan_misses);
  }
  auto plan = std::make_shared<Plan>();
  compiler::Target target = target_;
  target.numerics = request.numerics;
  plan->program = compiler::compile(make_graph(request), target);
  const std::vector<compiler::Program::Launch>& launches = plan->program.launches;
  for (size_t i = 0; i < launches.size(); ++i)
    if (!launches[i].kernel.reports.empty()) plan->reporting.push_back(i);
  // With a wait after each launch an error names the kernel; a graph would hide it.
  plan->replayable = launches.size() >= least_replayed && !device_.card()->waits_after_launch();
  for (const auto& launch : launches)
    plan->replayable &= launch.kind == compiler::Kernel::Kind::Fused &&
                        !compiler::arguments_in_memory(launch.kernel.function);
  plan->kernels = kernels_for(plan->program);
  std::lock_guard lock(mutex_);
  if (plans_.size() >= plan_limit) plans_.clear();
  return plans_.emplace(request.signature, std::move(plan)).first->second;
}

std::vector<cuda::Function> GpuEngine::kernels_for(const compiler::Program& program) {
  using Kind = compiler::Kernel::Kind;
  const auto sorted = [&](const compiler::Program::Launch& launch) {
    return program.buffers[size_t(launch.kernel.buffers[0])].dtype;
  };
  std::vector<std::string> texts;
  for (const auto& launch : program.launches)
    texts.push_back(launch.kind == Kind::Sort
                        ? fmt::format("sort {} {}", name(sorted(launch)), launch.descending)
                        : compiler::loops::print(launch.kernel.function));
  std::map<std::string, cuda::Function> ours;
  {
    std::lock_guard lock(mutex_);
    if (kernels_.size() >= kernel_limit) kernels_.clear();  // plans keep what they use
    for (const std::string& text : texts)
      if (const auto at = kernels_.find(text); at != kernels_.end()) {
        log_.count(&EngineStats::kernel_hits);
        ours.insert(*at);
      }
  }
  std::vector<const compiler::loops::Function*> missing;
  std::vector<std::string> missing_texts;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto& launch = program.launches[i];
    if (ours.contains(texts[i]) || std::ranges::count(missing_texts, texts[i]) > 0) continue;
    if (launch.kind == Kind::Sort) {
      const auto source = compiler::print_cuda_sort(sorted(launch), launch.descending, "k0");
      ours.emplace(texts[i], compile(texts[i], source).function("k0"));
    } else {
      missing.push_back(&launch.kernel.function);
      missing_texts.push_back(texts[i]);
    }
  }
  if (!missing.empty()) {  // as one program, which is loaded as one module
    std::vector<std::string> names;
    for (const auto* function : missing) names.push_back(function->name);
    const cuda::Module module =
        compile(fmt::format("{}", fmt::join(names, ", ")), compiler::print_cuda_unit(missing));
    for (size_t k = 0; k < missing.size(); ++k)
      ours.emplace(missing_texts[k], module.function(fmt::format("k{}", k)));
  }
  std::vector<cuda::Function> out;
  for (const std::string& text : texts) out.push_back(ours.at(text));
  std::lock_guard lock(mutex_);
  kernels_.insert(ours.begin(), ours.end());
  return out;
}

cuda::Module GpuEngine::compile(const std::string& kernels, const std::string& source) {
  const GpuCode code = code_for(kernels, source);
  return cuda::Module::load(device_.card(), code.cubin, code.ptx);
}

// From the disk if it was compiled before.
GpuCode GpuEngine::code_for(const std::string& kernels, const std::string& source) {
  compiler::CudaOptions options;
  options.arch.number = target_.compute;
  options.cubin = !ptx_only_;
  const compiler::NvrtcVersion version = compiler::nvrtc_version();
  const std::string key =
      fmt::format("cuda cubin+ptx {} {}.{} {}\n{}", target_.compute, version.major, version.minor,
                  fmt::join(compiler::nvrtc_options(options, version), " "), source);
  if (const auto cached = disk_cache_.get(bytes_of(key)))
    if (auto code = parse_gpu_code(*cached)) {
      log_.count(&EngineStats::disk_hits);
      return std::move(*code);
    }
  const auto start = std::chrono::steady_clock::now();
  compiler::CudaObject object = compiler::compile_cuda(source, options);
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  GpuCode code{std::move(object.cubin), std::move(object.ptx)};
  disk_cache_.put(bytes_of(key), serialize_gpu_code(code));
  log_.add_compile({kernels, fmt::format("new kernels on {}", target_.cpu), time.count()});
  return code;
}

std::shared_ptr<const DeviceStorage> GpuEngine::upload(const ir::Storage& storage, size_t bytes) {
  const Buffer from = buffer_of(storage);
  cuda::DeviceBuffer to = device_.allocate(bytes);
  device_.copy_to_device(to.address(), {static_cast<const std::byte*>(from.data()), bytes});
  return std::make_shared<const DeviceStorage>(std::move(to));
}

// Where the buffers of a program are, in a run of it.
struct GpuEngine::Memory {
  std::vector<cuda::Address> addresses;     // by buffer of the program
  std::vector<cuda::DeviceBuffer> results;  // by root
  std::vector<cuda::DeviceBuffer> held;     // until the stream has been given what uses them
};

GpuEngine::Memory GpuEngine::memory_for(
    const compiler::Program& program, const Request& request,
    std::span<const std::shared_ptr<const ir::Storage>> inputs) {
  Memory memory;
  memory.addresses.reserve(program.buffers.size());
  memory.results.resize(request.roots.size());
  cuda::Address scalars{};  // of all inputs, those without a scalar included
  const auto copy_scalars = [&] {
    std::vector<uint64_t> bits(request.inputs.size());
    for (size_t i = 0; i < bits.size(); ++i)
      if (!inputs[i]) bits[i] = request.inputs[i]->as<ir::ConstantAttr>().bits;
    memory.held.push_back(device_.allocate(bits.size() * sizeof(bits[0])));
    device_.copy_to_device(memory.held.back().address(), std::as_bytes(std::span(bits)));
    return memory.held.back().address();
  };
  const auto parameter = [&](size_t slot) -> cuda::Address {
    if (!inputs[slot]) {
      if (!scalars) scalars = copy_scalars();
      return scalars + sizeof(uint64_t) * slot;
    }
    const ir::Node& node = *request.inputs[slot];
    const auto* ours = dynamic_cast<const DeviceStorage*>(inputs[slot].get());
    const size_t bytes = size_t(node.numel()) * size_of(node.dtype);
    memory.held.push_back(ours ? ours->buffer() : upload(*inputs[slot], bytes)->buffer());
    return memory.held.back().address();
  };
  cuda::Address arena{};
  if (program.arena_bytes > 0) {
    memory.held.push_back(device_.allocate(size_t(program.arena_bytes)));
    arena = memory.held.back().address();
  }
  for (const compiler::Program::Buffer& buffer : program.buffers) {
    switch (buffer.kind) {
      case KernelBuffer::Kind::Parameter:
        memory.addresses.push_back(parameter(size_t(buffer.slot)));
        break;
      case KernelBuffer::Kind::Temporary:
        memory.addresses.push_back(arena + size_t(buffer.offset));
        break;
      case KernelBuffer::Kind::Result: {
        cuda::DeviceBuffer& result = memory.results[size_t(buffer.slot)];
        result = device_.allocate(size_t(buffer.elements) * size_of(buffer.dtype));
        memory.addresses.push_back(result.address());
        break;
      }
    }
  }
  return memory;
}

std::vector<std::shared_ptr<const DeviceStorage>> GpuEngine::realize(
    std::span<const ir::Value> roots, compiler::Numerics numerics) {
  const Request request = make_request(roots, numerics);
  const auto plan = plan_for(request);
  const std::vector<std::shared_ptr<const ir::Storage>> inputs = storages_of(request);
  for (size_t i = 0; i < inputs.size(); ++i)  // another thread found that it failed: what now?
    if (!inputs[i] && request.inputs[i]->op != ir::Op::Constant) return realize(roots, numerics);
  std::vector<std::shared_ptr<Outcome>> earlier = open_outcomes(inputs);

  const cuda::Card::Current current(*device_.card());
  const Memory memory = memory_for(plan->program, request, inputs);
  std::unique_ptr<ReportSlot> slot = run(*plan, memory.addresses);
  log_.add_realize(int64_t(plan->program.launches.size()));

  std::shared_ptr<Outcome> outcome;
  std::vector<bool> can_fail(roots.size());
  if (slot || !earlier.empty()) {
    can_fail = roots_that_can_fail(request, inputs);
    if (!slot)
      outcome = std::make_shared<Outcome>(std::move(earlier));
    else
      outcome = std::make_shared<Outcome>(
          std::move(earlier), slots_, std::move(slot),
          [plan](std::span<const std::byte> cells) { return plan->mistake_in(cells); });
    if (device_.card()->waits_after_launch()) {
      outcome->wait();
      outcome->check();
    }
    keep_open(outcome);
  }
  std::vector<std::shared_ptr<const DeviceStorage>> out;
  for (size_t i = 0; i < roots.size(); ++i) {
    out.push_back(
        std::make_shared<const DeviceStorage>(memory.results[i], can_fail[i] ? outcome : nullptr));
    // What is computed from constants alone belongs to no device: another may need it as well.
    if (roots[i]->place >= 0 && roots[i]->op != ir::Op::Data) roots[i]->set_value(out.back());
  }
  return out;
}

// Until its outcome is known a run keeps what it was computed from, so that it can be undone.
void GpuEngine::keep_open(std::shared_ptr<Outcome> outcome) {
  std::shared_ptr<Outcome> oldest;
  {
    std::lock_guard lock(mutex_);
    open_.push_back(std::move(outcome));
    if (open_.size() > most_open) oldest = std::move(open_.front()), open_.pop_front();
  }
  if (oldest) oldest->wait();
}

// Gives the plan to the stream. Returns where its reports will be; null if it has none.
std::unique_ptr<ReportSlot> GpuEngine::run(const Plan& plan,
                                           std::span<const cuda::Address> buffers) {
  std::unique_lock lock(plan.mutex);
  const size_t cell_bytes = plan.reporting.size() * error_cell_bytes;
  if (cell_bytes > 0 && !plan.cells) plan.cells = device_.allocate(cell_bytes);
  if (plan.replayable && plan.runs++ > 0) {
    replay(plan, buffers);
  } else {
    if (cell_bytes == 0) lock.unlock();  // else another run must not come before the cells are read
    launch_all(plan, buffers, device_.stream());
  }
  if (cell_bytes == 0) return nullptr;
  std::unique_ptr<ReportSlot> slot = slots_->take(cell_bytes);
  cuda::copy(slot->memory, plan.cells.address(), cell_bytes, device_.stream());
  slot->copied.record(device_.stream());
  return slot;
}

void GpuEngine::replay(const Plan& plan, std::span<const cuda::Address> buffers) {
  const auto same = [&](const Plan::Replay& replay) {
    return std::ranges::equal(replay.addresses, buffers);
  };
  auto replay = std::ranges::find_if(plan.replays, same);
  if (replay == plan.replays.end()) {
    std::lock_guard recording(recording_);
    const auto work = [&] { launch_all(plan, buffers, recorder_); };
    if (plan.replays.size() < most_replays) {
      plan.replays.push_back({{}, cuda::Graph::capture(recorder_, work)});
      replay = plan.replays.end() - 1;
    } else {
      replay = plan.replays.begin() + int64_t(plan.oldest++ % most_replays);
      replay->addresses.clear();  // of no use if recording fails
      replay->graph.recapture(recorder_, work);
    }
    replay->addresses.assign(buffers.begin(), buffers.end());
  }
  replay->graph.launch(device_.stream());
}

void GpuEngine::launch_all(const Plan& plan, std::span<const cuda::Address> buffers,
                           const cuda::Stream& stream) {
  if (plan.cells)
    cuda::fill(plan.cells.address(), std::byte(0), plan.reporting.size() * error_cell_bytes,
               stream);
  const auto& launches = plan.program.launches;
  for (size_t i = 0, cell = 0; i < launches.size(); ++i) {
    const compiler::LoweredKernel& kernel = launches[i].kernel;
    if (launches[i].kind == compiler::Kernel::Kind::Sort) {
      sort(launches[i], plan.kernels[i], buffers);
      continue;
    }
    const cuda::Address error_cell =
        kernel.reports.empty() ? 0 : plan.cells.address() + cell++ * error_cell_bytes;
    launch(kernel, plan.kernels[i], buffers, error_cell, stream);
  }
}

void GpuEngine::launch(const compiler::LoweredKernel& kernel, const cuda::Function& function,
                       std::span<const cuda::Address> buffers, cuda::Address error_cell,
                       const cuda::Stream& stream) {
  if (kernel.range <= 0) return;
  cuda::Arguments arguments;
  for (int32_t b : kernel.buffers) arguments.add(buffers[size_t(b)]);
  for (int64_t i : kernel.integers) arguments.add(i);
  arguments.add(error_cell);
  cuda::DeviceBuffer table;  // of arguments, if they are too many; the stream still reads it later
  if (compiler::arguments_in_memory(kernel.function)) {
    table = device_.allocate(arguments.bytes().size());
    device_.copy_to_device(table.address(), arguments.bytes());
    arguments = {};
    arguments.add(table.address());
  }
  cuda::LaunchShape shape;
  shape.grid[0] = kernel.range;
  shape.block[0] = kernel.function.threads;
  shape.shared_bytes = kernel.scratch_bytes;
  function.launch(stream, shape, arguments.bytes());
}

// Merges until one run is left, to and fro between the result and memory of its own; see
// compiler/cuda/sort.h.
void GpuEngine::sort(const compiler::Program::Launch& launch, const cuda::Function& function,
                     std::span<const cuda::Address> buffers) {
  const int64_t total = launch.rows * launch.columns;
  if (total == 0) return;
  const cuda::Address elements = buffers[size_t(launch.kernel.buffers[0])];
  const cuda::Address result = buffers[size_t(launch.kernel.buffers[1])];
  int64_t passes = 1;
  while ((int64_t(1) << passes) < launch.columns) ++passes;
  const cuda::DeviceBuffer other = device_.allocate(size_t(passes > 1 ? total : 1) * 8);
  cuda::LaunchShape shape;
  shape.block[0] = compiler::cuda_sort_threads;
  shape.grid[0] = (total + shape.block[0] - 1) / shape.block[0];
  cuda::Address from{};
  for (int64_t pass = 0; pass < passes; ++pass) {
    const cuda::Address to = (passes - pass) % 2 == 1 ? result : other.address();
    cuda::Arguments arguments;
    arguments.add(elements)
        .add(from)
        .add(to)
        .add(launch.columns)
        .add(int64_t(1) << pass)
        .add(total);
    function.launch(device_.stream(), shape, arguments.bytes());
    from = to;
  }
}

namespace {

struct GpuEngines {
  std::mutex mutex;  // guards what follows
  std::unique_ptr<cuda::Devices> devices;
  std::map<int, std::unique_ptr<GpuEngine>> engines;
};

GpuEngines& all_engines() {
  static auto* engines = new GpuEngines;  // outlive every static Tensor
  return *engines;
}

}  // namespace

GpuEngine& gpu_engine(int index) {
  GpuEngines& all = all_engines();
  std::lock_guard lock(all.mutex);
  if (!all.devices) all.devices = std::make_unique<cuda::Devices>();
  cuda::Device& device = all.devices->at(index);
  std::unique_ptr<GpuEngine>& engine = all.engines[index];
  if (!engine) engine = std::make_unique<GpuEngine>(device);
  return *engine;
}

std::vector<GpuEngine*> gpu_engines() {
  GpuEngines& all = all_engines();
  std::lock_guard lock(all.mutex);
  std::vector<GpuEngine*> out;
  for (const auto& [index, engine] : all.engines)
    if (engine) out.push_back(engine.get());
  return out;
}

}  // namespace cermet::runtime
