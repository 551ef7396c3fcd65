// The checkers themselves: each planted bug must be reported as what it is, in the kernel and at a
// line of the PTX, and the clean kernels must not be, whatever the order of blocks and warps.

#include <algorithm>
#include <cmath>

#include "ptxsim/broken_kernels.h"
#include "ptxsim/device.h"
#include "support/cuda.h"

using namespace cermet::ptxsim;
using cermet::ptxsim::test::Device;
using cermet::ptxsim::test::kBrokenKernels;

namespace {

constexpr int kBlocks = 2, kThreads = 128, kCount = kBlocks * kThreads;

std::unique_ptr<Module> module_for(int sm) {
  return Module::parse(
      cermet::compiler::compile_cuda(kBrokenKernels, {.arch = {sm}, .cubin = false}).ptx);
}

// Runs a kernel on a device of its own. `prepare` may spoil the arrays or the launch.
template <class F>
Report run(Module& module, const std::string& kernel, std::uint64_t seed, F prepare) {
  Device device;
  device.options.seed = seed;
  device.options.instruction_budget = 2'000'000;
  device.options.compute_capability = std::max(90, module.target_sm());
  std::vector<float> values(kCount);
  for (int i = 0; i < kCount; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i % 37);
  const float* in = device.array(values, "in");
  float* const out = device.raw<float>(kCount + 8, "out");
  LaunchShape shape{{kBlocks, 1, 1}, {kThreads, 1, 1}, kernel == "shared_past_end" ? 512U : 0U};
  prepare(device, in, out, shape);
  return device.run(module, kernel, shape, in, out, kCount);
}
Report run(Module& module, const std::string& kernel, std::uint64_t seed = 0) {
  return run(module, kernel, seed, [](auto&...) {});
}

struct Planted {
  const char* kernel;
  Fault fault;
  Fault follows = fault;  // of the same mistake: what was not there yet is read
};
const Planted kPlanted[] = {
    {"load_past_end", Fault::OutOfBounds},
    {"store_past_end", Fault::OutOfBounds},
    {"load_before_begin", Fault::OutOfBounds},
    {"null_pointer", Fault::OutOfBounds},
    {"misaligned_vector", Fault::Misaligned},
    {"shared_past_end", Fault::OutOfBounds},
    {"misaligned_shared", Fault::Misaligned},
    {"uninitialised_global", Fault::Uninitialised},
    {"uninitialised_shared", Fault::Uninitialised},
    {"uninitialised_reduction", Fault::Uninitialised},
    {"missing_barrier", Fault::SharedRace, Fault::Uninitialised},
    {"missing_second_barrier", Fault::SharedRace},
    {"missing_warp_barrier", Fault::SharedRace},
    {"conflicting_store", Fault::SharedRace},
    {"missing_barrier_after_tree", Fault::SharedRace},
    {"blocks_add", Fault::GlobalRace},
    {"blocks_overlap", Fault::GlobalRace},
    {"blocks_read_neighbour", Fault::GlobalRace},
    {"last_block_without_fence", Fault::GlobalRace},
    {"divergent_barrier", Fault::Barrier},
    {"barrier_after_exit", Fault::Barrier},
    {"barrier_after_warp_exit", Fault::Barrier},
    {"barrier_counts", Fault::Barrier},
    {"different_barriers", Fault::Deadlock},
    {"barrier_id", Fault::Barrier},
    {"shuffle_in_branch", Fault::WarpMask},
    {"shuffle_not_member", Fault::WarpMask},
    {"shuffle_from_absent", Fault::WarpMask},
    {"vote_in_branch", Fault::WarpMask},
    {"warp_barrier_mask", Fault::WarpMask},
    {"partial_mma", Fault::WarpMask},
    {"no_wait", Fault::AsyncWait},
    {"wait_too_few", Fault::AsyncWait},
    {"wait_without_barrier", Fault::SharedRace, Fault::Uninitialised},
    {"copy_into_use", Fault::SharedRace},
    {"misaligned_copy", Fault::Misaligned},
    {"mbarrier_never_complete", Fault::Deadlock},
    {"mbarrier_uninitialised", Fault::IllegalInstruction, Fault::Uninitialised},
    {"mbarrier_not_waited", Fault::SharedRace, Fault::Uninitialised},
    {"endless", Fault::Budget},
    {"traps", Fault::Trap},
    {"bounded", Fault::LaunchBounds},
};

const char* const kClean[] = {"clean_reverse",
                              "clean_sum",
                              "clean_last_block",
                              "clean_last_block_late_fence",
                              "clean_pipeline",
                              "clean_warp",
                              "clean_named_barriers",
                              "clean_mbarrier",
                              "clean_same_store",
                              "clean_divergence",
                              "touch"};

}  // namespace

