#include "runtime/gpu_engine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <map>

#include "cermet/error.h"
#include "compiler/cuda/nvrtc.h"
#include "compiler/cuda/print.h"
#include "compiler/cuda/sort.h"
#include "compiler/loops_text.h"
#include "runtime/deferred_copy.h"
#include "runtime/devices.h"
#include "runtime/storage.h"

namespace cermet::runtime {
namespace {

using compiler::KernelBuffer;

// A process that never stops meeting new programs forgets old ones.
constexpr size_t plan_limit = 4096, kernel_limit = 16384;

// Of the widest access of a kernel.
constexpr size_t kernel_alignment = 16;

// Runs whose outcome is not known. A GPU that has a few is never idle for want of another.
constexpr size_t most_open = 4;

// By slot; null for a scalar.
std::vector<std::shared_ptr<const ir::Storage>> storages_of(std::span<const ir::Value> inputs) {
  std::vector<std::shared_ptr<const ir::Storage>> out;
  out.reserve(inputs.size());
  for (const ir::Value& input : inputs)
    out.push_back(input->op == ir::Op::Constant ? nullptr
                  : input->op == ir::Op::Data   ? resolved(input->as<ir::DataAttr>().storage)
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

// What kernels are made for. They count on what every GPU of CUDA has had; of shared memory, on
// what the card says.
compiler::Target target_of(const cuda::Device& device) {
  const cuda::CardFacts& facts = device.facts();
  constexpr int64_t threads = 1024, blocks = INT32_MAX, shared = 48 << 10;
  if (facts.threads_per_block < threads || facts.grid[0] < blocks ||
      facts.shared_bytes_per_block < shared)
    throw DeviceError(fmt::format(
        "cuda:{}: {} has {} threads and {} bytes of shared memory for a block and {} blocks for a "
        "grid; kernels need {}, {} and {}",
        device.index(), facts.name, facts.threads_per_block, facts.shared_bytes_per_block,
        facts.grid[0], threads, shared, blocks));
  compiler::Target target = compiler::cuda_target(facts.compute_capability);
  target.shared_bytes = facts.shared_bytes_per_block;
  return target;
}

}  // namespace

GpuEngine::GpuEngine(cuda::Device& device, const EngineOptions& options)
    : device_(device),
      target_(target_of(device)),
      ptx_only_(cuda::switched_on("CERMET_CUDA_PTX")),
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

std::shared_ptr<const GpuPlan> GpuEngine::plan_for(const Request& request) {
  {
    std::lock_guard lock(mutex_);
    if (const auto at = plans_.find(request.signature); at != plans_.end()) {
      log_.count(&EngineStats::plan_hits);
      return at->second;
    }
    log_.count(&EngineStats::plan_misses);
  }
  compiler::Target target = target_;
  target.numerics = request.numerics;
  target.memory_budget = request.memory_budget;
  compiler::Program program = compiler::compile(make_graph(request), target);
  std::vector<cuda::Function> kernels = kernels_for(program);
  auto plan =
      std::make_shared<const GpuPlan>(std::move(program), std::move(kernels), *device_.card());
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
      ours.emplace(texts[i], compile(texts[i], source).function("k0", texts[i]));
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
      ours.emplace(missing_texts[k], module.function(fmt::format("k{}", k), names[k]));
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

// A storage's elements for work that the stream is given next. Kernels count on the alignment of
// our own memory, so elements that lie elsewhere in somebody else's are copied.
cuda::DeviceBuffer GpuEngine::ready(const DeviceStorage& storage, size_t bytes) {
  cuda::DeviceBuffer buffer = storage.buffer();
  const cuda::Stream& stream = device_.stream();
  if (!storage.borrowed()) {
    buffer.read_by(stream);
    return buffer;
  }
  buffer.written_by(stream);
  if (buffer.address() % kernel_alignment == 0) return buffer;
  cuda::DeviceBuffer copy = device_.allocate(bytes);
  cuda::copy(copy.address(), *device_.card(), buffer.address(), *device_.card(), bytes, stream);
  return copy;
}

GpuEngine::Memory GpuEngine::memory_for(
    const compiler::Program& program, std::span<const ir::Value> nodes,
    std::span<const std::shared_ptr<const ir::Storage>> inputs) {
  Memory memory;
  memory.addresses.reserve(program.buffers.size());
  cuda::Address scalars{};  // of all inputs, those without a scalar included
  const auto copy_scalars = [&] {
    std::vector<uint64_t> bits(nodes.size());
    for (size_t i = 0; i < bits.size(); ++i)
      if (!inputs[i]) bits[i] = nodes[i]->as<ir::ConstantAttr>().bits;
    memory.held.push_back(device_.allocate(bits.size() * sizeof(bits[0])));
    device_.copy_to_device(memory.held.back().address(), std::as_bytes(std::span(bits)));
    return memory.held.back().address();
  };
  const auto parameter = [&](size_t slot) -> cuda::Address {
    if (!inputs[slot]) {
      if (!scalars) scalars = copy_scalars();
      return scalars + sizeof(uint64_t) * slot;
    }
    const ir::Node& node = *nodes[slot];
    const auto* ours = dynamic_cast<const DeviceStorage*>(inputs[slot].get());
    const size_t bytes = size_t(node.numel()) * size_of(node.dtype);
    memory.held.push_back(ours ? ready(*ours, bytes) : upload(*inputs[slot], bytes)->buffer());
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
        if (size_t(buffer.slot) >= memory.results.size())
          memory.results.resize(size_t(buffer.slot) + 1);
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
    std::span<const ir::Value> roots, compiler::Numerics numerics, int64_t memory_budget) {
  const Request request = make_request(roots, numerics, memory_budget);
  const std::vector<std::shared_ptr<const ir::Storage>> inputs = storages_of(request.inputs);
  for (size_t i = 0; i < inputs.size(); ++i)  // another thread found that it failed: what now?
    if (!inputs[i] && request.inputs[i]->op != ir::Op::Constant)
      return realize(roots, numerics, memory_budget);
  auto out = run(request, request.inputs, inputs);
  // What is computed from constants alone belongs to no device: another may need it as well.
  for (size_t i = 0; i < roots.size(); ++i)
    if (roots[i]->place >= 0 && !roots[i]->reads_borrowed && roots[i]->op != ir::Op::Data)
      roots[i]->set_value(out[i]);
  return out;
}

std::vector<std::shared_ptr<const DeviceStorage>> GpuEngine::run(const Request& request,
                                                                 std::span<const ir::Value> nodes) {
  return run(request, nodes, storages_of(nodes));
}

std::vector<std::shared_ptr<const DeviceStorage>> GpuEngine::run(
    const Request& request, std::span<const ir::Value> nodes,
    std::span<const std::shared_ptr<const ir::Storage>> inputs) {
  refuse_capture();
  const auto plan = plan_for(request);
  std::vector<std::shared_ptr<Outcome>> earlier = open_outcomes(inputs);

  const cuda::Card::Current current(*device_.card());
  Memory memory = memory_for(plan->program(), nodes, inputs);
  if (plan->sort_bytes() > 0) {
    memory.held.push_back(device_.allocate(plan->sort_bytes()));
    memory.addresses.push_back(memory.held.back().address());
  }
  std::unique_ptr<ReportSlot> slot = plan->run(device_, memory.addresses, recorder_, *slots_);
  log_.add_realize(int64_t(plan->program().launches.size()));

  std::shared_ptr<Outcome> outcome;
  std::vector<bool> can_fail(request.roots.size());
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
  for (size_t i = 0; i < request.roots.size(); ++i)
    out.push_back(
        std::make_shared<const DeviceStorage>(memory.results[i], can_fail[i] ? outcome : nullptr));
  return out;
}

// Memory for a run comes from outside of a graph of the caller's, which could be launched when the
// memory is somebody else's.
void GpuEngine::refuse_capture() const {
  const cuda::Stream& stream = device_.stream();
  if (stream.borrowed() && stream.can_capture() && stream.capturing())
    throw Error(fmt::format(
        "realize: the current stream of cuda:{} is being captured, which cannot be part of it",
        device_.index()));
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

void use_gpu_context(int index, CUctx_st* context) {
  GpuEngines& all = all_engines();
  std::lock_guard lock(all.mutex);
  if (!all.devices) all.devices = std::make_unique<cuda::Devices>();
  all.devices->use_context(index, context);
}

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
