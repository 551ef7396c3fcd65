#include "compiler/memory_plan.h"

#include <map>
#include <random>
#include <set>

#include "cermet/error.h"
#include "compiler/fuse.h"
#include "compiler/in_place.h"
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

namespace {

ir::StridedMap strided(const Shape& shape, const Strides& strides, int64_t offset = 0,
                       int64_t first_column = 0) {
  ir::StridedMap map = ir::StridedMap::contiguous(shape);
  map.strides = strides, map.offset = offset, map.begin.back() = first_column;
  return map;
}

Expr load_of(int32_t buffer, ir::StridedMap map) {
  Expr e{};
  e.kind = Expr::Kind::Load, e.dtype = DType::F32, e.buffer = buffer;
  e.map = ir::ViewMap(std::move(map));
  return e;
}

// A map of `elements` that stores to a buffer, and reads others at the same place.
Kernel map_of(int64_t elements, int32_t to, const std::vector<int32_t>& from) {
  Kernel k;
  k.outer = {elements};
  for (int32_t b : from) k.exprs.push_back(load_of(b, ir::StridedMap::contiguous(k.outer)));
  k.stores.push_back({.value = 0, .buffer = to, .map = ir::StridedMap::contiguous(k.outer)});
  return k;
}

using Place = std::pair<int32_t, int64_t>;  // a buffer, or -1 for the arena; 64 bytes of it

std::vector<Place> places_of(const KernelProgram& program, const MemoryPlan& plan, int32_t b) {
  const int64_t bytes = program.buffers[size_t(b)].elements * 4;
  int32_t memory = b;
  while (plan.home[size_t(memory)] >= 0) memory = plan.home[size_t(memory)];
  const bool arena = program.buffers[size_t(memory)].kind == KernelBuffer::Kind::Temporary;
  std::vector<Place> out;
  for (int64_t at = 0; at < bytes; at += 64)
    out.emplace_back(arena ? -1 : memory, at + (arena ? plan.offsets[size_t(b)] : 0));
  return out;
}

// Runs the program on paper: whoever reads a buffer finds what was stored to it.
void check_contents(const KernelProgram& program, const MemoryPlan& plan) {
  std::map<Place, int32_t> content;
  const auto fill = [&](int32_t b) {
    for (const Place& place : places_of(program, plan, b)) content[place] = b;
  };
  const auto check = [&](int32_t b) {
    for (const Place& place : places_of(program, plan, b)) CHECK(content[place] == b);
  };
  const auto count = int32_t(program.buffers.size());
  for (int32_t b = 0; b < count; ++b)
    if (program.buffers[size_t(b)].kind == KernelBuffer::Kind::Parameter) fill(b);
  for (const Kernel& kernel : program.kernels) {
    std::set<std::pair<int32_t, int32_t>> allowed;
    for (const Overwrite& o : overwrites_of(kernel, program.buffers))
      allowed.emplace(kernel.stores[size_t(o.store)].buffer, o.buffer);
    each_read(kernel, [&](int32_t b) {
      check(b);
      for (const KernelStore& s : kernel.stores)
        if (places_of(program, plan, b)[0] == places_of(program, plan, s.buffer)[0])
          CHECK(allowed.contains({s.buffer, b}));
    });
    for (const KernelStore& s : kernel.stores) fill(s.buffer);
  }
  for (int32_t b = 0; b < count; ++b)
    if (const KernelBuffer& buffer = program.buffers[size_t(b)];
        buffer.kind != KernelBuffer::Kind::Temporary && !buffer.donated)
      check(b);
}

KernelBuffer f32(KernelBuffer::Kind kind, int64_t elements, bool donated = false) {
  return {kind, 0, DType::F32, elements, donated};
}

constexpr auto parameter = KernelBuffer::Kind::Parameter;
constexpr auto temporary = KernelBuffer::Kind::Temporary;
constexpr auto result = KernelBuffer::Kind::Result;

}  // namespace

TEST_CASE("in place: a chain of maps from a donated parameter lies where that does") {
  KernelProgram program;
  program.in_place = true;
  program.buffers = {f32(parameter, 64, true), f32(temporary, 64), f32(temporary, 64),
                     f32(result, 64)};
  program.kernels = {map_of(64, 1, {0}), map_of(64, 2, {1}), map_of(64, 3, {2})};
  MemoryPlan plan = plan_memory(program);
  check_contents(program, plan);
  CHECK(plan.arena_bytes == 0);
  CHECK(plan.home == std::vector<int32_t>{-1, 3, 3, 0});
  program.buffers[0].donated = false;
  plan = plan_memory(program);
  check_contents(program, plan);
  CHECK(plan.home == std::vector<int32_t>{-1, 3, 3, -1});
  program.in_place = false;
  CHECK(plan_memory(program).arena_bytes == 512);
}