TEST_CASE("ptxsim broken kernels: every planted bug is reported as what it is") {
  CERMET_NEEDS_NVRTC();
  for (const int sm : {80, 100}) {
    const auto module = module_for(sm);
    for (const Planted& planted : kPlanted) {
      for (const std::uint64_t seed : {0, 1, 2}) {
        INFO("sm_" << sm << ' ' << planted.kernel << " seed " << seed);
        // Reading the neighbour before it has written is no race yet, but nothing was there.
        const Report report = run(*module, planted.kernel, seed);
        INFO(report.text());
        const bool found =
            std::any_of(report.violations.begin(), report.violations.end(),
                        [&](const Violation& v) { return v.fault == planted.fault; });
        CHECK(found);
        CHECK(report.aborted() == ends_launch(planted.fault));
        for (const Violation& v : report.violations)
          CHECK((v.fault == planted.fault || v.fault == planted.follows));
        for (const Violation& violation : report.violations) {
          CHECK(violation.kernel == planted.kernel);
          CHECK((violation.line > 0) == (violation.fault != Fault::LaunchBounds));
        }
      }
    }
  }
}

TEST_CASE(
    "ptxsim broken kernels: clean kernels are not reported, in any order of blocks and warps") {
  CERMET_NEEDS_NVRTC();
  for (const int sm : {80, 90, 100, 120}) {
    const auto module = module_for(sm);
    for (const char* const kernel : kClean) {
      for (std::uint64_t seed = 0; seed < 4; ++seed) {
        INFO("sm_" << sm << ' ' << kernel << " seed " << seed);
        CHECK(run(*module, kernel, seed).text() == "");
      }
    }
    // Its counts need zeros to start from.
    const Report atomics = run(
        *module, "clean_atomics", 0, [](Device& device, const float*&, float* out, LaunchShape&) {
          std::fill(out, out + 4, 0.0F);
          device.memory.mark_initialised(reinterpret_cast<std::uint64_t>(out), 16);
        });
    CHECK(atomics.text() == "");
  }
}

TEST_CASE("ptxsim broken kernels: what the host did wrong is reported too") {
  CERMET_NEEDS_NVRTC();
  const auto module = module_for(80);
  const auto first = [&](auto prepare) {
    const Report report = run(*module, "touch", 0, prepare);
    REQUIRE(report.violations.size() == 1);
    return report.violations[0];
  };
  const Violation freed =
      first([](Device& device, const float*& in, float*, LaunchShape&) { device.free(in); });
  CHECK(freed.fault == Fault::UseAfterFree);
  CHECK_THAT(freed.text,
             Catch::Matchers::ContainsSubstring(
                 "use after free: kernel 'touch', block (0,0,0), thread (0,0,0), PTX line"));
  CHECK_THAT(freed.text,
             Catch::Matchers::ContainsSubstring("byte 0 of the freed 'in' (1024 bytes at"));
  const Violation empty = first([](Device& device, const float*& in, float*, LaunchShape&) {
    in = device.raw<float>(kCount, "empty");
  });
  CHECK(empty.fault == Fault::Uninitialised);
  const Violation larger =
      first([](Device&, const float*&, float*, LaunchShape& shape) { shape.grid.x = 3; });
  CHECK(larger.fault == Fault::OutOfBounds);
  CHECK_THAT(larger.text, Catch::Matchers::ContainsSubstring("block (2,0,0), thread (0,0,0)"));
  CHECK_THAT(larger.text, Catch::Matchers::ContainsSubstring("4 bytes at"));
  CHECK(first([](Device&, const float*&, float*, LaunchShape& shape) {
          shape.block.x = 2048;
        }).fault == Fault::LaunchBounds);
  CHECK(first([](Device&, const float*&, float*, LaunchShape& shape) {
          shape.dynamic_shared_bytes = 300000;
        }).fault == Fault::LaunchBounds);
  CHECK(first([](Device& device, const float*&, float*, LaunchShape&) {
          device.options.compute_capability = 75;
        }).fault == Fault::LaunchBounds);
}

TEST_CASE("ptxsim broken kernels: a copy that is not waited for leaves NaN, with every check off") {
  CERMET_NEEDS_NVRTC();
  const auto module = module_for(80);
  const auto value = [&](const char* kernel) {
    Device device;
    device.options.checks = Checks::none();
    const float* in = device.array(std::vector<float>(kCount, 2.0F));
    float* const out = device.raw<float>(kCount);
    const Report report =
        device.run(*module, kernel, {{kBlocks, 1, 1}, {kThreads, 1, 1}, 0}, in, out, kCount);
    CHECK(report.text() == "");
    return out[5];
  };
  CHECK(std::isnan(value("no_wait")));
  CHECK(std::isnan(value("wait_too_few")));
  CHECK(value("clean_pipeline") == 8.0F);
}

TEST_CASE("ptxsim broken kernels: each check can be turned off alone") {
  CERMET_NEEDS_NVRTC();
  const auto module = module_for(80);
  const auto without = [&](const char* kernel, bool Checks::* check) {
    return run(*module, kernel, 0, [&](Device& device, const float*&, float*, LaunchShape&) {
      device.options.checks.*check = false;
    });
  };
  CHECK(without("uninitialised_shared", &Checks::uninitialised).clean());
  CHECK(without("uninitialised_global", &Checks::uninitialised).clean());
  CHECK(without("missing_barrier", &Checks::shared_races).violations.size() <= 1);  // uninitialised
  CHECK(without("missing_second_barrier", &Checks::shared_races).clean());
  CHECK(without("blocks_overlap", &Checks::global_races).clean());
}
