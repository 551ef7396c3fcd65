// A map through tiles as code of one thread; compiler/transpose_plan.h has the idea.
//
//   load what is contiguous along `slow`, put it into shared memory; barrier
//   at each element, along `fast`: evaluate; store what is contiguous there, put the rest into
//   shared memory; barrier
//   store the rest, along `slow`
//
// What lies beyond the end of the space is zero in shared memory and is not stored.

#include "compiler/lower_transpose.h"

#include "compiler/index_width.h"
#include "compiler/lower_scope.h"

namespace cermet::compiler {
namespace {

using loops::Ref;

class TransposeLowering {
 public:
  TransposeLowering(const Kernel& kernel, const KernelProgram& program, const Target& target,
                    const TransposePlan& plan, LoweredKernel& out)
      : kernel_(kernel),
        plan_(plan),
        out_(out),
        w_(kernel, program, target, out),
        b_(w_.builder()) {}
  void run();

 private:
  // This thread's vector of a phase: where it lies in the tile and in the space.
  struct Place {
    Ref fast, slow;  // in the tile
    Scope scope;
  };
  void find_tile();
  std::vector<Place> places(int64_t axis, int lanes);
  Ref words(const Place& place, int64_t axis, int lanes);
  Ref to_word(Ref value, DType dtype, DType word);
  Ref from_word(Ref word, DType dtype);
  void stage_loads();
  void compute();
  void finish_stores();

