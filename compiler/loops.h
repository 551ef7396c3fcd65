#pragma once
// The loop IR: one kernel as structured loops over typed scalars and short vectors. It is what both
// code generators print (compiler/llvm/ as LLVM IR, compiler/cuda/ as CUDA C), and its text is the
// kernel's cache key, so it never holds an extent, a stride or a scalar of the user unless the
// lowering chose to specialise on it.
//
// A function is either for the CPU: called with a part of the parallel range, [begin, end); or,
// with `threads` > 0, for a GPU: run by `threads` threads of every block of a grid, which take the
// range apart by themselves with thread and block.
//
// Instructions are SSA: each is defined once, before its uses, in the same block or one around it.
// Loops carry values: a For has initial values, its body's parameters stand for them and its body
// yields the next ones; the For's results are the last ones.
//
// Invariants (verified by verify_loops):
//   - operand dtypes and lane counts are exactly what the opcode's row says; nothing is implicit
//   - masks are Bool with the lanes of what they guard
//   - memory is reached through buffers only; positions count elements; nothing proves bounds here
//   - f16 and bf16 are only moved (loaded, stored, selected, carried) and converted
//   - a value has a power of two of lanes
//   - pure instructions may be moved to any block in which their operands are visible

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cermet/dtype.h"
#include "cermet/small_vector.h"

