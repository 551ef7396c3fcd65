// Runs a grid: block after block, each block's warps in turn until all have ended.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "ptxsim/barrier.h"
#include "ptxsim/global_shadow.h"
#include "ptxsim/lanes.h"
#include "ptxsim/machine.h"
#include "ptxsim/shared_shadow.h"

namespace cermet::ptxsim {
namespace {

struct DeviceLimits {
  int sm;
  std::uint32_t shared_bytes;  // of a block, after opting in
};
// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
constexpr DeviceLimits kLimits[] = {{75, 65536},  {80, 166912}, {86, 101376},  {87, 166912},
                                    {89, 101376}, {90, 232448}, {100, 232448}, {120, 101376}};

std::uint32_t shared_limit(int compute_capability) {
  std::uint32_t result = 49152;
  for (const DeviceLimits& limits : kLimits) {
    if (compute_capability >= limits.sm) result = limits.shared_bytes;
  }
  return result;
}

class Runner {
 public:
  explicit Runner(Launch& launch) : launch_(launch), random_(launch.options.seed) {}

  void run() {
    check_shape();
    load_constants();
    const Dim3 grid = launch_.shape.grid;
    const std::uint64_t blocks = grid.count();
    const bool races = launch_.options.checks.shared_races,
               initialised = launch_.options.checks.uninitialised;
    if (races || initialised)
      launch_.shared_shadow = std::make_unique<SharedShadow>(initialised, races);
    if (launch_.options.checks.global_races)
      launch_.global_shadow = std::make_unique<GlobalShadow>(blocks);
    prepare_block();
    // A stride prime to the number of blocks visits each once.
    std::uint64_t stride = 1, first = 0;
    if (launch_.options.seed != 0) {
      first = random_() % blocks;
      do stride = 1 + random_() % blocks;
      while (std::gcd(stride, blocks) != 1);
    }
    for (std::uint64_t i = 0, at = first; i < blocks; ++i, at = (at + stride) % blocks) {
      block_.number = at;
      block_.index = {static_cast<std::uint32_t>(at % grid.x),
                      static_cast<std::uint32_t>(at / grid.x % grid.y),
                      static_cast<std::uint32_t>(at / grid.x / grid.y)};
      begin_block();
      run_block();
    }
  }

 private:
  void refuse(const std::string& why) {
    launch_.violation_at(Fault::LaunchBounds, 0, {0, 0, 0}, {0, 0, 0}, why);
  }

  void check_shape() {
    const Dim3 grid = launch_.shape.grid, block = launch_.shape.block;
    const Kernel& kernel = *launch_.kernel;
    const int cc = launch_.options.compute_capability;
    const std::string text = fmt::format("grid ({},{},{}), block ({},{},{})", grid.x, grid.y,
                                         grid.z, block.x, block.y, block.z);
    if (launch_.module->target_sm() > cc)
      refuse(fmt::format("compiled for {}, the device has {}", launch_.module->target(), cc));
    const std::string& target = launch_.module->target();
    if (target.back() == 'a' && launch_.module->target_sm() != cc)
      refuse(fmt::format("compiled for {} only, the device has {}", target, cc));
    if (grid.count() == 0 || block.count() == 0) refuse("empty: " + text);
    if (block.x > 1024 || block.y > 1024 || block.z > 64 || block.count() > 1024)
      refuse("too many threads: " + text);
    if (grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) refuse("too many blocks: " + text);
    const Dim3 required = kernel.required_threads, most = kernel.max_threads;
    if (required.x != 0 &&
        (block.x != required.x || block.y != required.y || block.z != required.z)) {
      refuse(fmt::format("the kernel requires blocks of ({},{},{}): {}", required.x, required.y,
                         required.z, text));
    }
    if (most.x != 0 && block.count() > most.count()) {
      refuse(fmt::format("the kernel allows {} threads: {}", most.count(), text));
    }
    const std::uint64_t shared =
        std::uint64_t{kernel.static_shared_bytes} + launch_.shape.dynamic_shared_bytes;
    if (shared > shared_limit(cc))
      refuse(fmt::format("{} bytes of shared memory, a block of sm_{} has {}", shared, cc,
                         shared_limit(cc)));
  }

  // The constants with the addresses of variables filled in.
  void load_constants() {
    launch_.constants = launch_.program->constants;
    for (const Relocation& relocation : launch_.program->relocations) {
      std::uint64_t value = static_cast<std::uint64_t>(relocation.offset);
      if (!relocation.variable.empty()) {
        const Variable* variable = launch_.module->variable(relocation.variable);
        if (variable == nullptr || variable->address == 0) {
          throw Error(fmt::format("launch: kernel '{}' uses variable '{}', which has no address",
                                  launch_.kernel->name, relocation.variable));
        }
        value += variable->address;
      }
      const auto bytes = static_cast<std::size_t>(launch_.program->constants[relocation.constant]);
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        std::memcpy(&launch_.constants[relocation.constant + lane * bytes], &value, bytes);
      }
    }
  }

