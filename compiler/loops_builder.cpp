#include "compiler/loops_builder.h"

#include "ir/check.h"
#include "ir/element.h"

namespace cermet::compiler::loops {

namespace {

uint64_t hash_of(const Instruction& i) {
  uint64_t h = uint64_t(i.op) | uint64_t(i.dtype) << 8 | uint64_t(i.lanes) << 16;
  h = (h ^ uint64_t(i.imm)) * 0x9e3779b97f4a7c15u;
  for (Ref r : i.operands) h = (h ^ (h >> 29) ^ uint64_t(r.id)) * 0xff51afd7ed558ccdu;
  return h;
}

bool same_value(const Instruction& a, const Instruction& b) {
  return a.op == b.op && a.dtype == b.dtype && a.lanes == b.lanes && a.imm == b.imm &&
         a.operands == b.operands;
}

}  // namespace

Builder::Builder(Function& function, const Target& target)
    : function_(function), target_(target), lists_(64) {
  CERMET_CHECK(function.blocks.empty(), "the function {} has a body already", function.name);
  open_block();
}

int32_t Builder::open_block() {
  function_.blocks.emplace_back();
  open_.push_back(int32_t(function_.blocks.size()) - 1);
  pure_in_.emplace_back();
  return open_.back();
}

void Builder::close_block() {
  for (Ref r : pure_in_.back()) {
    Ref* listed = &list_of(known_[size_t(r.id)].hash);
    while (*listed != r) listed = &known_[size_t(listed->id)].next;
    *listed = known_[size_t(r.id)].next;
    --known_count_;
  }
  pure_in_.pop_back();
  open_.pop_back();
}

Ref Builder::append(Instruction instruction, int32_t depth) {
  const Ref ref{int32_t(function_.instructions.size())};
  function_.instructions.push_back(std::move(instruction));
  depth_of_.push_back(depth);
  function_.blocks[size_t(open_[size_t(depth)])].instructions.push_back(ref);
  return ref;
}

Ref Builder::pure(Opcode op, DType dtype, int lanes, SmallVector<Ref, 4> operands, int64_t imm) {
  Instruction wanted{op, dtype, uint16_t(lanes), -1, imm, std::move(operands)};
  const uint64_t hash = hash_of(wanted);
  for (Ref r = list_of(hash); r; r = known_[size_t(r.id)].next)
    if (known_[size_t(r.id)].hash == hash && same_value(at(r), wanted)) return r;
  int32_t depth = 0;
  for (Ref r : wanted.operands) depth = std::max(depth, depth_of_[size_t(r.id)]);
  const Ref ref = append(std::move(wanted), depth);
  if (++known_count_ > lists_.size()) grow();
  known_.resize(size_t(ref.id) + 1);
  Ref& list = list_of(hash);
  known_[size_t(ref.id)] = {hash, list};
  list = ref;
  pure_in_[size_t(depth)].push_back(ref);
  return ref;
}

void Builder::grow() {
  lists_.assign(lists_.size() * 4, {});
  for (const std::vector<Ref>& block : pure_in_)
    for (Ref r : block) {
      Ref& list = list_of(known_[size_t(r.id)].hash);
      known_[size_t(r.id)].next = list;
      list = r;
    }
}

void Builder::widen(SmallVector<Ref, 4>& operands) {
  int most = 1;
  for (Ref r : operands) most = std::max(most, lanes(r));
  for (Ref& r : operands) r = splat(r, most);
}

Ref Builder::same(Opcode op, SmallVector<Ref, 4> operands) {
  widen(operands);
  const DType type = dtype(operands[0]);
  const int count = lanes(operands[0]);
  for (Ref r : operands)
    CERMET_CHECK(dtype(r) == type, "{} of {} and {}", loops::name(op), cermet::name(type),
                 cermet::name(dtype(r)));
  return pure(op, type, count, std::move(operands));
}

Ref Builder::compare(Opcode op, Ref x, Ref y) {
  SmallVector<Ref, 4> operands{x, y};
  widen(operands);
  CERMET_CHECK(dtype(x) == dtype(y), "{} of {} and {}", loops::name(op), cermet::name(dtype(x)),
               cermet::name(dtype(y)));
  const int count = lanes(operands[0]);
  return pure(op, DType::Bool, count, std::move(operands));
}

Ref Builder::constant_bits(DType dtype, uint64_t bits, int lanes) {
  return pure(Opcode::Constant, dtype, lanes, {}, int64_t(bits));
}
Ref Builder::constant(Ref like, DType dtype, double value) {
  return constant_bits(dtype, ir::element_bits(dtype, value), like ? lanes(like) : 1);
}
Ref Builder::iconstant(Ref like, DType dtype, int64_t value) {
  return constant_bits(dtype, ir::element_bits(dtype, value), like ? lanes(like) : 1);
}

std::optional<int64_t> Builder::known(Ref x) const {
  const Instruction& i = at(x);
  if (i.op == Opcode::Constant && i.dtype == DType::I64 && i.lanes == 1) return i.imm;
  return std::nullopt;
}

Ref Builder::argument(int32_t i) {
  function_.argument_count = std::max(function_.argument_count, i + 1);
  return pure(Opcode::Argument, DType::I64, 1, {}, i);
}

// Constants come last: sums that differ in nothing else share the rest, and an address takes its
// constant into the instruction.
Ref Builder::add(Ref x, Ref y) {
  const auto a = known(x), b = known(y);
  if (a && b) return index(int64_t(uint64_t(*a) + uint64_t(*b)));
  if (a == 0) return y;
  if (b == 0) return x;
  if (a) return add(y, x);
  const auto constant_in = [&](Ref sum) -> std::optional<int64_t> {
    const Instruction& i = at(sum);
    return i.op == Opcode::Add ? known(i.operands[1]) : std::nullopt;
  };
  if (const auto c = constant_in(x)) {
    const Ref rest = at(x).operands[0];
    return add(b ? rest : add(rest, y), index(int64_t(uint64_t(*c) + uint64_t(b.value_or(0)))));
  }
  if (const auto c = constant_in(y)) return add(add(x, at(y).operands[0]), index(*c));
  return same(Opcode::Add, {x, y});
}
Ref Builder::sub(Ref x, Ref y) {
  const auto a = known(x), b = known(y);
  if (a && b) return index(int64_t(uint64_t(*a) - uint64_t(*b)));
  if (b == 0) return x;
  return same(Opcode::Sub, {x, y});
}
Ref Builder::mul(Ref x, Ref y) {
  const auto a = known(x), b = known(y);
  if (a && b) return index(int64_t(uint64_t(*a) * uint64_t(*b)));
  if (a == 0 || b == 1) return x;
  if (b == 0 || a == 1) return y;
  return same(Opcode::Mul, {x, y});
}
Ref Builder::div(Ref x, Ref y) {
  const auto a = known(x), b = known(y);
  if (b == 1) return x;
  if (a && b && *b > 0) return index(*a / *b);
  return same(Opcode::Div, {x, y});
}
Ref Builder::rem(Ref x, Ref y) {
  const auto a = known(x), b = known(y);
  if (b == 1) return index(0);
  if (a && b && *b > 0) return index(*a % *b);
  return same(Opcode::Rem, {x, y});
}

Ref Builder::select(Ref mask, Ref x, Ref y) {
  if (x == y) return x;
  SmallVector<Ref, 4> operands{mask, x, y};
  widen(operands);
  CERMET_CHECK(dtype(mask) == DType::Bool && dtype(x) == dtype(y), "select of {}, {} and {}",
               cermet::name(dtype(mask)), cermet::name(dtype(x)), cermet::name(dtype(y)));
  const int count = lanes(operands[0]);
  return pure(Opcode::Select, dtype(x), count, std::move(operands));
}

Ref Builder::cast(Ref x, DType to) {
  if (dtype(x) == to) return x;
  // Back from a wider float: the number that it was. So a half that is only moved keeps its bits,
  // which a conversion would change for signalling NaNs.
  if (at(x).op == Opcode::Convert && is_float(to) && is_float(dtype(x))) {
    const Ref from = at(x).operands[0];
    if (dtype(from) == to && size_of(dtype(x)) > size_of(to)) return from;
  }
  return pure(Opcode::Convert, to, lanes(x), {x});
}
Ref Builder::bitcast(Ref x, DType to) {
  if (dtype(x) == to) return x;
  CERMET_CHECK(size_of(dtype(x)) == size_of(to), "bitcast of {} to {}", cermet::name(dtype(x)),
               cermet::name(to));
  return pure(Opcode::Bitcast, to, lanes(x), {x});
}

Ref Builder::min_index(Ref x, Ref y) {
  const auto a = known(x), b = known(y);
  if (a && b) return index(std::min(*a, *b));
  return select(lt(x, y), x, y);
}
Ref Builder::max_index(Ref x, Ref y) {
  const auto a = known(x), b = known(y);
  if (a && b) return index(std::max(*a, *b));
  return select(lt(x, y), y, x);
}

Ref Builder::call_scalar(Helper helper, Ref mask, Ref value, std::span<const Ref> operands) {
  SmallVector<Ref, 4> all{mask, value};
  for (Ref r : operands) all.push_back(r);
  widen(all);
  const int count = lanes(all[0]);
  return pure(Opcode::CallScalar, dtype(value), count, std::move(all), int64_t(helper));
}

Ref Builder::splat(Ref x, int count) {
  if (lanes(x) == count) return x;
  CERMET_CHECK(lanes(x) == 1, "splat of {} lanes to {}", lanes(x), count);
  if (at(x).op == Opcode::Constant) return constant_bits(dtype(x), uint64_t(at(x).imm), count);
  return pure(Opcode::Splat, dtype(x), count, {x});
}
Ref Builder::ramp(Ref start, int count) {
  if (count == 1) return start;
  return pure(Opcode::Ramp, DType::I64, count, {start});
}
Ref Builder::extract(Ref x, int lane) {
  if (lanes(x) == 1) return x;
  return pure(Opcode::Extract, dtype(x), 1, {x}, lane);
}
Ref Builder::reduce(Opcode op, Ref x) {
  if (lanes(x) == 1) return x;
  return pure(op, dtype(x), 1, {x});
}

int32_t Builder::add_buffer(Buffer buffer) {
  function_.buffers.push_back(buffer);
  return int32_t(function_.buffers.size()) - 1;
}

Ref Builder::load(int32_t buffer, Ref position, int count, Ref mask) {
  SmallVector<Ref, 4> operands{position};
  if (mask) operands.push_back(splat(mask, count));
  const DType type = function_.buffers[size_t(buffer)].dtype;
  return append({Opcode::Load, type, uint16_t(count), -1, buffer, std::move(operands)},
                int32_t(open_.size()) - 1);
}
Ref Builder::gather_load(int32_t buffer, Ref positions, Ref mask) {
  if (lanes(positions) == 1) return load(buffer, positions, 1, mask);
  SmallVector<Ref, 4> operands{positions};
  if (mask) operands.push_back(splat(mask, lanes(positions)));
  const DType type = function_.buffers[size_t(buffer)].dtype;
  const int count = lanes(positions);
  return append({Opcode::GatherLoad, type, uint16_t(count), -1, buffer, std::move(operands)},
                int32_t(open_.size()) - 1);
}
void Builder::prefetch(int32_t buffer, Ref position, bool near) {
  const DType type = function_.buffers[size_t(buffer)].dtype;
  append({near ? Opcode::PrefetchNear : Opcode::Prefetch, type, 1, -1, buffer, {position}},
         int32_t(open_.size()) - 1);
}
void Builder::store(int32_t buffer, Ref position, Ref value, Ref mask) {
  SmallVector<Ref, 4> operands{position, value};
  if (mask) operands.push_back(splat(mask, lanes(value)));
  function_.buffers[size_t(buffer)].written = true;
  append({Opcode::Store, dtype(value), uint16_t(lanes(value)), -1, buffer, std::move(operands)},
         int32_t(open_.size()) - 1);
}
void Builder::scatter_store(int32_t buffer, Ref positions, Ref value, Ref mask) {
  if (lanes(positions) == 1 && lanes(value) == 1) return store(buffer, positions, value, mask);
  SmallVector<Ref, 4> operands{positions, splat(value, lanes(positions))};
  if (mask) operands.push_back(splat(mask, lanes(positions)));
  function_.buffers[size_t(buffer)].written = true;
  append({Opcode::ScatterStore, dtype(value), uint16_t(lanes(positions)), -1, buffer,
          std::move(operands)},
         int32_t(open_.size()) - 1);
}
void Builder::report(int64_t code, Ref mask, Ref value) {
  SmallVector<Ref, 4> operands{mask, value};
  widen(operands);
  const int count = lanes(operands[0]);
  append({Opcode::Report, DType::I64, uint16_t(count), -1, code, std::move(operands)},
         int32_t(open_.size()) - 1);
}

void Builder::barrier() {
  append({Opcode::Barrier, DType::I64, 1, -1, 0, {}}, int32_t(open_.size()) - 1);
}
Ref Builder::load_matrix(int32_t buffer, Ref position, bool transposed) {
  const Opcode op = transposed ? Opcode::LoadMatrixTransposed : Opcode::LoadMatrix;
  return append({op, DType::U32, 4, -1, buffer, {position}}, int32_t(open_.size()) - 1);
}
Ref Builder::mma(DType type, Ref left, Ref right0, Ref right1, Ref sum) {
  const int64_t kind = type == DType::F16 ? 0 : type == DType::BF16 ? 1 : 2;
  return append({Opcode::Mma, DType::F32, 4, -1, kind, {left, right0, right1, sum}},
                int32_t(open_.size()) - 1);
}
void Builder::copy_async(int32_t to, Ref to_position, int32_t from, Ref position, Ref mask) {
  SmallVector<Ref, 4> operands{to_position, position};
  if (mask) operands.push_back(mask);
  Buffer& buffer = function_.buffers[size_t(to)];
  buffer.written = true;
  const auto count = uint16_t(16 / size_of(buffer.dtype));
  append(
      {Opcode::CopyAsync, buffer.dtype, count, -1, to | int64_t(from) << 32, std::move(operands)},
      int32_t(open_.size()) - 1);
}
void Builder::copy_commit() {
  append({Opcode::CopyCommit, DType::I64, 1, -1, 0, {}}, int32_t(open_.size()) - 1);
}
void Builder::copy_wait(int64_t groups) {
  append({Opcode::CopyWait, DType::I64, 1, -1, groups, {}}, int32_t(open_.size()) - 1);
}
Ref Builder::shuffle_xor(Ref x, int64_t mask) {
  return append({Opcode::ShuffleXor, dtype(x), uint16_t(lanes(x)), -1, mask, {x}},
                int32_t(open_.size()) - 1);
}

std::vector<Ref> Builder::for_loop(Ref lower, Ref upper, int64_t step, std::span<const Ref> initial,
                                   const Body& body) {
  Instruction loop{Opcode::For, DType::I64, 1, -1, step, {lower, upper}};
  for (Ref r : initial) loop.operands.push_back(r);
  const int32_t block = open_block();
  loop.block = block;
  const int32_t depth = int32_t(open_.size()) - 1;
  const auto parameter = [&](DType type, int count, int64_t which) {
    const Ref ref{int32_t(function_.instructions.size())};
    function_.instructions.push_back(
        {Opcode::BlockParameter, type, uint16_t(count), block, which, {}});
    depth_of_.push_back(depth);
    function_.blocks[size_t(block)].parameters.push_back(ref);
    return ref;
  };
  const Ref i = parameter(DType::I64, 1, 0);
  std::vector<Ref> carried;
  for (Ref r : initial)
    carried.push_back(parameter(dtype(r), lanes(r), int64_t(carried.size()) + 1));
  std::vector<Ref> next = body(i, carried);
  CERMET_CHECK(next.size() == initial.size(), "a loop over {} values yields {}", initial.size(),
               next.size());
  for (size_t k = 0; k < next.size(); ++k)
    CERMET_CHECK(dtype(next[k]) == dtype(initial[k]) && lanes(next[k]) == lanes(initial[k]),
                 "a loop's value {} changes its type", k);
  function_.blocks[size_t(block)].yields = std::move(next);
  close_block();
  const Ref owner = append(std::move(loop), int32_t(open_.size()) - 1);
  std::vector<Ref> results;
  for (size_t k = 0; k < initial.size(); ++k)
    results.push_back(append(
        {Opcode::Result, dtype(initial[k]), uint16_t(lanes(initial[k])), -1, int64_t(k), {owner}},
        int32_t(open_.size()) - 1));
  return results;
}

void Builder::for_loop(Ref lower, Ref upper, int64_t step, const std::function<void(Ref)>& body) {
  for_loop(lower, upper, step, {}, [&](Ref i, std::span<const Ref>) {
    body(i);
    return std::vector<Ref>();
  });
}

void Builder::if_then(Ref condition, const std::function<void()>& body) {
  Instruction branch{Opcode::If, DType::I64, 1, -1, 0, {condition}};
  branch.block = open_block();
  body();
  close_block();
  append(std::move(branch), int32_t(open_.size()) - 1);
}

}  // namespace cermet::compiler::loops