  const Kernel& kernel_;
  const TransposePlan& plan_;
  LoweredKernel& out_;
  KernelWriter w_;
  loops::Builder& b_;
  std::vector<Ref> first_;                         // the tile's, by axis of the space
  std::vector<int32_t> load_tiles_, store_tiles_;  // buffers in shared memory
};

void TransposeLowering::run() {
  out_.function.threads = int32_t(plan_.threads);
  for (const auto& s : plan_.loads)
    load_tiles_.push_back(w_.scratch_buffer(s.word, b_.index(s.shared_bytes)));
  for (const auto& s : plan_.stores)
    store_tiles_.push_back(w_.scratch_buffer(s.word, b_.index(s.shared_bytes)));
  find_tile();
  stage_loads();
  if (!plan_.loads.empty()) b_.barrier();
  compute();
  if (!plan_.stores.empty()) b_.barrier();
  finish_stores();
  out_.range = plan_.tiles;
  out_.scratch_bytes = plan_.shared_bytes;
  out_.function.index_bits = index_bits(out_.function, out_.integers, out_.range);
}

void TransposeLowering::find_tile() {
  first_.assign(size_t(w_.rank()), b_.index(0));
  Ref rest = b_.block();
  const auto next = [&](Ref count, bool last) {
    const Ref here = last ? rest : b_.rem(rest, count);
    if (!last) rest = b_.div(rest, count);
    return here;
  };
  const bool flat = plan_.others.empty();
  const Ref fast = next(w_.integer("fast tiles", 0, plan_.fast_tiles), false);
  const Ref slow = next(w_.integer("slow tiles", 0, plan_.slow_tiles), flat);
  first_[size_t(plan_.fast)] = b_.mul(fast, b_.index(plan_.fast_tile));
  first_[size_t(plan_.slow)] = b_.mul(slow, b_.index(plan_.slow_tile));
  for (size_t a = plan_.others.size(); a-- > 0;) {
    const int64_t axis = plan_.others[a];
    first_[size_t(axis)] = next(w_.extent(axis), a == 0);
  }
}

// All of this thread's vectors of `lanes` elements along an axis of the tile.
std::vector<TransposeLowering::Place> TransposeLowering::places(int64_t axis, int lanes) {
  const bool fast = axis == plan_.fast;
  const int64_t along = (fast ? plan_.fast_tile : plan_.slow_tile) / lanes;
  const int64_t across = fast ? plan_.slow_tile : plan_.fast_tile;
  const int64_t group = std::min<int64_t>(lanes, across);
  std::vector<Place> out;
  for (int64_t n = 0; n < along * across; n += plan_.threads) {
    const Ref number = b_.add(b_.thread(), b_.index(n));
    const Ref vector = b_.rem(b_.div(number, b_.index(group)), b_.index(along));
    const Ref band = b_.div(number, b_.index(group * along));
    const Ref x = b_.mul(vector, b_.index(lanes));
    const Ref y = b_.add(b_.mul(band, b_.index(group)), b_.rem(number, b_.index(group)));
    Place place{fast ? x : y, fast ? y : x, {first_, lanes, {}, {}}};
    place.scope.values.resize(kernel_.exprs.size());
    const auto move = [&](int64_t d, Ref by, int64_t tile) {
      Ref& index = place.scope.index[size_t(d)];
      index = b_.add(index, by);
      if (w_.space()[size_t(d)] % tile != 0)
        place.scope.mask = w_.both(place.scope.mask, b_.lt(index, w_.extent(d)));
    };
    move(plan_.fast, place.fast, plan_.fast_tile);
    move(plan_.slow, place.slow, plan_.slow_tile);
    out.push_back(std::move(place));
  }
  return out;
}

// Where its elements lie in a tile in shared memory.
Ref TransposeLowering::words(const Place& place, int64_t axis, int lanes) {
  const Ref first = b_.add(b_.mul(place.slow, b_.index(plan_.line())), place.fast);
  const Ref step = b_.index(axis == plan_.fast ? 1 : plan_.line());
  if (lanes == 1) return first;
  return b_.add(first, b_.mul(b_.ramp(b_.index(0), lanes), step));
}

// A held value as a word of shared memory, and back. Halves go as their bits, so that what is only
// moved keeps them.
Ref TransposeLowering::to_word(Ref value, DType dtype, DType word) {
  if (dtype != held(dtype)) value = b_.bitcast(b_.cast(value, dtype), DType::U16);
  return b_.cast(value, word);
}
Ref TransposeLowering::from_word(Ref word, DType dtype) {
  if (dtype == held(dtype)) return b_.cast(word, dtype);
  return b_.cast(b_.bitcast(b_.cast(word, DType::U16), dtype), held(dtype));
}

// All loads first: they are in flight together.
void TransposeLowering::stage_loads() {
  w_.set_vector_axis(plan_.slow);
  for (size_t k = 0; k < plan_.loads.size(); ++k) {
    const auto& staged = plan_.loads[k];
    std::vector<Place> all = places(plan_.slow, staged.lanes);
    for (Place& p : all) w_.evaluate(p.scope, staged.which);
    for (Place& p : all) {
      const Ref value = b_.splat(p.scope.values[size_t(staged.which)], staged.lanes);
      b_.scatter_store(load_tiles_[k], words(p, plan_.slow, staged.lanes),
                       to_word(value, kernel_.exprs[size_t(staged.which)].dtype, staged.word));
    }
  }
}

void TransposeLowering::compute() {
  w_.set_vector_axis(plan_.fast);
  for (Place& p : places(plan_.fast, plan_.lanes)) {
    const Ref at = words(p, plan_.fast, plan_.lanes);
    for (size_t k = 0; k < plan_.loads.size(); ++k) {
      const auto which = size_t(plan_.loads[k].which);
      p.scope.values[which] =
          from_word(b_.gather_load(load_tiles_[k], at), kernel_.exprs[which].dtype);
    }
    std::vector<bool> later(kernel_.stores.size(), false);
    for (size_t k = 0; k < plan_.stores.size(); ++k) {
      const auto& staged = plan_.stores[k];
      later[size_t(staged.which)] = true;
      const int32_t value = kernel_.stores[size_t(staged.which)].value;
      b_.scatter_store(store_tiles_[k], at,
                       to_word(b_.splat(w_.evaluate(p.scope, value), plan_.lanes),
                               kernel_.exprs[size_t(value)].dtype, staged.word));
    }
    for (size_t s = 0; s < kernel_.stores.size(); ++s)
      if (!later[s]) w_.store(p.scope, kernel_.stores[s]);
  }
}

void TransposeLowering::finish_stores() {
  w_.set_vector_axis(plan_.slow);
  for (size_t k = 0; k < plan_.stores.size(); ++k) {
    const auto& staged = plan_.stores[k];
    const KernelStore& store = kernel_.stores[size_t(staged.which)];
    for (Place& p : places(plan_.slow, staged.lanes)) {
      const Ref word = b_.gather_load(store_tiles_[k], words(p, plan_.slow, staged.lanes));
      p.scope.values[size_t(store.value)] =
          from_word(word, kernel_.exprs[size_t(store.value)].dtype);
      w_.store(p.scope, store);
    }
  }
}

}  // namespace

LoweredKernel lower_transpose(const Kernel& kernel, const KernelProgram& program,
                              const Target& target, const TransposePlan& plan) {
  LoweredKernel out;
  out.function.name = kernel.name;
  TransposeLowering(kernel, program, target, plan, out).run();
  return out;
}

}  // namespace cermet::compiler