  // What all blocks share: the number of warps and which threads their lanes are.
  void prepare_block() {
    const Dim3 shape = launch_.shape.block;
    block_.launch = &launch_;
    block_.threads = static_cast<std::uint32_t>(shape.count());
    block_.shared.resize(launch_.kernel->static_shared_bytes + launch_.shape.dynamic_shared_bytes);
    block_.warps.resize((block_.threads + kLanes - 1) / kLanes);
    for (std::size_t w = 0; w < block_.warps.size(); ++w) {
      Warp& warp = block_.warps[w];
      warp.launch = &launch_;
      warp.block = &block_;
      warp.index = static_cast<int>(w);
      warp.registers.assign(launch_.program->register_bytes + 64, std::byte{0});
      warp.local.assign(std::size_t{launch_.program->local_bytes} * kLanes, std::byte{0xff});
      const auto start = reinterpret_cast<std::uintptr_t>(warp.registers.data());
      warp.bases[0] = warp.registers.data() + (64 - start % 64) % 64;
      warp.bases[1] = launch_.constants.data();
      for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
        const std::uint32_t thread = static_cast<std::uint32_t>(w) * kLanes + lane;
        if (thread >= block_.threads) continue;
        warp.present |= lane_bit(static_cast<int>(lane));
        warp.tid_x[lane] = thread % shape.x;
        warp.tid_y[lane] = thread / shape.x % shape.y;
        warp.tid_z[lane] = thread / shape.x / shape.y;
      }
    }
  }

  void begin_block() {
    std::fill(block_.shared.begin(), block_.shared.end(), std::byte{0xff});  // NaN
    block_.barriers = {};
    block_.mbarriers.clear();
    block_.thread_exited = false;
    for (Warp& warp : block_.warps) {
      warp.pc = launch_.program->entry;
      warp.active = warp.alive = warp.present;
      warp.switch_pc = UINT32_MAX;
      warp.waiting_count = 0;
      warp.any_blocked = warp.last_chance = false;
      warp.state = WarpState::Running;
      warp.copies.clear();
      warp.commits = {};
    }
    if (launch_.shared_shadow != nullptr)
      launch_.shared_shadow->begin_block(block_.warps.size(), block_.shared.size());
    if (launch_.global_shadow != nullptr)
      launch_.global_shadow->begin_block(block_.number, block_.warps.size());
  }

  void run_block() {
    constexpr int kPatience = 64;  // rounds in which warps only wait for each other
    std::vector<std::size_t> order(block_.warps.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (int idle = 0;;) {
      if (launch_.options.seed != 0) std::shuffle(order.begin(), order.end(), random_);
      bool ran = false, yielded = false;
      const std::uint64_t progress = block_.progress;
      for (const std::size_t w : order) {
        Warp& warp = block_.warps[w];
        if (warp.state == WarpState::Done || warp.state == WarpState::AtBarrier) continue;
        run_warp(warp);
        (warp.state == WarpState::Yielded ? yielded : ran) = true;
      }
      if (!ran && !yielded) break;
      idle = ran || block_.progress != progress ? 0 : idle + 1;
      if (idle > kPatience) report_stuck(block_);
    }
    for (const Warp& warp : block_.warps) {
      if (warp.state != WarpState::Done) report_stuck(block_);
    }
  }

  Launch& launch_;
  Block block_;
  std::mt19937_64 random_;
};

// The counts of instructions, summed by opcode.
void sum_counts(Launch& launch) {
  Counters& counters = launch.report.counters;
  for (std::size_t pc = 0; pc < launch.program->code.size(); ++pc) {
    if (launch.warp_counts[pc] == 0 || launch.program->code[pc].opcode == 0) continue;
    counters.instructions[launch.program->opcodes[launch.program->code[pc].opcode]] +=
        launch.warp_counts[pc];
    counters.warp_instructions += launch.warp_counts[pc];
    counters.thread_instructions += launch.thread_counts[pc];
  }
}

}  // namespace

Report launch(const Module& module, const Kernel& kernel, const LaunchShape& shape,
              std::span<const std::byte> parameters, Memory& memory, const Options& options) {
  if (parameters.size() != kernel.parameter_bytes) {
    throw Error(fmt::format("launch: kernel '{}' has {} bytes of parameters, {} were given",
                            kernel.name, kernel.parameter_bytes, parameters.size()));
  }
  Launch state;
  state.module = &module;
  state.kernel = &kernel;
  state.program = kernel.program.get();
  state.shape = shape;
  state.parameters = parameters;
  state.memory = &memory;
  state.options = options;
  state.budget = options.instruction_budget;
  state.warp_counts.resize(kernel.program->code.size());
  state.thread_counts.resize(kernel.program->code.size());
  state.cached_allocation.resize(kernel.program->code.size());
  try {
    Runner(state).run();
  } catch (const Abort&) {
    // The reason is in the report.
  }
  sum_counts(state);
  return std::move(state.report);
}

}  // namespace cermet::ptxsim
