#include "runtime/engine.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>

#include "cermet/error.h"
#include "compiler/codegen.h"
#include "compiler/kernel_helpers.h"
#include "compiler/llvm_module.h"
#include "compiler/loops_text.h"
#include "ir/check.h"
#include "runtime/host_cpu.h"
#include "runtime/sort.h"

namespace cermet::runtime {
namespace {

// What one version of the code generator makes of a kernel is not what another makes of it.
constexpr std::string_view codegen_version = "1";

// A process that never stops meeting new programs forgets old ones.
constexpr size_t plan_limit = 4096, kernel_limit = 16384;
constexpr size_t signature_limit = size_t(256) << 20;  // bytes: unrolled loops have long ones

// The first line in which two texts differ: what made a kernel of a known name a new one.
std::string first_difference(std::string_view before, std::string_view now) {
  const auto line = [](std::string_view& rest) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view out = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return out;
  };
  while (!before.empty() || !now.empty()) {
    const std::string_view a = line(before), b = line(now);
    if (a != b) return fmt::format("was `{}`, is `{}`", a, b);
  }
  return "another target";
}

}  // namespace

struct Engine::Kernel {
  std::shared_ptr<const Code> code;
  compiler::KernelFunction entry = nullptr;
};

struct Engine::Plan {
  compiler::Program program;
  std::vector<std::shared_ptr<const Kernel>> kernels;  // by launch; null for Sort
};

Engine::Engine(EngineOptions options)
    : options_(std::move(options)),
      allocator_(options_.allocator),
      threads_(options_.threads > 0 ? options_.threads : ThreadPool::default_threads()),
      disk_cache_(options_.cache_directory, options_.cache_bytes),
      dump_stages_(dump_stages()) {}

Engine::~Engine() = default;

// The host's facts come from LLVM, once per machine: they are kept on disk under what the processor
// says of itself, so that a process whose kernels are cached never opens LLVM.
const compiler::Target& Engine::target() {
  {
    std::lock_guard lock(mutex_);
    if (target_) return *target_;
  }
  compiler::Target found;
  if (options_.target == "host") {
    const std::string key = fmt::format("host {} {}", codegen_version, host_cpu_identity());
    const auto cached = disk_cache_.get(bytes_of(key));
    const auto parsed =
        cached ? parse_target({reinterpret_cast<const char*>(cached->data()), cached->size()})
               : std::nullopt;
    found = parsed ? *parsed : compiler::target("host");
    if (!parsed) disk_cache_.put(bytes_of(key), bytes_of(print_target(found)));
  } else {
    found = compiler::target(options_.target);
  }
  if (options_.tiny_caches) found.l1_bytes = 4096, found.l2_bytes = found.l3_bytes = 0;
  std::lock_guard lock(mutex_);
  if (!target_) target_ = std::make_unique<compiler::Target>(std::move(found));
  return *target_;
}

std::shared_ptr<const Engine::Kernel> Engine::kernel_for(
    const compiler::loops::Function& function) {
  const std::string text = compiler::loops::print(function);
  const std::string key = fmt::format("{}\n{}\n{}", codegen_version, print_target(target()), text);
  {
    std::lock_guard lock(mutex_);
    if (const auto at = kernels_.find(key); at != kernels_.end()) {
      log_.count(&EngineStats::kernel_hits);
      return at->second;
    }
  }
  CodeBlob blob;
  bool from_disk = false;
  if (const auto cached = disk_cache_.get(bytes_of(key))) {
    try {
      blob = parse_blob(*cached);
      from_disk = true;
    } catch (const DeviceError&) {
      // A damaged entry is compiled again, and overwritten below.
    }
  }
  CompileRecord record{function.name, {}, 0};
  if (!from_disk) {
    const auto start = std::chrono::steady_clock::now();
    blob = relocate_elf(compiler::llvm_backend().to_object(function, target()));
    record.milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    disk_cache_.put(bytes_of(key), serialize_blob(blob));
  }
  auto kernel = std::make_shared<Kernel>();
  kernel->code = arena_.place(blob);
  // The name is no part of the text: code from the disk may have been made under another one.
  CERMET_CHECK(blob.entries.size() == 1, "the code of kernel {} has {} functions", function.name,
               blob.entries.size());
  kernel->entry =
      reinterpret_cast<compiler::KernelFunction>(kernel->code->entry(blob.entries[0].name));

  std::lock_guard lock(mutex_);
  if (kernels_.size() >= kernel_limit) kernels_.clear();
  const auto [at, fresh] = kernels_.emplace(key, kernel);
  if (from_disk) {
    log_.count(&EngineStats::disk_hits);
  } else {
    if (last_text_.size() >= kernel_limit) last_text_.clear();
    std::string& before = last_text_[function.name];
    record.reason = before.empty() ? "new kernel" : first_difference(before, text);
    before = text;
    log_.add_compile(std::move(record));
  }
  return at->second;  // another thread's, if it was first
}