TEST_CASE("in place: what is needed again, or read at another place, is not written over") {
  const auto refused = [](const Kernel& kernel, bool dies = true) {
    KernelProgram program;
    program.in_place = true;
    program.buffers = {f32(parameter, 64, true), f32(temporary, 64), f32(result, 64)};
    program.kernels = {kernel, map_of(64, 2, {dies ? 1 : 0, 1})};
    const MemoryPlan plan = plan_memory(program);
    check_contents(program, plan);
    return plan.home[2] != 0;
  };
  const Kernel plain = map_of(64, 1, {0});
  CHECK_FALSE(refused(plain));
  CHECK_FALSE(refused(plain, false));  // the second kernel may
  const auto with = [](auto change) {
    Kernel kernel = map_of(64, 1, {0});
    kernel.outer = {8, 8};
    kernel.exprs[0].map = ir::ViewMap::identity(kernel.outer);
    kernel.stores[0].map = ir::StridedMap::contiguous(kernel.outer);
    change(kernel);
    return kernel;
  };
  CHECK_FALSE(refused(with([](Kernel&) {})));
  const auto also = [&](ir::StridedMap map) {
    return refused(with([&](Kernel& k) { k.exprs.push_back(load_of(0, std::move(map))); }));
  };
  CHECK(also(strided({8, 8}, {1, 8})));        // transposed
  CHECK(also(strided({8, 8}, {8, 0})));        // broadcast
  CHECK(also(strided({8, 8}, {-8, 1}, 56)));   // reversed
  CHECK(also(strided({8, 8}, {8, 1}, 0, 1)));  // masked
  CHECK_FALSE(also(strided({8, 8}, {8, 1})));
  CHECK(refused(with([](Kernel& k) { k.exprs[0].kind = Expr::Kind::Gather; })));
  CHECK(refused(with([](Kernel& k) {
    Expr sum{};
    sum.kind = Expr::Kind::Reduce, sum.dtype = DType::F32, sum.operands = {0};
    k.exprs.push_back(sum);
  })));
  CHECK(refused(with([](Kernel& k) { k.stores[0].index = 0; })));
  CHECK(refused(with([](Kernel& k) { k.stores.push_back(k.stores[0]); })));
}

TEST_CASE("in place: a donated parameter that nobody reads any more is any result's place") {
  KernelProgram program;
  program.in_place = true;
  program.buffers = {f32(parameter, 64, true), f32(parameter, 64), f32(temporary, 32),
                     f32(result, 64),          f32(result, 64),    f32(result, 32)};
  Kernel turned = map_of(64, 3, {1});
  turned.exprs[0].map = ir::ViewMap(strided({64}, {-1}, 63));
  program.kernels = {map_of(32, 2, {0}), turned, map_of(64, 4, {1}), map_of(32, 5, {2})};
  MemoryPlan plan = plan_memory(program);
  check_contents(program, plan);
  CHECK(plan.home == std::vector<int32_t>{-1, -1, 5, 0, -1, -1});
  CHECK(plan.bytes == 64 * 4 + 32 * 4);
  // Not before the last kernel that can report an error.
  program.kernels[1].exprs[0].kind = Expr::Kind::Gather;
  plan = plan_memory(program);
  check_contents(program, plan);
  CHECK(plan.home == std::vector<int32_t>{-1, -1, 5, -1, 0, -1});
  program.kernels[3].exprs[0].kind = Expr::Kind::Gather;
  CHECK(plan_memory(program).home[4] == -1);
}

TEST_CASE("in place: two results take the places of two operands, not of one") {
  KernelProgram program;
  program.in_place = true;
  program.buffers = {f32(parameter, 64, true), f32(parameter, 64, true), f32(result, 64),
                     f32(result, 64), f32(result, 64)};
  Kernel kernel = map_of(64, 2, {0, 1});
  for (const int32_t to : {3, 4})
    kernel.stores.push_back({.value = 0, .buffer = to, .map = kernel.stores[0].map});
  program.kernels = {kernel};
  const MemoryPlan plan = plan_memory(program);
  check_contents(program, plan);
  CHECK(plan.home == std::vector<int32_t>{-1, -1, 0, 1, -1});
}

TEST_CASE("in place: kernels that run at the same time leave each other what they read") {
  KernelProgram program;
  program.in_place = true;
  program.buffers = {f32(parameter, 64, true), f32(result, 64), f32(result, 64)};
  program.kernels = {map_of(64, 1, {0}), map_of(64, 2, {0})};
  const std::vector<int64_t> together = {0, 0};
  CHECK(plan_memory(program, together).home == std::vector<int32_t>{-1, -1, -1});
  CHECK(plan_memory(program).home == std::vector<int32_t>{-1, -1, 0});
}

TEST_CASE("in place: temporaries lie in results that are not there yet") {
  KernelProgram program;
  program.in_place = true;
  program.buffers = {f32(temporary, 64), f32(temporary, 64), f32(result, 64)};
  Kernel turned = map_of(64, 1, {0});
  turned.exprs[0].map = ir::ViewMap(strided({64}, {-1}, 63));
  Kernel again = turned;
  again.exprs[0].buffer = 1, again.stores[0].buffer = 2;
  program.kernels = {map_of(64, 0, {}), turned, again};
  const MemoryPlan plan = plan_memory(program);
  check_contents(program, plan);
  CHECK(plan.home == std::vector<int32_t>{2, -1, -1});
  CHECK(plan.arena_bytes == 256);
  program.buffers[2].elements = 63;
  CHECK(plan_memory(program).home == std::vector<int32_t>{-1, -1, -1});
}

TEST_CASE("in place: random programs find what they stored") {
  std::mt19937_64 random(11);
  for (int round = 0; round < 200; ++round) {
    KernelProgram program;
    program.in_place = true;
    for (int p = 0; p < 4; ++p)
      program.buffers.push_back(f32(parameter, 16 << random() % 2, random() % 2 == 0));
    for (int k = 0; k < 24; ++k) {
      const auto to = int32_t(program.buffers.size());
      const int64_t elements = 16 << random() % 2;
      program.buffers.push_back(f32(random() % 3 == 0 ? result : temporary, elements));
      Kernel kernel = map_of(elements, to, {});
      for (int i = 0; i < 2; ++i) {
        const auto from = int32_t(size_t(to) - 1 - random() % std::min<size_t>(size_t(to), 6));
        const bool same = program.buffers[size_t(from)].elements == elements && random() % 4 > 0;
        kernel.exprs.push_back(load_of(from, strided({elements}, {same ? 1 : 0})));
      }
      program.kernels.push_back(std::move(kernel));
    }
    check_contents(program, plan_memory(program));
  }
}
