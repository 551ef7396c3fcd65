// A thin contraction as code of one thread; compiler/thin_plan.h says which part of it is its.
//
//   for its steps of k:   read its elements of the large operand, several at once
//                         for each vector: read its elements, multiply, add
//   sums of the warp by shuffles; to shared memory; barrier
//   its results, in turn: the sums of the team's warps, in order; epilogue
//
// Beyond the end of k both operands are zero; beyond the end of the wide axis sums are whatever
// they are, and nothing is stored.

#include "compiler/lower_thin.h"

#include "compiler/index_width.h"
#include "compiler/lower_scope.h"
#include "compiler/thin_plan.h"
#include "compiler/tile_loads.h"

namespace cermet::compiler {
namespace {

using loops::Ref;

class ThinLowering {
 public:
  ThinLowering(const Kernel& kernel, const KernelProgram& program, const Target& target,
               LoweredKernel& out)
      : kernel_(kernel),
        out_(out),
        plan_(plan_thin(kernel, program)),
        w_(kernel, program, target, out),
        b_(w_.builder()) {}
  void run();

 private:
  void find_place();
  std::vector<Ref> multiply();
  void add_products(Ref k, std::vector<Ref>& sums);
  void add_products_along_inner(Ref k, std::vector<Ref>& sums);
  void add_products_along_wide(Ref k, std::vector<Ref>& sums);
  Ref read(const ThinPlan::Side& side, Ref number, Ref k, int lanes, bool along_inner);
  std::vector<Ref> scalars(const std::vector<Ref>& sums);
  void share(std::vector<Ref> sums);
  void finish();