std::shared_ptr<const Engine::Plan> Engine::plan_for(const Request& request) {
  {
    std::lock_guard lock(mutex_);
    if (const auto at = plans_.find(request.signature); at != plans_.end()) {
      log_.count(&EngineStats::plan_hits);
      return at->second;
    }
    log_.count(&EngineStats::plan_misses);
  }
  auto plan = std::make_shared<Plan>();
  const ir::Graph graph = make_graph(request);
  compiler::Target target = this->target();
  target.numerics = request.numerics;
  target.memory_budget = request.memory_budget;
  if (!dump_stages_.empty()) dump(dump_stages_, graph, target);
  plan->program = compiler::compile(graph, target);
  for (const compiler::Program::Launch& launch : plan->program.launches)
    plan->kernels.push_back(launch.kind == compiler::Kernel::Kind::Fused
                                ? kernel_for(launch.kernel.function)
                                : nullptr);
  std::lock_guard lock(mutex_);
  signature_bytes_ += request.signature.size();
  if (plans_.size() >= plan_limit || signature_bytes_ > signature_limit) {
    plans_.clear();
    signature_bytes_ = request.signature.size();
  }
  return plans_.emplace(request.signature, std::move(plan)).first->second;
}

std::vector<std::shared_ptr<const BufferStorage>> Engine::realize(std::span<const ir::Value> roots,
                                                                  compiler::Numerics numerics,
                                                                  int64_t memory_budget) {
  const Request request = make_request(roots, numerics, memory_budget);
  const auto plan = plan_for(request);
  const compiler::Program& program = plan->program;

  std::vector<Buffer> results(roots.size());
  std::vector<uint64_t> scalars(request.inputs.size());
  std::vector<Buffer> held;  // inputs stay where they are while kernels run
  const Buffer arena =
      program.arena_bytes > 0 ? allocator_.allocate(size_t(program.arena_bytes)) : Buffer();
  std::vector<void*> memory;
  for (const compiler::Program::Buffer& buffer : program.buffers) {
    switch (buffer.kind) {
      case compiler::KernelBuffer::Kind::Parameter: {
        const ir::Node& input = *request.inputs[size_t(buffer.slot)];
        if (input.op == ir::Op::Constant) {
          scalars[size_t(buffer.slot)] = input.as<ir::ConstantAttr>().bits;
          memory.push_back(&scalars[size_t(buffer.slot)]);
          break;
        }
        held.push_back(buffer_of(input.op == ir::Op::Data ? *input.as<ir::DataAttr>().storage
                                                          : *input.value()));
        memory.push_back(held.back().data());
        break;
      }
      case compiler::KernelBuffer::Kind::Temporary:
        memory.push_back(static_cast<std::byte*>(arena.data()) + buffer.offset);
        break;
      case compiler::KernelBuffer::Kind::Result: {
        const Shape shape = {buffer.elements};
        results[size_t(buffer.slot)] = allocator_.allocate(buffer.dtype, shape);
        memory.push_back(results[size_t(buffer.slot)].data());
        break;
      }
    }
  }
  run(*plan, memory);

  std::vector<std::shared_ptr<const BufferStorage>> out;
  for (size_t i = 0; i < roots.size(); ++i) {
    out.push_back(std::make_shared<const BufferStorage>(results[i]));
    if (!roots[i]->reads_borrowed && roots[i]->op != ir::Op::Data) roots[i]->set_value(out.back());
  }
  return out;
}

void Engine::run(const Plan& plan, std::span<void* const> memory) {
  for (size_t i = 0; i < plan.program.launches.size(); ++i) launch(plan, i, memory);
  log_.add_realize(int64_t(plan.program.launches.size()));
}

void Engine::launch(const Plan& plan, size_t index, std::span<void* const> memory) {
  const compiler::Program::Launch& launch = plan.program.launches[index];
  if (launch.kind == compiler::Kernel::Kind::Sort) {
    sort_rows(launch, plan.program, memory, threads_);
    return;
  }
  const compiler::LoweredKernel& kernel = launch.kernel;
  if (kernel.range <= 0) return;
  std::vector<void*> buffers;
  for (int32_t b : kernel.buffers) buffers.push_back(memory[size_t(b)]);
  // Each task is a run of units; their number has no influence on results, so it may depend on the
  // threads.
  const int64_t most = int64_t(threads_.threads()) * 4;
  const int64_t units = std::max(kernel.grain, (kernel.range + most - 1) / most);
  const int64_t tasks = (kernel.range + units - 1) / units;
  const int64_t workers = tasks == 1 ? 1 : threads_.threads();
  const int64_t scratch_bytes = (kernel.scratch_bytes + 63) / 64 * 64;
  const Buffer scratch =
      scratch_bytes > 0 ? allocator_.allocate(size_t(scratch_bytes * workers)) : Buffer();
  int64_t error[2] = {0, 0};
  const auto body = [&](int64_t task, int worker) {
    compiler::KernelArguments arguments{buffers.data(), kernel.integers.data(), nullptr, error,
                                        compiler::kernel_helpers().data()};
    if (scratch_bytes > 0)
      arguments.scratch = static_cast<std::byte*>(scratch.data()) + scratch_bytes * worker;
    plan.kernels[index]->entry(&arguments, task * units,
                               std::min(kernel.range, (task + 1) * units));
  };
  if (tasks == 1)
    body(0, 0);
  else
    threads_.parallel_for(tasks, body);
  if (error[0] != 0) {
    const std::string& text = kernel.reports[size_t(error[0]) - 1];
    throw Error(fmt::format(fmt::runtime(text), error[1]));
  }
}

Engine& default_engine() {
  static auto* engine = new Engine;  // outlives every static Tensor
  return *engine;
}

}  // namespace cermet::runtime
