// A scatter whose updates are visited by destination (KernelStore::order), as code of one thread.
//
// Each place in that order has a thread (for several neighbouring columns, if they have the same
// indices). The one at the first update of a destination finds the last one by bisection, and
// combines them all with what is there, in their order, which is the interpreter's; where the last
// update wins, the thread at that one stores it. No two threads write to one element.

#include "compiler/lower_scatter.h"

#include <algorithm>
#include <bit>

#include "compiler/index_width.h"
#include "compiler/lower_scope.h"
#include "compiler/row_stages.h"

namespace cermet::compiler {
namespace {

using loops::Ref;

constexpr int64_t block_threads = 256;
constexpr int resident_blocks = 4;  // its loads are chained: others must run meanwhile
constexpr int64_t most_lanes = 4;

class ScatterLowering {
 public:
  ScatterLowering(const Kernel& kernel, const KernelProgram& program, const Target& target,
                  LoweredKernel& out)
      : kernel_(kernel),
        store_(kernel.stores[0]),
        out_(out),
        w_(kernel, program, target, out),
        b_(w_.builder()),
        inner_(kernel.outer.size()) {
    choose_lanes(program);
  }
  void run();

 private:
  void choose_lanes(const KernelProgram& program);
  Ref spread(Ref number);
  Scope at(Ref place, Ref mask);
  Ref destination(Ref place, Ref mask);
  Ref end_of(Ref place, Ref here);
  void combine_all(Ref place, Ref end);

