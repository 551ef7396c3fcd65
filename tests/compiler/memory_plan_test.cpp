#include "compiler/memory_plan.h"

#include <random>

#include "cermet/error.h"
#include "compiler/fuse.h"
#include "ir/build.h"
#include "support/catch.h"
#include "support/fusion_check.h"

using namespace cermet;
using namespace cermet::compiler;

namespace {

// Kernel i stores buffer i and loads from all of users[i]; sizes in f32 elements.
KernelProgram program_of(const std::vector<int64_t>& sizes,
                         const std::vector<std::vector<int32_t>>& loads) {
  KernelProgram program;
  for (size_t i = 0; i < sizes.size(); ++i) {
    program.buffers.push_back({KernelBuffer::Kind::Temporary, 0, DType::F32, sizes[i]});
    Kernel k;
    for (int32_t from : loads[i]) {
      Expr e{};
      e.kind = Expr::Kind::Load, e.dtype = DType::F32, e.buffer = from;
      k.exprs.push_back(std::move(e));
    }
    k.stores.push_back({.value = 0, .buffer = int32_t(i), .map = {}});
    program.kernels.push_back(std::move(k));
  }
  return program;
}

// The buffers do not overlap while they are alive; returns the largest number of bytes alive.
int64_t check_plan(const KernelProgram& program, const MemoryPlan& plan) {
  const size_t count = program.buffers.size();
  std::vector<int64_t> first(count, -1), last(count, -1);
  const auto touch = [&](int32_t b, size_t k) {
    if (first[size_t(b)] < 0) first[size_t(b)] = int64_t(k);
    last[size_t(b)] = int64_t(k);
  };
  for (size_t k = 0; k < program.kernels.size(); ++k) {
    for (const Expr& e : program.kernels[k].exprs)
      if (e.buffer >= 0) touch(e.buffer, k);
    for (const KernelStore& s : program.kernels[k].stores) touch(s.buffer, k);
  }
  int64_t most = 0;
  for (size_t k = 0; k < program.kernels.size(); ++k) {
    std::vector<std::pair<int64_t, int64_t>> alive;
    int64_t bytes = 0;
    for (size_t b = 0; b < count; ++b) {
      const KernelBuffer& buffer = program.buffers[b];
      if (buffer.kind != KernelBuffer::Kind::Temporary || first[b] > int64_t(k) ||
          last[b] < int64_t(k) || buffer.elements == 0)
        continue;
      const int64_t size = buffer.elements * int64_t(size_of(buffer.dtype));
      alive.push_back({plan.offsets[b], plan.offsets[b] + size});
      bytes += (size + 63) / 64 * 64;
    }
    std::sort(alive.begin(), alive.end());
    for (size_t i = 0; i < alive.size(); ++i) {
      CHECK(alive[i].first % arena_alignment == 0);
      CHECK(alive[i].second <= plan.arena_bytes);
      if (i > 0) CHECK(alive[i - 1].second <= alive[i].first);
    }
    most = std::max(most, bytes);
  }
  return most;
}

}  // namespace

TEST_CASE("memory plan: a chain needs two buffers") {
  const KernelProgram program = program_of({16, 16, 16, 16, 16}, {{}, {0}, {1}, {2}, {3}});
  const MemoryPlan plan = plan_memory(program);
  CHECK(plan.arena_bytes == 128);
  check_plan(program, plan);
}

TEST_CASE("memory plan: kernels that run block by block share no memory") {
  KernelProgram program = program_of({16, 16, 16, 16, 16}, {{}, {0}, {1}, {2}, {3}});
  program.chains.push_back(
      {.first = 1, .count = 2, .rows = 8, .group = 8, .step = 2, .locals = {1}});
  const MemoryPlan plan = plan_memory(program);
  CHECK(plan.offsets[0] != plan.offsets[2]);  // blocks of 1 still read 0 when blocks of 2 write
  CHECK(plan.offsets[3] == plan.offsets[0]);
  CHECK(plan.alive == std::vector<int64_t>{64, 128, 128, 128, 128});
}

TEST_CASE("memory plan: the smallest gap that is large enough is taken") {
  // 0 and 2 die (gaps of 256 and 128 bytes, kept apart by 1); 4 fits the second.
  const KernelProgram program =
      program_of({64, 16, 32, 16, 32, 16}, {{}, {}, {}, {0, 2}, {3}, {1, 4}});
  const MemoryPlan plan = plan_memory(program);
  check_plan(program, plan);
  CHECK(plan.offsets[4] == plan.offsets[2]);
}

TEST_CASE("memory plan: neighbouring gaps become one") {
  const KernelProgram program = program_of({16, 16, 1, 32}, {{}, {}, {0, 1}, {2}});
  const MemoryPlan plan = plan_memory(program);
  check_plan(program, plan);
  CHECK(plan.offsets[3] == 0);
  CHECK(plan.arena_bytes == 192);
}

TEST_CASE("memory plan: random programs do not overlap and waste little") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 50; ++round) {
    std::vector<int64_t> sizes;
    std::vector<std::vector<int32_t>> loads;
    for (int i = 0; i < 60; ++i) {
      sizes.push_back(int64_t(random() % 200));
      loads.emplace_back();
      for (int k = 0; i > 0 && k < 2; ++k)
        loads.back().push_back(int32_t(i - 1 - int(random() % uint64_t(std::min(i, 10)))));
    }
    const KernelProgram program = program_of(sizes, loads);
    const MemoryPlan plan = plan_memory(program);
    const int64_t most = check_plan(program, plan);
    CHECK(plan.arena_bytes <= 2 * most);
  }
}

TEST_CASE("memory plan: only temporaries of fused programs take memory") {
  const ir::Value x = ir::parameter(0, DType::F32, {8, 8});
  const KernelProgram one = fuse(test::graph_of({ir::exp(x)}), {});
  CHECK(plan_memory(one).arena_bytes == 0);
  const ir::Value y = ir::dot(ir::unsqueeze(ir::exp(x), 0), ir::unsqueeze(x, 0));
  const KernelProgram two = fuse(test::graph_of({y}), {});
  CHECK(plan_memory(two).arena_bytes == 256);
}

TEST_CASE("memory plan: sizes beyond 64 bits are an error") {
  const int64_t huge = int64_t(1) << 60;
  CHECK_THROWS_AS(plan_memory(program_of({huge, huge, huge}, {{}, {0}, {0, 1}})), Error);
  CHECK_THROWS_AS(plan_memory(program_of({huge * 2 + 1}, {{}})), Error);
}

TEST_CASE("memory plan: what the kernels of a chain use is alive for all of them") {
  // Kernels 1 to 3 run block by block: the last block reads 0 after the first one has stored 3.
  KernelProgram program = program_of({16, 16, 16, 16, 16}, {{}, {0}, {1}, {2}, {3}});
  program.chains.push_back(
      {.first = 1, .count = 3, .rows = 4, .group = 1, .step = 1, .locals = {1}});
  MemoryPlan plan = plan_memory(program);
  CHECK(plan.arena_bytes == 192);
  CHECK(plan.offsets[0] != plan.offsets[2]);
  CHECK(plan.offsets[0] != plan.offsets[3]);
  CHECK(plan.offsets[2] != plan.offsets[3]);
  program.chains[0].locals = {1, 2};  // in scratch memory
  CHECK(plan_memory(program).arena_bytes == 128);
}
