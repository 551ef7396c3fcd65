#include "runtime/engine.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "cermet/error.h"
#include "compiler/codegen.h"
#include "compiler/kernel_helpers.h"
#include "compiler/llvm_module.h"
#include "compiler/loops_key.h"
#include "compiler/loops_text.h"
#include "ir/check.h"
#include "runtime/host_cpu.h"
#include "runtime/sort.h"
#include "runtime/task_split.h"

namespace cermet::runtime {
namespace {

// What one version of the code generator makes of a kernel is not what another makes of it.
constexpr std::string_view codegen_version = "1";

// A process that never stops meeting new programs forgets old ones.
constexpr size_t plan_limit = 4096, kernel_limit = 16384;
constexpr size_t signature_limit = size_t(32) << 20;  // words: unrolled loops have long ones

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

// A kernel that is not in memory.
struct Engine::MissingKernel {
  const compiler::loops::Function* function;
  std::string key;  // of the function, in memory
  std::string text = {};
  std::shared_ptr<const Kernel> kernel = nullptr;
  bool from_disk = false;
  double milliseconds = 0;
};

// From disk, or by LLVM: as a pure function of the key, so that threads can do it side by side.
void Engine::load(MissingKernel& missing) {
  missing.text = compiler::loops::print(*missing.function);
  const std::string on_disk =
      fmt::format("{}\n{}\n{}", codegen_version, print_target(target()), missing.text);
  CodeBlob blob;
  if (const auto cached = disk_cache_.get(bytes_of(on_disk))) {
    try {
      blob = parse_blob(*cached);
      missing.from_disk = true;
    } catch (const DeviceError&) {
      // A damaged entry is compiled again, and overwritten below.
    }
  }
  if (!missing.from_disk) {
    const auto start = std::chrono::steady_clock::now();
    blob = relocate_elf(compiler::llvm_backend().to_object(*missing.function, target()));
    missing.milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    disk_cache_.put(bytes_of(on_disk), serialize_blob(blob));
  }
  auto kernel = std::make_shared<Kernel>();
  kernel->code = arena_.place(blob);
  // The name is no part of the text: code from the disk may have been made under another one.
  CERMET_CHECK(blob.entries.size() == 1, "the code of kernel {} has {} functions",
               missing.function->name, blob.entries.size());
  kernel->entry =
      reinterpret_cast<compiler::KernelFunction>(kernel->code->entry(blob.entries[0].name));
  missing.kernel = std::move(kernel);
}

// Keeps a kernel that was loaded, unless another thread was first.
std::shared_ptr<const Engine::Kernel> Engine::keep(const MissingKernel& loaded) {
  std::lock_guard lock(mutex_);
  if (kernels_.size() >= kernel_limit) kernels_.clear();
  const auto [at, fresh] = kernels_.emplace(loaded.key, loaded.kernel);
  if (loaded.from_disk) {
    log_.count(&EngineStats::disk_hits);
  } else {
    CompileRecord record{loaded.function->name, {}, loaded.milliseconds};
    if (last_text_.size() >= kernel_limit) last_text_.clear();
    std::string& before = last_text_[loaded.function->name];
    record.reason = before.empty() ? "new kernel" : first_difference(before, loaded.text);
    before = loaded.text;
    log_.add_compile(std::move(record));
  }
  return at->second;
}

size_t Engine::KeyHash::operator()(const std::string& key) const {
  return XXH3_64bits(key.data(), key.size());
}

std::vector<std::shared_ptr<const Engine::Kernel>> Engine::kernels_for(
    const compiler::Program& program) {
  std::vector<std::shared_ptr<const Kernel>> out(program.launches.size());
  std::vector<MissingKernel> missing;
  KernelMap<size_t> wanted;                         // by key: which of missing
  std::vector<std::pair<size_t, size_t>> launches;  // a launch, and which of missing it is for
  for (size_t i = 0; i < out.size(); ++i) {
    if (program.launches[i].kind != compiler::Kernel::Kind::Fused) continue;
    const compiler::loops::Function& function = program.launches[i].kernel.function;
    std::string key = compiler::loops::key_of(function);
    {
      std::lock_guard lock(mutex_);
      if (const auto at = kernels_.find(key); at != kernels_.end()) out[i] = at->second;
    }
    const auto [at, fresh] =
        out[i] ? std::pair(wanted.end(), false) : wanted.emplace(key, missing.size());
    if (!fresh) log_.count(&EngineStats::kernel_hits);
    if (fresh) missing.push_back({&function, std::move(key)});
    if (!out[i]) launches.emplace_back(i, at->second);
  }
  threads_.parallel_for(int64_t(missing.size()), [&](int64_t i, int) { load(missing[size_t(i)]); });
  std::vector<std::shared_ptr<const Kernel>> loaded;
  for (const MissingKernel& one : missing) loaded.push_back(keep(one));
  for (const auto& [launch, which] : launches) out[launch] = loaded[which];
  return out;
}

std::shared_ptr<const Engine::Plan> Engine::known_plan(const Signature& signature) const {
  const std::lock_guard lock(mutex_);
  const auto at = plans_.find(signature);
  return at == plans_.end() ? nullptr : at->second;
}

std::shared_ptr<const Engine::Plan> Engine::make_plan(const Request& request) {
  log_.count(&EngineStats::plan_misses);
  auto plan = std::make_shared<Plan>();
  const ir::Graph graph = make_graph(request);
  compiler::Target target = this->target();
  target.numerics = request.numerics;
  target.memory_budget = request.memory_budget;
  if (!dump_stages_.empty()) dump(dump_stages_, graph, target);
  plan->program = compiler::compile(
      graph, target,
      [this](int64_t count, const auto& body) {
        threads_.parallel_for(count, [&](int64_t i, int) { body(i); });
      },
      request.donated);
  plan->kernels = kernels_for(plan->program);
  // Plans of many sizes share their kernels: what these were made from is not kept for each.
  for (compiler::Program::Launch& launch : plan->program.launches) launch.kernel.function = {};
  std::lock_guard lock(mutex_);
  signature_words_ += request.signature.words.size();
  if (plans_.size() >= plan_limit || signature_words_ > signature_limit) {
    plans_.clear();
    signature_words_ = request.signature.words.size();
  }
  return plans_.emplace(request.signature, std::move(plan)).first->second;
}

std::shared_ptr<const Engine::Plan> Engine::plan_for(const Request& request, bool& known) {
  std::shared_ptr<const Plan> plan = known_plan(request.signature);
  known = plan != nullptr;
  return known ? plan : make_plan(request);
}

std::vector<std::shared_ptr<const ir::Storage>> Engine::realize(std::span<const ir::Value> roots,
                                                                compiler::Numerics numerics,
                                                                int64_t memory_budget) {
  const Request request = make_request(roots, numerics, memory_budget);
  bool known = false;
  const std::shared_ptr<const Plan> plan = plan_for(request, known);
  std::vector<std::shared_ptr<const ir::Storage>> out(roots.size());
  run(*plan, known, request.inputs, out);
  for (size_t i = 0; i < roots.size(); ++i)
    if (!roots[i]->reads_borrowed && roots[i]->op != ir::Op::Data) roots[i]->set_value(out[i]);
  return out;
}

namespace {

// The elements of an input that is no scalar. Memory that is written to when somebody else computes
// is held: pending expressions that read it are pointed at a copy then.
const void* elements_of(const ir::Node& input, SmallVector<Buffer, 4>& held,
                        SmallVector<std::shared_ptr<const ir::Storage>, 4>& values) {
  if (input.op != ir::Op::Data) {
    values.push_back(input.value());
    return values.back()->host_data();
  }
  const ir::Storage& storage = *input.as<ir::DataAttr>().storage;
  if (!storage.borrowed()) return storage.host_data();
  held.push_back(buffer_of(storage));
  return held.back().data();
}

}  // namespace

// What the launches of a run have in common.
struct Engine::Run {
  const Plan& plan;
  std::span<void* const> memory;  // by buffer of the program
  int threads;
  std::byte* scratch;  // for the workers of one launch after the other
};

void Engine::run(const Plan& plan, bool known, std::span<const ir::Value> inputs,
                 std::span<std::shared_ptr<const ir::Storage>> out, Overwriting* overwriting) {
  const compiler::Program& program = plan.program;
  SmallVector<Buffer, 4> results(out.size());
  SmallVector<uint64_t, 8> scalars(inputs.size());
  SmallVector<Buffer, 4> held;  // inputs stay where they are while kernels run
  SmallVector<std::shared_ptr<const ir::Storage>, 4> values;
  const Buffer arena =
      program.arena_bytes > 0 ? allocator_.allocate(size_t(program.arena_bytes)) : Buffer();
  SmallVector<void*, 24> memory;
  for (const compiler::Program::Buffer& buffer : program.buffers) {
    const size_t slot = size_t(buffer.slot);
    switch (buffer.kind) {
      case compiler::KernelBuffer::Kind::Parameter:
        if (const ir::Node& input = *inputs[slot]; input.op == ir::Op::Constant) {
          scalars[slot] = input.as<ir::ConstantAttr>().bits;
          memory.push_back(&scalars[slot]);
        } else {
          memory.push_back(const_cast<void*>(elements_of(input, held, values)));
        }
        break;
      case compiler::KernelBuffer::Kind::Temporary:
        memory.push_back(static_cast<std::byte*>(arena.data()) + buffer.offset);  // or see below
        break;
      case compiler::KernelBuffer::Kind::Result:
        if (overwriting && buffer.home >= 0) {
          const auto from = size_t(program.buffers[size_t(buffer.home)].slot);
          if (overwriting->allowed[from])
            results[slot] = buffer_of(*inputs[from]->as<ir::DataAttr>().storage);
        }
        if (!results[slot])
          results[slot] = allocator_.allocate(buffer.dtype, std::span(&buffer.elements, 1));
        memory.push_back(results[slot].data());
        break;
    }
  }
  for (size_t b = 0; b < memory.size(); ++b)
    if (const compiler::Program::Buffer& buffer = program.buffers[b];
        buffer.kind == compiler::KernelBuffer::Kind::Temporary && buffer.home >= 0)
      memory[b] = memory[size_t(buffer.home)];
  const int threads = threads_.threads();
  const int64_t scratch_bytes = this->scratch_bytes(plan, threads);
  const Buffer scratch = scratch_bytes > 0 ? allocator_.allocate(size_t(scratch_bytes)) : Buffer();
  const Run run{plan, memory, threads, static_cast<std::byte*>(scratch.data())};
  for (size_t i = 0; i < program.launches.size(); ++i) {
    if (overwriting && i == program.first_overwrite) overwriting->begun = true;
    launch(run, i);
  }
  const auto launches = int64_t(program.launches.size());
  known ? log_.add_known_realize(launches) : log_.add_realize(launches);
  for (size_t i = 0; i < out.size(); ++i) out[i] = make_storage(std::move(results[i]));
}

namespace {

// Each task is a run of units; their number has no influence on results, so it may depend on the
// threads.
struct Tasks {
  int64_t units, count;
  int workers;
};
Tasks tasks_of(const compiler::LoweredKernel& kernel, int threads) {
  const int most = threads * 4;
  const int64_t units = std::max(kernel.grain, (kernel.range + most - 1) / most);
  const int64_t count = (kernel.range + units - 1) / units;
  return {units, count, count == 1 ? 1 : threads};
}

int64_t padded_scratch(const compiler::LoweredKernel& kernel) {
  return (kernel.scratch_bytes + 63) / 64 * 64;
}

}  // namespace

// What the launch that needs most needs. It is there before the first one begins.
int64_t Engine::scratch_bytes(const Plan& plan, int threads) const {
  int64_t most = 0;
  for (const compiler::Program::Launch& launch : plan.program.launches) {
    const int64_t workers =
        launch.more.empty() ? tasks_of(launch.kernel, threads).workers : threads;
    most = std::max(most, padded_scratch(launch.kernel) * workers);
    for (const compiler::LoweredKernel& kernel : launch.more)
      most = std::max(most, padded_scratch(kernel) * workers);
  }
  return most;
}

void Engine::launch(const Run& run, size_t index) {
  const compiler::Program::Launch& launch = run.plan.program.launches[index];
  if (launch.kind == compiler::Kernel::Kind::Sort) {
    sort_rows(launch, run.plan.program, run.memory, threads_);
    return;
  }
  if (!launch.more.empty()) return launch_pack(run, index);
  const compiler::LoweredKernel& kernel = launch.kernel;
  if (kernel.range <= 0) return;
  SmallVector<void*, 12> buffers;
  for (int32_t b : kernel.buffers) buffers.push_back(run.memory[size_t(b)]);
  const Tasks tasks = tasks_of(kernel, run.threads);
  const int64_t units = tasks.units, scratch_bytes = padded_scratch(kernel);
  int64_t error[2] = {0, 0};
  const auto body = [&](int64_t task, int worker) {
    compiler::KernelArguments arguments{buffers.data(), kernel.integers.data(), nullptr, error,
                                        compiler::kernel_helpers().data()};
    if (scratch_bytes > 0) arguments.scratch = run.scratch + scratch_bytes * worker;
    run.plan.kernels[index]->entry(&arguments, task * units,
                                   std::min(kernel.range, (task + 1) * units));
  };
  if (tasks.count == 1)
    body(0, 0);
  else
    threads_.parallel_for(tasks.count, body, tasks.workers);
  if (error[0] != 0) {
    const std::string& text = kernel.reports[size_t(error[0]) - 1];
    throw Error(fmt::format(fmt::runtime(text), error[1]));
  }
}

// Kernels of one function, each with arguments of its own.
void Engine::launch_pack(const Run& run, size_t index) {
  const compiler::Program::Launch& launch = run.plan.program.launches[index];
  std::vector<const compiler::LoweredKernel*> kernels = {&launch.kernel};
  for (const compiler::LoweredKernel& kernel : launch.more) kernels.push_back(&kernel);
  std::vector<std::vector<void*>> buffers(kernels.size());
  int64_t scratch_bytes = 0;
  for (size_t i = 0; i < kernels.size(); ++i) {
    for (int32_t b : kernels[i]->buffers) buffers[i].push_back(run.memory[size_t(b)]);
    scratch_bytes = std::max(scratch_bytes, padded_scratch(*kernels[i]));
  }
  const TaskSplit split = split_tasks(kernels, int64_t(run.threads) * 4);
  const auto tasks = int64_t(split.ends.size());
  std::vector<std::array<int64_t, 2>> errors(kernels.size());
  const auto body = [&](int64_t task, int worker) {
    for (int32_t p = task == 0 ? 0 : split.ends[size_t(task) - 1]; p < split.ends[size_t(task)];
         ++p) {
      const TaskPart& part = split.parts[size_t(p)];
      const auto k = size_t(part.kernel);
      compiler::KernelArguments arguments{buffers[k].data(), kernels[k]->integers.data(), nullptr,
                                          errors[k].data(), compiler::kernel_helpers().data()};
      if (scratch_bytes > 0) arguments.scratch = run.scratch + scratch_bytes * worker;
      run.plan.kernels[index]->entry(&arguments, part.begin, part.end);
    }
  };
  if (tasks == 1)
    body(0, 0);
  else
    threads_.parallel_for(tasks, body, run.threads);
  for (size_t k = 0; k < kernels.size(); ++k)
    if (errors[k][0] != 0)
      throw Error(
          fmt::format(fmt::runtime(kernels[k]->reports[size_t(errors[k][0]) - 1]), errors[k][1]));
}

Engine& default_engine() {
  static auto* engine = new Engine;  // outlives every static Tensor
  return *engine;
}

}  // namespace cermet::runtime
