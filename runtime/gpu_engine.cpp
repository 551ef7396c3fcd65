#include "runtime/gpu_engine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <map>

#include "cermet/error.h"
#include "compiler/cuda/nvrtc.h"
#include "compiler/cuda/print.h"
#include "compiler/cuda/sort.h"
#include "compiler/loops_text.h"
#include "runtime/cuda/graph.h"
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

}  // namespace

struct GpuEngine::Plan {
  compiler::Program program;
  std::vector<cuda::Function> kernels;  // by launch
  std::vector<size_t> reporting;        // launches that can report, each with an error cell
  bool replayable = false;              // launches of kernels with their arguments, nothing else

  struct Replay {
    std::vector<cuda::Address> addresses;  // of the buffers, and of the error cells
    cuda::Graph graph;
  };
  mutable std::mutex mutex;  // guards what follows
  mutable int64_t runs = 0;
  mutable std::vector<Replay> replays;
  mutable size_t oldest = 0;  // of replays
};

GpuEngine::GpuEngine(cuda::Device& device, const EngineOptions& options)
    : device_(device),
      target_(compiler::cuda_target(device.facts().compute_capability)),
      ptx_only_(std::getenv("CERMET_CUDA_PTX") != nullptr),
      disk_cache_(options.cache_directory, options.cache_bytes),
      recorder_(device.card()) {}

GpuEngine::~GpuEngine() = default;

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

std::vector<std::shared_ptr<const DeviceStorage>> GpuEngine::realize(
    std::span<const ir::Value> roots, compiler::Numerics numerics) {
  const Request request = make_request(roots, numerics);
  const auto plan = plan_for(request);
  const compiler::Program& program = plan->program;

  std::vector<cuda::DeviceBuffer> results(roots.size()), held;
  std::vector<uint64_t> scalars(request.inputs.size());
  for (size_t i = 0; i < request.inputs.size(); ++i)
    if (request.inputs[i]->op == ir::Op::Constant)
      scalars[i] = request.inputs[i]->as<ir::ConstantAttr>().bits;
  const auto with_scalars = [&] {  // one copy for all of them
    static_assert(sizeof(scalars[0]) == 8);
    held.push_back(device_.allocate(scalars.size() * 8));
    device_.copy_to_device(held.back().address(), std::as_bytes(std::span(scalars)));
    return held.back().address();
  };
  cuda::Address first_scalar{};
  bool have_scalars = false;
  const auto parameter = [&](int64_t slot) -> cuda::Address {
    const ir::Node& input = *request.inputs[size_t(slot)];
    if (input.op == ir::Op::Constant) {
      if (!have_scalars) first_scalar = with_scalars(), have_scalars = true;
      return first_scalar + 8 * size_t(slot);
    }
    const auto storage =
        input.op == ir::Op::Data ? input.as<ir::DataAttr>().storage : input.value();
    if (const auto* ours = dynamic_cast<const DeviceStorage*>(storage.get()))
      held.push_back(ours->buffer());
    else
      held.push_back(upload(*storage, size_t(input.numel()) * size_of(input.dtype))->buffer());
    return held.back().address();
  };

  if (program.arena_bytes > 0) held.push_back(device_.allocate(size_t(program.arena_bytes)));
  const cuda::Address arena = program.arena_bytes > 0 ? held.back().address() : cuda::Address{};
  std::vector<cuda::Address> memory;
  for (const compiler::Program::Buffer& buffer : program.buffers) {
    switch (buffer.kind) {
      case KernelBuffer::Kind::Parameter: memory.push_back(parameter(buffer.slot)); break;
      case KernelBuffer::Kind::Temporary: memory.push_back(arena + size_t(buffer.offset)); break;
      case KernelBuffer::Kind::Result: {
        cuda::DeviceBuffer& result = results[size_t(buffer.slot)];
        result = device_.allocate(size_t(buffer.elements) * size_of(buffer.dtype));
        memory.push_back(result.address());
        break;
      }
    }
  }
  const size_t cells = std::max<size_t>(1, plan->reporting.size());
  const cuda::DeviceBuffer errors = device_.allocate(cells * error_cell_bytes);
  if (!plan->reporting.empty())
    cuda::fill(errors.address(), std::byte(0), cells * error_cell_bytes, device_.stream());
  run(*plan, memory, errors.address());
  check_reports(*plan, errors.address());
  log_.add_realize(int64_t(program.launches.size()));

  std::vector<std::shared_ptr<const DeviceStorage>> out;
  for (size_t i = 0; i < roots.size(); ++i) {
    out.push_back(std::make_shared<const DeviceStorage>(results[i]));
    // What is computed from constants alone belongs to no device: another may need it as well.
    if (roots[i]->place >= 0 && roots[i]->op != ir::Op::Data) roots[i]->set_value(out.back());
  }
  return out;
}

void GpuEngine::run(const Plan& plan, std::span<const cuda::Address> buffers,
                    cuda::Address error_cells) {
  std::unique_lock lock(plan.mutex);
  if (!plan.replayable || plan.runs++ == 0) {
    lock.unlock();
    return launch_all(plan, buffers, error_cells, device_.stream());
  }
  std::vector<cuda::Address> addresses(buffers.begin(), buffers.end());
  addresses.push_back(error_cells);
  auto replay = std::ranges::find(plan.replays, addresses, &Plan::Replay::addresses);
  if (replay == plan.replays.end()) {
    std::lock_guard recording(recording_);
    const auto work = [&] { launch_all(plan, buffers, error_cells, recorder_); };
    if (plan.replays.size() < most_replays) {
      plan.replays.push_back({std::move(addresses), cuda::Graph::capture(recorder_, work)});
      replay = plan.replays.end() - 1;
    } else {
      replay = plan.replays.begin() + int64_t(plan.oldest++ % most_replays);
      replay->addresses.clear();  // of no use if recording fails
      replay->graph.recapture(recorder_, work);
      replay->addresses = std::move(addresses);
    }
  }
  replay->graph.launch(device_.stream());
}

void GpuEngine::launch_all(const Plan& plan, std::span<const cuda::Address> buffers,
                           cuda::Address error_cells, const cuda::Stream& stream) {
  const auto& launches = plan.program.launches;
  for (size_t i = 0, cell = 0; i < launches.size(); ++i) {
    const compiler::LoweredKernel& kernel = launches[i].kernel;
    if (launches[i].kind == compiler::Kernel::Kind::Sort) {
      sort(launches[i], plan.kernels[i], buffers);
      continue;
    }
    const size_t mine = kernel.reports.empty() ? 0 : cell++;
    launch(kernel, plan.kernels[i], buffers, error_cells + mine * error_cell_bytes, stream);
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

void GpuEngine::check_reports(const Plan& plan, cuda::Address error_cells) {
  if (plan.reporting.empty()) return;
  std::vector<std::array<int64_t, 2>> cells(plan.reporting.size());
  static_assert(sizeof(cells[0]) == error_cell_bytes);
  device_.copy_to_host(std::as_writable_bytes(std::span(cells)), error_cells);
  for (size_t i = 0; i < cells.size(); ++i) {
    const auto [code, value] = cells[i];
    if (code == 0) continue;
    const auto& reports = plan.program.launches[plan.reporting[i]].kernel.reports;
    throw Error(fmt::format(fmt::runtime(reports.at(size_t(code) - 1)), value));
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
