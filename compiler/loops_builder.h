#pragma once
// Writes loop IR. The builder does what an optimiser would do afterwards, while it writes: equal
// pure instructions are one, integer constants fold, and a pure instruction is placed in the
// outermost block in which its operands exist, so loop invariants leave loops by themselves. LLVM's
// optimisation passes have nothing left to do and are not run.
//
// Scalar operands next to vector ones are splat. The maths functions of compiler/vecmath.h are
// templates over this interface.

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "compiler/loops.h"
#include "compiler/target.h"

namespace cermet::compiler::loops {

class Builder {
 public:
  using Value = Ref;

  Builder(Function& function, const Target& target);

  DType dtype(Ref x) const { return at(x).dtype; }
  int lanes(Ref x) const { return at(x).lanes; }
  bool has_fma() const { return target_.fma; }
  // AVX-512; GPUs have no such instructions.
  bool has_exponents() const { return target_.masked_memory && target_.compute == 0; }
  bool has_lookup() const { return has_exponents(); }
  const Target& target() const { return target_; }

  // Constants; lanes of `like`, or scalar.
  Ref constant(Ref like, DType dtype, double value);
  Ref iconstant(Ref like, DType dtype, int64_t value);
  Ref constant_bits(DType dtype, uint64_t bits, int lanes = 1);
  Ref index(int64_t value) { return constant_bits(DType::I64, uint64_t(value)); }
  // The integer a constant i64 scalar holds, or nothing.
  std::optional<int64_t> known(Ref x) const;

  Ref argument(int32_t i);  // i64; grows Function::argument_count
  Ref begin() { return pure(Opcode::Begin, DType::I64, 1, {}); }
  Ref end() { return pure(Opcode::End, DType::I64, 1, {}); }
  Ref thread() { return pure(Opcode::Thread, DType::I64, 1, {}); }
  Ref block() { return pure(Opcode::Block, DType::I64, 1, {}); }

  Ref add(Ref x, Ref y);
  Ref sub(Ref x, Ref y);
  Ref mul(Ref x, Ref y);
  Ref div(Ref x, Ref y);  // integers truncate
  Ref rem(Ref x, Ref y);
  Ref neg(Ref x) { return same(Opcode::Neg, {x}); }
  Ref fma(Ref x, Ref y, Ref z) { return same(Opcode::Fma, {x, y, z}); }
  Ref sqrt(Ref x) { return same(Opcode::Sqrt, {x}); }
  Ref scale(Ref x, Ref n) { return same(Opcode::Scale, {x, n}); }
  Ref exponent(Ref x) { return same(Opcode::Exponent, {x}); }
  Ref significand(Ref x) { return same(Opcode::Significand, {x}); }
  Ref lookup(Ref index, int row) {
    return pure(Opcode::Lookup, DType::F32, lanes(index), {index}, row);
  }
  Ref abs(Ref x) { return same(Opcode::Abs, {x}); }
  Ref floor(Ref x) { return same(Opcode::Floor, {x}); }
  Ref ceil(Ref x) { return same(Opcode::Ceil, {x}); }
  Ref trunc(Ref x) { return same(Opcode::Trunc, {x}); }
  Ref round_even(Ref x) { return same(Opcode::RoundEven, {x}); }
  Ref round_tf32(Ref x) { return same(Opcode::RoundTf32, {x}); }
  Ref div_approx(Ref x, Ref y) { return same(Opcode::DivApprox, {x, y}); }
  Ref sqrt_approx(Ref x) { return same(Opcode::SqrtApprox, {x}); }
  Ref exp2_approx(Ref x) { return same(Opcode::Exp2Approx, {x}); }
  Ref log2_approx(Ref x) { return same(Opcode::Log2Approx, {x}); }
  Ref copysign(Ref magnitude, Ref sign) { return same(Opcode::Copysign, {magnitude, sign}); }
  Ref and_(Ref x, Ref y) { return same(Opcode::And, {x, y}); }
  Ref or_(Ref x, Ref y) { return same(Opcode::Or, {x, y}); }
  Ref xor_(Ref x, Ref y) { return same(Opcode::Xor, {x, y}); }
  Ref not_(Ref x) { return same(Opcode::Not, {x}); }
  Ref shl(Ref x, Ref count) { return same(Opcode::Shl, {x, count}); }
  Ref shr(Ref x, Ref count) { return same(Opcode::Shr, {x, count}); }
  Ref lt(Ref x, Ref y) { return compare(Opcode::Lt, x, y); }
  Ref le(Ref x, Ref y) { return compare(Opcode::Le, x, y); }
  Ref gt(Ref x, Ref y) { return compare(Opcode::Gt, x, y); }
  Ref ge(Ref x, Ref y) { return compare(Opcode::Ge, x, y); }
  Ref eq(Ref x, Ref y) { return compare(Opcode::Eq, x, y); }
  Ref ne(Ref x, Ref y) { return compare(Opcode::Ne, x, y); }
  Ref select(Ref mask, Ref x, Ref y);
  Ref cast(Ref x, DType to);  // Convert
  Ref bitcast(Ref x, DType to);
  Ref min_index(Ref x, Ref y);  // of i64
  Ref max_index(Ref x, Ref y);
  // helper(x[, y]) in the lanes of mask, value elsewhere.
  Ref call_scalar(Helper helper, Ref mask, Ref value, std::span<const Ref> operands);