  const Kernel& kernel_;
  const KernelStore& store_;
  LoweredKernel& out_;
  KernelWriter w_;
  loops::Builder& b_;
  const size_t inner_;  // the axis of the updates
  int64_t vector_axis_ = -1;
  int lanes_ = 1;
  Scope row_;  // this thread's, without a place in the order
};

// Along an axis that the order, and so the index, does not vary along.
void ScatterLowering::choose_lanes(const KernelProgram& program) {
  const std::vector<double> bytes = contiguous_bytes(kernel_, program, false);
  const ir::StridedMap& order = kernel_.exprs[size_t(store_.order)].map->levels()[0];
  for (size_t d = 0; d < inner_; ++d)
    if (order.strides[d] == 0 && bytes[d] > 0 &&
        (vector_axis_ < 0 || bytes[d] >= bytes[size_t(vector_axis_)]))
      vector_axis_ = int64_t(d);
  if (vector_axis_ < 0) return;
  w_.set_vector_axis(vector_axis_);
  const int64_t size = int64_t(size_of(kernel_.exprs[size_t(store_.value)].dtype));
  int64_t lanes = std::min(most_lanes, 16 / size);
  while (kernel_.outer[size_t(vector_axis_)] % lanes != 0) lanes /= 2;
  lanes_ = int(lanes);
}

// This thread's row; returns its place in the order of the updates. Columns with the same order
// follow each other, then places.
Ref ScatterLowering::spread(Ref number) {
  row_ = {std::vector<Ref>(inner_ + 1, b_.index(0)), lanes_, {}, {}};
  const ir::StridedMap& order = kernel_.exprs[size_t(store_.order)].map->levels()[0];
  std::vector<size_t> axes;  // the fastest first
  if (vector_axis_ >= 0) axes.push_back(size_t(vector_axis_));
  for (const bool same : {true, false}) {
    if (!same) axes.push_back(inner_);
    for (size_t d = inner_; d-- > 0;)
      if (int64_t(d) != vector_axis_ && (order.strides[d] == 0) == same) axes.push_back(d);
  }
  Ref place;
  for (size_t a = 0; a < axes.size(); ++a) {
    const size_t d = axes[a];
    const bool vector = int64_t(d) == vector_axis_ && lanes_ > 1;
    const Ref steps =
        vector ? w_.integer("steps", int64_t(d), kernel_.outer[d] / lanes_) : w_.extent(int64_t(d));
    const Ref step = a + 1 == axes.size() ? number : b_.rem(number, steps);
    if (a + 1 < axes.size()) number = b_.div(number, steps);
    (d == inner_ ? place : row_.index[d]) = vector ? b_.mul(step, b_.index(lanes_)) : step;
  }
  return place;
}

// The update at a place in the order.
Scope ScatterLowering::at(Ref place, Ref mask) {
  Scope scope = row_;
  scope.mask = mask;
  scope.values.assign(kernel_.exprs.size(), Ref());
  scope.index[inner_] = place;
  const Ref update = w_.evaluate(scope, store_.order);
  scope.values.assign(kernel_.exprs.size(), Ref());
  scope.index[inner_] = update;
  return scope;
}

Ref ScatterLowering::destination(Ref place, Ref mask) {
  Scope scope = at(place, mask);
  return w_.evaluate(scope, store_.index);
}

// Behind the last update of the destination `here`, whose first one is at `place`.
Ref ScatterLowering::end_of(Ref place, Ref here) {
  const int64_t updates = kernel_.inner[0];
  const Ref first = b_.add(place, b_.index(1)), all = w_.extent(int64_t(inner_));
  const Ref halvings = w_.integer("halvings", 0, std::bit_width(uint64_t(updates)));
  const Ref start[] = {first, all};
  return b_.for_loop(b_.index(0), halvings, 1, start, [&](Ref, std::span<const Ref> range) {
    const Ref low = range[0], high = range[1], open = b_.lt(low, high);
    const Ref middle = b_.div(b_.add(low, high), b_.index(2));
    const Ref same = b_.eq(destination(middle, open), here);
    const Ref low_moves = b_.and_(open, same), high_moves = b_.and_(open, b_.not_(same));
    return std::vector<Ref>{b_.select(low_moves, b_.add(middle, b_.index(1)), low),
                            b_.select(high_moves, middle, high)};
  })[0];
}

void ScatterLowering::combine_all(Ref place, Ref end) {
  const DType dtype = kernel_.exprs[size_t(store_.value)].dtype;
  const int32_t to = w_.buffer(store_.buffer);
  Scope first = at(place, {});
  Ref exists;
  const Ref position = w_.scatter_position(first, store_, &exists);
  const Ref start[] = {b_.splat(w_.load_held(to, dtype, position, lanes_, exists), lanes_)};
  const Ref sum = b_.for_loop(place, end, 1, start, [&](Ref k, std::span<const Ref> before) {
    Scope update = at(k, {});
    const Ref value = b_.splat(w_.evaluate(update, store_.value), lanes_);
    return std::vector<Ref>{combine(b_, store_.combine, before[0], value)};
  })[0];
  w_.store_held(to, dtype, position, sum, exists);
}

void ScatterLowering::run() {
  const int64_t threads = numel(kernel_.outer) / lanes_ * kernel_.inner[0];
  out_.function.threads = block_threads;
  out_.function.resident = resident_blocks;
  out_.range = (threads + block_threads - 1) / block_threads;
  const Ref number = b_.add(b_.mul(b_.block(), b_.index(block_threads)), b_.thread());
  b_.if_then(b_.lt(number, w_.integer("threads", 0, threads)), [&] {
    const Ref place = spread(number), one = b_.index(1);
    const Ref here = destination(place, {});
    const bool last_wins = store_.combine == ir::Combine::Set;
    const Ref other = last_wins ? b_.add(place, one) : b_.sub(place, one);
    const Ref has_other =
        last_wins ? b_.lt(other, w_.extent(int64_t(inner_))) : b_.ge(other, b_.index(0));
    const Ref same = b_.and_(has_other, b_.eq(destination(other, has_other), here));
    b_.if_then(b_.not_(same), [&] {
      if (last_wins) {
        Scope update = at(place, {});
        w_.store(update, store_);
      } else {
        combine_all(place, end_of(place, here));
      }
    });
  });
  out_.function.index_bits = index_bits(out_.function, out_.integers, out_.range);
}

}  // namespace

bool is_sorted_scatter(const Kernel& kernel) {
  return kernel.stores.size() == 1 && kernel.stores[0].order >= 0;
}

LoweredKernel lower_scatter(const Kernel& kernel, const KernelProgram& program,
                            const Target& target) {
  LoweredKernel out;
  out.function.name = kernel.name;
  ScatterLowering(kernel, program, target, out).run();
  return out;
}

}  // namespace cermet::compiler