namespace cermet::compiler::loops {

// Legend: X(Enum, text, class). Classes: Pure: no effect, no memory; Memory: reads or writes a
// buffer; Structure: owns blocks.
//
// Constant        imm: the element's bits, splat over the lanes
// Argument        imm: index into the kernel's int64 arguments (i64 scalar)
// Begin, End      i64: the part of the parallel range this call is to do; CPU only
// Thread, Block   i64: the number of this thread in its block, of this block in the grid; GPU only
// BlockParameter  a For's induction variable (i64; first) or a carried value
// Add .. Select   lane by lane
//   Div, Rem      integers truncate and require a divisor that is neither 0 nor gives overflow
//   Fma           one rounding; for targets that have it
//   Scale         of f32 and f64, as the next two, on CPUs with AVX-512: x * 2^floor(n); one
//                 rounding
//   Exponent      floor(log2 |x|), -infinity for 0
//   Significand   x / 2^k in [3/4, 3/2) for some k; of infinity 1, of negative numbers NaN
// Lookup          imm: row of compiler/lookup_tables.h; operand: i32; f32, the number of the row
//                 that the low five bits say; on CPUs with AVX-512
//   Shl, Shr      counts below the width; Shr is arithmetic for signed integers
//   Lt .. Ne      to Bool; false on NaN, but for Ne
//   And .. Not    integers and Bool
// Convert         to this dtype as C++ does; a float must be representable in the integer dtype; to
//                 f16 and bf16 rounds once, to nearest even; from Bool 0 or 1; to Bool is != 0
// Bitcast         same size
// Splat           scalar -> lanes
// Ramp            scalar i64 -> x, x+1, x+2, ...
// Extract         imm: the lane
// ZipLow, ZipHigh of two vectors x, y: x0, y0, x1, y1, ... of their lower or upper halves; CPU only
// ReduceAdd, ..   all lanes to a scalar, pairwise: halves are combined until one lane is left
//   ReduceMax/Min as the ops maximum and minimum do: NaN if either is NaN, else (x < y ? y : x) and
//                 (y < x ? y : x)
// ReduceOr/And    of Bool lanes
// Load            imm: buffer; operands: position (i64 scalar) [, mask]: `lanes` consecutive
//                 elements, 0 where masked; on a GPU the position is a multiple of the lanes
// GatherLoad      imm: buffer; operands: positions (i64 lanes) [, mask]
// Store           imm: buffer; operands: position, value [, mask]
// ScatterStore    imm: buffer; operands: positions, value [, mask]; lanes in order, so the last of
//                 equal positions wins
// Prefetch        imm: buffer; operand: position, which need not exist: its cache line will be
//                 used; CPU only; into the second cache
// PrefetchNear    the same into the first
// Report          imm: code, not 0; operands: mask, i64 value: for the first set lane, if the error
//                 cell is empty, records (code, value) atomically; the kernel goes on
// CallScalar      imm: Helper; operands: mask, value, x [, y]: helper(x[, y]) in the lanes of mask,
//                 value elsewhere; for rare cases that are too long to inline; skipped when no lane
//                 is set
// Barrier         all threads of the block wait for each other and see each other's writes; GPU
//                 only
// ShuffleXor      imm: mask; the operand's value in the thread of this warp whose number differs
//                 by mask; every thread of the warp takes part; GPU only
// RoundTf32       f32 with 10 bits after the leading one, the nearest; ties away from zero; from
//                 sm_80 on
// DivApprox, SqrtApprox, Exp2Approx, Log2Approx
//                 of f32, within a few ulp as the PTX ISA says of div, sqrt, ex2 and lg2 with
//                 .approx.ftz: subnormal numbers are zeros, and so is x / y for y of 2^126 and more
// LoadMatrix      imm: buffer, of f16, bf16 or f32; operand: position; u32 x 4: four matrices of
//                 eight lines of 16 bytes, those of matrix m at the positions of threads 8m to 8m +
//                 7 of the warp, 4 bytes of each in every thread as the PTX ISA's ldmatrix says;
//                 GPU only
// LoadMatrixTransposed  the same of f16 and bf16, with lines and columns exchanged on the way
// Mma             imm: 0 f16, 1 bf16, 2 tf32; operands: u32 x 4 and two u32, matrices of 16 x 16
//                 and 16 x 8 (tf32: 16 x 8 and 8 x 8), and f32 x 4; their product added to the
//                 last, over the whole warp, as mma.m16n8k16 (tf32: k8) does; f16 from sm_75, the
//                 others from sm_80 on
// CopyAsync       imm: scratch buffer, and << 32 the buffer it is copied from; operands: position,
//                 position there [, mask]: `lanes` elements of 16 bytes, zeros where masked; they
//                 are there after a CopyWait; from sm_80 on, as are the next two
// CopyCommit      the copies of this thread since the last one are a group
// CopyWait        imm: until at most so many groups of this thread are not done
// For             operands: lower, upper (i64), initial values...; imm: step > 0; one block
// If              operand: Bool scalar; one block; no results
// Result          operand: a For; imm: which carried value
#define CERMET_LOOP_OPCODES(X)                                                                    \
  X(Constant, const, Pure) X(Argument, arg, Pure) X(Begin, begin, Pure) X(End, end, Pure)           \
  X(Thread, thread, Pure) X(Block, block, Pure)  \
  X(BlockParameter, param, Pure)                                                                    \
  X(Add, add, Pure) X(Sub, sub, Pure) X(Mul, mul, Pure) X(Div, div, Pure) X(Rem, rem, Pure)         \
  X(Neg, neg, Pure) X(Abs, abs, Pure) X(Fma, fma, Pure) X(Sqrt, sqrt, Pure)                         \
  X(Floor, floor, Pure) X(Ceil, ceil, Pure) X(Trunc, trunc, Pure) X(RoundEven, round_even, Pure)    \
  X(Scale, scale, Pure) X(Exponent, exponent, Pure) X(Significand, significand, Pure)               \
  X(Lookup, lookup, Pure)                                                                           \
  X(Copysign, copysign, Pure) X(RoundTf32, round_tf32, Pure)                                        \
  X(DivApprox, div_approx, Pure) X(SqrtApprox, sqrt_approx, Pure)                                   \
  X(Exp2Approx, exp2_approx, Pure) X(Log2Approx, log2_approx, Pure)                                 \
  X(And, and, Pure) X(Or, or, Pure) X(Xor, xor, Pure) X(Not, not, Pure)                             \
  X(Shl, shl, Pure) X(Shr, shr, Pure)                                                               \
  X(Lt, lt, Pure) X(Le, le, Pure) X(Gt, gt, Pure) X(Ge, ge, Pure) X(Eq, eq, Pure) X(Ne, ne, Pure)   \
  X(Select, select, Pure) X(Convert, convert, Pure) X(Bitcast, bitcast, Pure)                       \
  X(Splat, splat, Pure) X(Ramp, ramp, Pure) X(Extract, extract, Pure)                               \
  X(ZipLow, zip_low, Pure) X(ZipHigh, zip_high, Pure)                                               \
  X(ReduceAdd, reduce_add, Pure) X(ReduceMul, reduce_mul, Pure)                                     \
  X(ReduceMax, reduce_max, Pure) X(ReduceMin, reduce_min, Pure)                                     \
  X(ReduceOr, reduce_or, Pure) X(ReduceAnd, reduce_and, Pure)                                       \
  X(Load, load, Memory) X(GatherLoad, gather_load, Memory)                                          \
  X(Store, store, Memory) X(ScatterStore, scatter_store, Memory)                                    \
  X(Prefetch, prefetch, Memory) X(PrefetchNear, prefetch_near, Memory)                                                                     \
  X(Report, report, Memory) X(CallScalar, call, Pure)  \
  X(Barrier, barrier, Memory)                                             \
  X(ShuffleXor, shuffle_xor, Memory)                                                 \
  X(LoadMatrix, load_matrix, Memory) X(LoadMatrixTransposed, load_matrix_transposed, Memory)        \
  X(Mma, mma, Memory) X(CopyAsync, copy_async, Memory) X(CopyCommit, copy_commit, Memory)           \
  X(CopyWait, copy_wait, Memory)                                                                    \
  X(For, for, Structure) X(If, if, Structure) X(Result, result, Pure)

enum class Opcode : uint8_t {
#define X(Enum, ...) Enum,
  CERMET_LOOP_OPCODES(X)
#undef X
};
enum class OpcodeClass : uint8_t { Pure, Memory, Structure };
std::string_view name(Opcode op);
OpcodeClass class_of(Opcode op);
bool has_value(Opcode op);  // whether its result has a name; a For's stands for what it carries

// Functions that kernels reach through a table of pointers the runtime passes in; index =
// enumerator. Legend: X(Enum, C name, arity); each exists for f64; f32 operands are widened.
#define CERMET_LOOP_HELPERS(X) X(Fmod, fmod, 2) X(Sin, sin, 1) X(Cos, cos, 1) X(Tan, tan, 1)
enum class Helper : uint8_t {
#define X(Enum, ...) Enum,
  CERMET_LOOP_HELPERS(X)
#undef X
};

// An instruction's index in Function::instructions.
struct Ref {
  int32_t id = -1;
  explicit operator bool() const { return id >= 0; }
  friend bool operator==(Ref, Ref) = default;
};

struct Instruction {
  Opcode op;
  DType dtype = DType::I64;  // of the result; Store, Report, For and If have none
  uint16_t lanes = 1;
  int32_t block = -1;  // For, If: the index of the body
  int64_t imm = 0;
  SmallVector<Ref, 4> operands;
};

struct Block {
  std::vector<Ref> parameters;    // For: induction variable, carried values
  std::vector<Ref> instructions;  // in order
  std::vector<Ref> yields;        // For: the next carried values
};

// Where elements live. Argument: a pointer passed to the kernel, `index` says which; Scratch:
// memory of this worker (on a GPU: the block's shared memory), at a byte offset that is a multiple
// of 64; Local: on the stack, `elements` of them, CPU only.
struct Buffer {
  enum class Kind : uint8_t { Argument, Scratch, Local };
  Kind kind = Kind::Argument;
  DType dtype = DType::F32;
  bool written = false;   // some Store goes here
  bool restrict_ = true;  // no other buffer of the kernel overlaps it
  int32_t index = 0;      // Argument: which
  int64_t elements = 0;   // Local: how many
  Ref offset = {};        // Scratch: i64 scalar, in bytes
  // CPU only: unmasked vectors are stored past the caches. Their positions are multiples of their
  // lanes, the buffer starts at a multiple of 64 bytes, and nothing is loaded from it.
  bool streamed = false;
};

struct Function {
  std::string name;            // of the symbol; an identifier, not part of the text
  int32_t argument_count = 0;  // int64 arguments
  int32_t threads = 0;         // of a block; 0: a function for the CPU
  // GPU: the width that was proven to hold every index (compiler/index_width.h); 0: none was.
  int32_t index_bits = 0;
  // GPU: how many blocks shall fit on one multiprocessor, which limits the registers of a thread.
  int32_t resident = 1;
  std::vector<Buffer> buffers;
  std::vector<Instruction> instructions;
  std::vector<Block> blocks;  // blocks[0] is the kernel's body
};

}  // namespace cermet::compiler::loops