  Ref splat(Ref x, int lanes);  // x itself if it has that many
  Ref ramp(Ref start, int lanes);
  Ref extract(Ref x, int lane);
  // All lanes to a scalar, pairwise. op: ReduceAdd, ReduceMul, ReduceMax, ReduceMin, ReduceOr,
  // ReduceAnd.
  Ref reduce(Opcode op, Ref x);

  int32_t add_buffer(Buffer buffer);
  // Lanes of two vectors in turn: of their lower or upper halves.
  Ref zip_low(Ref x, Ref y) { return same(Opcode::ZipLow, {x, y}); }
  Ref zip_high(Ref x, Ref y) { return same(Opcode::ZipHigh, {x, y}); }
  void prefetch(int32_t buffer, Ref position, bool near = false);
  Ref load(int32_t buffer, Ref position, int lanes = 1, Ref mask = {});
  Ref gather_load(int32_t buffer, Ref positions, Ref mask = {});
  void store(int32_t buffer, Ref position, Ref value, Ref mask = {});
  void scatter_store(int32_t buffer, Ref positions, Ref value, Ref mask = {});
  void report(int64_t code, Ref mask, Ref value);
  void barrier();
  // From an f16, bf16 or, not transposed, f32 buffer in shared memory.
  Ref load_matrix(int32_t buffer, Ref position, bool transposed);
  // dtype: F16, BF16 or, for tf32, F32, of the elements in left, right0 and right1.
  Ref mma(DType dtype, Ref left, Ref right0, Ref right1, Ref sum);
  void copy_async(int32_t to, Ref to_position, int32_t from, Ref position, Ref mask = {});
  void copy_commit();
  void copy_wait(int64_t groups);
  // x of the thread of this warp whose number differs by mask.
  Ref shuffle_xor(Ref x, int64_t mask);

  // for (i = lower; i < upper; i += step) with carried values: body gets i and the carried values
  // and returns the next ones. Returns the last ones (the initial ones if the loop does not run).
  using Body = std::function<std::vector<Ref>(Ref i, std::span<const Ref> carried)>;
  std::vector<Ref> for_loop(Ref lower, Ref upper, int64_t step, std::span<const Ref> initial,
                            const Body& body);
  void for_loop(Ref lower, Ref upper, int64_t step, const std::function<void(Ref i)>& body);
  void if_then(Ref condition, const std::function<void()>& body);

 private:
  Ref& list_of(uint64_t hash) { return lists_[(hash ^ hash >> 32) & (lists_.size() - 1)]; }
  void grow();
  const Instruction& at(Ref x) const { return function_.instructions[size_t(x.id)]; }
  Ref append(Instruction instruction, int32_t block);
  Ref pure(Opcode op, DType dtype, int lanes, SmallVector<Ref, 4> operands, int64_t imm = 0);
  Ref same(Opcode op, SmallVector<Ref, 4> operands);
  Ref compare(Opcode op, Ref x, Ref y);
  void widen(SmallVector<Ref, 4>& operands);
  int32_t open_block();
  void close_block();

  Function& function_;
  Target target_;
  std::vector<int32_t> open_;              // blocks, outermost first
  std::vector<int32_t> depth_of_;          // of the block that holds an instruction, by Ref
  std::vector<std::vector<Ref>> pure_in_;  // by depth: what to forget when that block closes
  // The pure instructions of open blocks as a hash table of lists that are linked by Ref.
  struct Known {
    uint64_t hash = 0;
    Ref next;
  };
  std::vector<Ref> lists_;    // a power of two of them
  std::vector<Known> known_;  // by Ref
  size_t known_count_ = 0;
};

}  // namespace cermet::compiler::loops