  const Kernel& kernel_;
  LoweredKernel& out_;
  const ThinPlan plan_;
  KernelWriter w_;
  loops::Builder& b_;
  int32_t shared_ = -1;  // [warp][lane across][sum]
  std::vector<Ref> at_;  // indices of the batch
  Ref warp_, lane_;      // of this thread
  Ref block_first_;      // wide element of the block,
  Ref first_;            // and of this thread
  Ref slice_;            // of a step of k
};

void ThinLowering::run() {
  out_.function.threads = int32_t(ThinPlan::threads);
  out_.function.resident = plan_.resident();
  find_place();
  share(scalars(multiply()));
  b_.barrier();
  finish();
  out_.range = plan_.blocks();
  out_.function.index_bits = index_bits(out_.function, out_.integers, out_.range);
}

void ThinLowering::find_place() {
  const Ref blocks = w_.integer("wide blocks", 0, plan_.wide_blocks());
  const Ref unit = plan_.batches == 1 ? b_.block() : b_.rem(b_.block(), blocks);
  Scope scope;
  scope.index.assign(size_t(w_.rank()), b_.index(0));
  if (plan_.batches > 1) spread_index(w_, scope, plan_.groups.batch, b_.div(b_.block(), blocks));
  at_ = scope.index;
  const Ref warp = b_.index(ThinPlan::warp), across = b_.index(plan_.lanes_across);
  warp_ = b_.div(b_.thread(), warp), lane_ = b_.rem(b_.thread(), warp);
  const Ref team = b_.div(warp_, b_.index(plan_.team_warps));
  const Ref in_team = b_.add(b_.mul(team, across), b_.rem(lane_, across));
  block_first_ = b_.mul(unit, b_.index(plan_.wide_per_block()));
  first_ = b_.add(block_first_, b_.mul(in_team, b_.index(plan_.wide_per_thread)));
  slice_ = b_.add(b_.mul(b_.rem(warp_, b_.index(plan_.team_warps)),
                         b_.index(ThinPlan::warp / plan_.lanes_across)),
                  b_.div(lane_, across));
}

// [wide element][vector]; along the wide axis [vector], with lanes.
std::vector<Ref> ThinLowering::multiply() {
  const bool lanes = !plan_.along_inner || plan_.vector_sums;
  const int64_t count = plan_.along_inner ? plan_.sums() : plan_.thin.extent;
  const std::vector<Ref> zeros(size_t(count),
                               b_.constant_bits(plan_.dtype, 0, lanes ? plan_.lanes : 1));
  const Ref first = b_.mul(slice_, b_.index(plan_.terms));
  const Ref terms = w_.integer("terms", 0, plan_.inner);
  return b_.for_loop(first, terms, plan_.step(), zeros, [&](Ref k, std::span<const Ref> carried) {
    std::vector<Ref> sums(carried.begin(), carried.end());
    add_products(k, sums);
    return sums;
  });
}

void ThinLowering::add_products(Ref k, std::vector<Ref>& sums) {
  if (!plan_.along_inner) return add_products_along_wide(k, sums);
  for (int64_t u = 0; u < plan_.unrolled; ++u)
    add_products_along_inner(b_.add(k, b_.index(u * plan_.slices() * plan_.terms)), sums);
}

void ThinLowering::add_products_along_inner(Ref k, std::vector<Ref>& sums) {
  std::vector<Ref> wide;
  for (int64_t r = 0; r < plan_.wide_per_thread; ++r)
    wide.push_back(read(plan_.wide, b_.add(first_, b_.index(r)), k, plan_.lanes, true));
  for (int64_t t = 0; t < plan_.thin.extent; ++t) {
    const Ref x = read(plan_.thin, b_.index(t), k, plan_.lanes, true);
    for (int64_t r = 0; r < plan_.wide_per_thread; ++r) {
      Ref& sum = sums[size_t(r * plan_.thin.extent + t)];
      if (plan_.vector_sums) {
        sum = multiply_add(b_, wide[size_t(r)], x, sum);
        continue;
      }
      for (int l = 0; l < plan_.lanes; ++l)
        sum = multiply_add(b_, b_.extract(wide[size_t(r)], l), b_.extract(x, l), sum);
    }
  }
}

void ThinLowering::add_products_along_wide(Ref k, std::vector<Ref>& sums) {
  std::vector<Ref> wide;
  for (int64_t u = 0; u < plan_.terms; ++u)
    wide.push_back(read(plan_.wide, first_, b_.add(k, b_.index(u)), plan_.lanes, false));
  for (int64_t t = 0; t < plan_.thin.extent; ++t) {
    const Ref x = read(plan_.thin, b_.index(t), k, int(plan_.terms), true);
    for (int64_t u = 0; u < plan_.terms; ++u) {
      const Ref factor = b_.splat(b_.extract(x, int(u)), plan_.lanes);
      sums[size_t(t)] = multiply_add(b_, wide[size_t(u)], factor, sums[size_t(t)]);
    }
  }
}

// `lanes` elements of an operand: along k, or along its own axes.
Ref ThinLowering::read(const ThinPlan::Side& side, Ref number, Ref k, int lanes, bool along_inner) {
  w_.set_vector_axis(along_inner ? plan_.groups.inner.back() : side.axes.back());
  Scope scope{at_, lanes, {}, std::vector<Ref>(kernel_.exprs.size())};
  spread_index(w_, scope, side.axes, number);
  scope.index[size_t(plan_.groups.inner.back())] = k;
  // Of the first of several steps the loop has made sure.
  if (plan_.unrolled > 1 && plan_.inner % plan_.step() != 0)
    scope.mask = b_.lt(k, w_.integer("terms", 0, plan_.inner));
  const bool beyond_k = bool(scope.mask);
  if (&side == &plan_.wide && plan_.wide.extent % plan_.wide_per_block() != 0)
    scope.mask = w_.both(scope.mask, b_.lt(number, w_.integer("wide", 0, plan_.wide.extent)));
  const Ref value = b_.splat(w_.evaluate(scope, side.expr), lanes);
  // What is masked is loaded as 0, but computed to anything.
  if (!beyond_k || kernel_.exprs[size_t(side.expr)].kind == Expr::Kind::Load) return value;
  return b_.select(scope.mask, value, b_.constant_bits(plan_.dtype, 0, lanes));
}

// [wide element][vector]
std::vector<Ref> ThinLowering::scalars(const std::vector<Ref>& sums) {
  std::vector<Ref> out;
  if (plan_.along_inner) {
    for (Ref sum : sums)
      out.push_back(b_.lanes(sum) == 1 ? sum : b_.reduce(loops::Opcode::ReduceAdd, sum));
    return out;
  }
  for (int l = 0; l < plan_.lanes; ++l)
    for (Ref sum : sums) out.push_back(b_.extract(sum, l));
  return out;
}

void ThinLowering::share(std::vector<Ref> sums) {
  const auto count = int64_t(sums.size());
  out_.scratch_bytes = ThinPlan::warps * plan_.lanes_across * count * int64_t(size_of(plan_.dtype));
  shared_ = w_.scratch_buffer(plan_.dtype, b_.index(0));
  for (Ref& sum : sums)
    for (int64_t mask = ThinPlan::warp / 2; mask >= plan_.lanes_across; mask /= 2)
      sum = b_.add(sum, b_.shuffle_xor(sum, mask));
  const Ref across = b_.index(plan_.lanes_across);
  b_.if_then(b_.lt(lane_, across), [&] {
    const Ref row = b_.mul(b_.add(b_.mul(warp_, across), lane_), b_.index(count));
    for (int64_t i = 0; i < count; ++i)
      b_.store(shared_, b_.add(row, b_.index(i)), sums[size_t(i)]);
  });
}

void ThinLowering::finish() {
  w_.set_vector_axis(-1);
  const Ref thin = b_.index(plan_.thin.extent), width = b_.index(plan_.wide_per_block());
  const Ref count = b_.index(plan_.wide_per_block() * plan_.thin.extent);
  b_.for_loop(b_.thread(), count, ThinPlan::threads, [&](Ref e) {
    const bool fast = plan_.wide_is_fast;
    const Ref t = fast ? b_.div(e, width) : b_.rem(e, thin);
    const Ref in_block = fast ? b_.rem(e, width) : b_.div(e, thin);
    // Where the warps of the team put it.
    const Ref each = b_.index(plan_.wide_per_thread), across = b_.index(plan_.lanes_across);
    const Ref lane = b_.div(in_block, each), team = b_.div(lane, across);
    const Ref sum_of_lane = b_.add(b_.mul(b_.rem(in_block, each), thin), t);
    Ref sum;
    for (int64_t warp = 0; warp < plan_.team_warps; ++warp) {
      const Ref row = b_.add(b_.mul(team, b_.index(plan_.team_warps)), b_.index(warp));
      const Ref line = b_.add(b_.mul(row, across), b_.rem(lane, across));
      const Ref value = b_.load(shared_, b_.add(b_.mul(line, b_.index(plan_.sums())), sum_of_lane));
      sum = warp == 0 ? value : b_.add(sum, value);
    }
    Scope scope{at_, 1, {}, std::vector<Ref>(kernel_.exprs.size())};
    const Ref wide = b_.add(block_first_, in_block);
    if (plan_.wide.extent % plan_.wide_per_block() != 0)
      scope.mask = b_.lt(wide, w_.integer("wide", 0, plan_.wide.extent));
    spread_index(w_, scope, plan_.wide.axes, wide);
    spread_index(w_, scope, plan_.thin.axes, t);
    const int32_t contract = plan_.groups.contract;
    scope.values[size_t(contract)] = w_.round(sum, kernel_.exprs[size_t(contract)].dtype);
    for (const KernelStore& store : kernel_.stores) w_.store(scope, store);
  });
}

}  // namespace

LoweredKernel lower_thin(const Kernel& kernel, const KernelProgram& program, const Target& target) {
  LoweredKernel out;
  out.function.name = kernel.name;
  ThinLowering(kernel, program, target, out).run();
  return out;
}

}  // namespace cermet::compiler
