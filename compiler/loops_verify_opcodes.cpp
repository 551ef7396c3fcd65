// What each opcode's row says of its operands and its result.

#include <array>

#include "compiler/lookup_tables.h"
#include "compiler/loops_verifier.h"
#include "compiler/loops_verify.h"

namespace cermet::compiler::loops {
namespace {

constexpr std::array helper_arity = {
#define X(Enum, c_name, arity) size_t(arity),
    CERMET_LOOP_HELPERS(X)
#undef X
};

}  // namespace

bool LoopsVerifier::contains(Domain domain, DType dtype) {
  const bool real = dtype == DType::F32 || dtype == DType::F64;
  switch (domain) {
    case Domain::Number: return real || is_integer(dtype);
    case Domain::Real: return real;
    case Domain::Integer: return is_integer(dtype);
    case Domain::Logic: return is_integer(dtype) || is_bool(dtype);
    case Domain::Mask: return is_bool(dtype);
    case Domain::Any: return true;
  }
  return false;
}

std::string_view LoopsVerifier::text(Domain domain) {
  switch (domain) {
    case Domain::Number: return "integers, f32 and f64";
    case Domain::Real: return "f32 and f64";
    case Domain::Integer: return "integers";
    case Domain::Logic: return "integers and bool";
    case Domain::Mask: return "bool";
    case Domain::Any: break;
  }
  return "all";
}

std::span<const LoopsVerifier::Uniform> LoopsVerifier::uniform_opcodes() {
  // Of constants: destructors of static objects may compute, too.
  static constexpr Uniform rows[] = {
      {Opcode::Add, 2, Domain::Number},       {Opcode::Sub, 2, Domain::Number},
      {Opcode::Mul, 2, Domain::Number},       {Opcode::Div, 2, Domain::Number},
      {Opcode::Rem, 2, Domain::Integer},      {Opcode::Neg, 1, Domain::Number},
      {Opcode::Abs, 1, Domain::Number},       {Opcode::Fma, 3, Domain::Real},
      {Opcode::Sqrt, 1, Domain::Real},        {Opcode::Floor, 1, Domain::Real},
      {Opcode::Ceil, 1, Domain::Real},        {Opcode::Trunc, 1, Domain::Real},
      {Opcode::Scale, 2, Domain::Real},       {Opcode::Exponent, 1, Domain::Real},
      {Opcode::Significand, 1, Domain::Real}, {Opcode::RoundEven, 1, Domain::Real},
      {Opcode::Copysign, 2, Domain::Real},    {Opcode::And, 2, Domain::Logic},
      {Opcode::Or, 2, Domain::Logic},         {Opcode::Xor, 2, Domain::Logic},
      {Opcode::Not, 1, Domain::Logic},        {Opcode::Shl, 2, Domain::Integer},
      {Opcode::Shr, 2, Domain::Integer},
  };
  return rows;
}

bool LoopsVerifier::count(Ref r, size_t least, size_t most) {
  const size_t n = at(r).operands.size();
  if (n >= least && n <= most) return true;
  bad(r, "has {} operands", n);
  return false;
}

bool LoopsVerifier::expect(Ref r, size_t operand, DType dtype, int lanes) {
  const Instruction& x = at(at(r).operands[operand]);
  if (x.dtype == dtype && x.lanes == lanes) return true;
  bad(r, "operand {} is {}, must be {}", operand, type(x.dtype, x.lanes), type(dtype, lanes));
  return false;
}

bool LoopsVerifier::in(Ref r, Domain domain, DType dtype) {
  if (contains(domain, dtype)) return true;
  bad(r, "is for {}, not {}", text(domain), name(dtype));
  return false;
}

void LoopsVerifier::check_uniform(Ref r, size_t operands, Domain domain) {
  const Instruction& i = at(r);
  if (!count(r, operands, operands) || !in(r, domain, i.dtype)) return;
  for (size_t k = 0; k < operands; ++k) expect(r, k, i.dtype, i.lanes);
}

void LoopsVerifier::check_single(Ref r, size_t operands) {
  const Instruction& i = at(r);
  if (i.dtype != DType::F32) return bad(r, "is for f32, not {}", name(i.dtype));
  if (!count(r, operands, operands)) return;
  for (size_t k = 0; k < operands; ++k) expect(r, k, DType::F32, i.lanes);
}

void LoopsVerifier::check_other(Ref r, int depth) {
  const Instruction& i = at(r);
  switch (i.op) {
    case Opcode::Constant: return check_constant(r);
    case Opcode::Argument:
      if (i.imm < 0 || i.imm >= f_.argument_count)
        bad(r, "{} of {} arguments", i.imm, f_.argument_count);
      return check_index(r);
    case Opcode::Begin:
    case Opcode::End: return on_cpu(r), check_index(r);
    case Opcode::Prefetch:
    case Opcode::PrefetchNear: return on_cpu(r), check_access(r);
    case Opcode::ZipLow:
    case Opcode::ZipHigh:
      on_cpu(r);
      if (i.lanes < 2) bad(r, "of one lane");
      if (count(r, 2, 2)) expect(r, 0, i.dtype, i.lanes), expect(r, 1, i.dtype, i.lanes);
      return;
    case Opcode::Lookup:
      on_cpu(r);
      if (i.dtype != DType::F32) bad(r, "is for f32, not {}", name(i.dtype));
      if (i.imm < 0 || size_t(i.imm) >= std::size(lookup_rows))
        bad(r, "row {} of {}", i.imm, std::size(lookup_rows));
      if (count(r, 1, 1)) expect(r, 0, DType::I32, i.lanes);
      return;
    case Opcode::Thread:
    case Opcode::Block: return on_gpu(r), check_index(r);
    case Opcode::Barrier: return on_gpu(r), void(count(r, 0, 0));
    case Opcode::ShuffleXor:
      on_gpu(r);
      if (i.imm <= 0 || i.imm >= warp_threads) bad(r, "by {} threads", i.imm);
      if (count(r, 1, 1)) expect(r, 0, i.dtype, i.lanes);
      return;
    case Opcode::LoadMatrix:
    case Opcode::LoadMatrixTransposed:
    case Opcode::CopyAsync: return on_gpu(r), check_shared_access(r);
    case Opcode::Mma: return on_gpu(r), check_mma(r);
    case Opcode::RoundTf32:
    case Opcode::SqrtApprox:
    case Opcode::Exp2Approx:
    case Opcode::Log2Approx: return on_gpu(r), check_single(r, 1);
    case Opcode::DivApprox: return on_gpu(r), check_single(r, 2);
    case Opcode::CopyCommit: return on_gpu(r), void(count(r, 0, 0));
    case Opcode::CopyWait:
      if (i.imm < 0) bad(r, "for {} groups", i.imm);
      return on_gpu(r), void(count(r, 0, 0));
    case Opcode::BlockParameter: return bad(r, "stands between instructions");
    case Opcode::Lt:
    case Opcode::Le:
    case Opcode::Gt:
    case Opcode::Ge:
    case Opcode::Eq:
    case Opcode::Ne: return check_compare(r);
    case Opcode::Select:
      if (count(r, 3, 3) && expect(r, 0, DType::Bool, i.lanes))
        expect(r, 1, i.dtype, i.lanes), expect(r, 2, i.dtype, i.lanes);
      return;
    case Opcode::Convert:
    case Opcode::Bitcast: return check_conversion(r);
    case Opcode::Splat:
      if (count(r, 1, 1)) expect(r, 0, i.dtype, 1);
      return;
    case Opcode::Ramp:
      if (i.dtype != DType::I64) bad(r, "is {}, must be i64", name(i.dtype));
      if (count(r, 1, 1)) expect(r, 0, DType::I64, 1);
      return;
    case Opcode::Extract: return check_extract(r);
    case Opcode::ReduceAdd:
    case Opcode::ReduceMul:
    case Opcode::ReduceMax:
    case Opcode::ReduceMin: return check_reduction(r, Domain::Number);
    case Opcode::ReduceOr:
    case Opcode::ReduceAnd: return check_reduction(r, Domain::Mask);
    case Opcode::Load:
    case Opcode::GatherLoad:
    case Opcode::Store:
    case Opcode::ScatterStore: return check_access(r);
    case Opcode::Report:
      if (i.imm == 0) bad(r, "code 0 means no error");
      if (count(r, 2, 2)) expect(r, 0, DType::Bool, i.lanes), expect(r, 1, DType::I64, i.lanes);
      return;
    case Opcode::CallScalar: return check_call(r);
    case Opcode::For:
    case Opcode::If: return check_structure(r, depth);
    case Opcode::Result: return check_result(r);
    default: return bad(r, "has no rule");
  }
}

void LoopsVerifier::on_cpu(Ref r) {
  if (f_.threads > 0) bad(r, "is for the CPU");
}
void LoopsVerifier::on_gpu(Ref r) {
  if (f_.threads == 0) bad(r, "is for a GPU");
}

void LoopsVerifier::check_index(Ref r) {
  count(r, 0, 0);
  if (at(r).dtype != DType::I64 || at(r).lanes != 1) bad(r, "is {}, must be i64", type_of(r));
}

void LoopsVerifier::check_constant(Ref r) {
  const Instruction& i = at(r);
  count(r, 0, 0);
  const int bits = is_bool(i.dtype) ? 1 : bits_of(i.dtype);
  if (bits < 64 && uint64_t(i.imm) >> bits != 0)
    bad(r, "{:#x} has more bits than {}", uint64_t(i.imm), name(i.dtype));
}

void LoopsVerifier::check_compare(Ref r) {
  const Instruction& i = at(r);
  if (i.dtype != DType::Bool) bad(r, "is {}, must be bool", name(i.dtype));
  if (!count(r, 2, 2)) return;
  const DType dtype = at(i.operands[0]).dtype;
  if (dtype != DType::Bool) in(r, Domain::Number, dtype);
  expect(r, 0, dtype, i.lanes), expect(r, 1, dtype, i.lanes);
}

void LoopsVerifier::check_conversion(Ref r) {
  const Instruction& i = at(r);
  if (!count(r, 1, 1)) return;
  const DType from = at(i.operands[0]).dtype;
  expect(r, 0, from, i.lanes);
  if (i.op == Opcode::Bitcast && size_of(from) != size_of(i.dtype))
    bad(r, "{} and {} differ in size", name(from), name(i.dtype));
}

void LoopsVerifier::check_extract(Ref r) {
  const Instruction& i = at(r);
  if (!count(r, 1, 1)) return;
  const int lanes = at(i.operands[0]).lanes;
  expect(r, 0, i.dtype, lanes);
  if (i.lanes != 1) bad(r, "is {}, must be one lane", type_of(r));
  if (i.imm < 0 || i.imm >= lanes) bad(r, "lane {} of {}", i.imm, lanes);
}

void LoopsVerifier::check_reduction(Ref r, Domain domain) {
  const Instruction& i = at(r);
  if (!count(r, 1, 1) || !in(r, domain, i.dtype)) return;
  expect(r, 0, i.dtype, at(i.operands[0]).lanes);
  if (i.lanes != 1) bad(r, "is {}, must be one lane", type_of(r));
}

void LoopsVerifier::check_access(Ref r) {
  const Instruction& i = at(r);
  if (i.imm < 0 || size_t(i.imm) >= f_.buffers.size())
    return bad(r, "buffer {} of {}", i.imm, f_.buffers.size());
  const Buffer& b = f_.buffers[size_t(i.imm)];
  if (!is_dtype(b.dtype)) return;
  if (b.dtype != i.dtype) bad(r, "is {}, buffer {} holds {}", name(i.dtype), i.imm, name(b.dtype));
  if (b.kind == Buffer::Kind::Scratch) check_offset(r, b);
  const bool store = i.op == Opcode::Store || i.op == Opcode::ScatterStore;
  const bool scattered = i.op == Opcode::GatherLoad || i.op == Opcode::ScatterStore;
  const size_t least = store ? 2 : 1;
  if (store && !b.written) bad(r, "buffer {} is declared as never written", i.imm);
  if (!store && b.streamed) bad(r, "buffer {} is streamed, which is never loaded", i.imm);
  if (!count(r, least, least + 1)) return;
  expect(r, 0, DType::I64, scattered ? int(i.lanes) : 1);
  if (store) expect(r, 1, i.dtype, i.lanes);
  if (i.operands.size() > least) expect(r, least, DType::Bool, i.lanes);
}

// What threads copy into, or read as matrices from, their block's shared memory.
void LoopsVerifier::check_shared_access(Ref r) {
  const Instruction& i = at(r);
  const bool copy = i.op == Opcode::CopyAsync;
  const uint64_t to = uint64_t(i.imm) & 0xffffffff, from = uint64_t(i.imm) >> 32;
  if (to >= f_.buffers.size() || from >= f_.buffers.size())
    return bad(r, "buffers {} and {} of {}", to, from, f_.buffers.size());
  const Buffer& b = f_.buffers[to];
  if (!is_dtype(b.dtype)) return;
  if (b.kind != Buffer::Kind::Scratch) return bad(r, "buffer {} is not shared memory", to);
  check_offset(r, b);
  if (copy) {
    if (!b.written) bad(r, "buffer {} is declared as never written", to);
    if (b.dtype != i.dtype || f_.buffers[from].dtype != i.dtype)
      bad(r, "is {}, buffers {} and {} are not", name(i.dtype), to, from);
    if (f_.buffers[from].kind != Buffer::Kind::Argument) bad(r, "buffer {} is no argument", from);
    if (i.lanes * size_of(i.dtype) != 16) bad(r, "is {}, must be 16 bytes", type_of(r));
    if (!count(r, 2, 3)) return;
    expect(r, 0, DType::I64, 1), expect(r, 1, DType::I64, 1);
    if (i.operands.size() > 2) expect(r, 2, DType::Bool, 1);
    return;
  }
  const bool words = b.dtype == DType::F32 && i.op == Opcode::LoadMatrix;
  if (b.dtype != DType::F16 && b.dtype != DType::BF16 && !words)
    bad(r, "is for f16 and bf16, not {}", name(b.dtype));
  if (i.dtype != DType::U32 || i.lanes != 4) bad(r, "is {}, must be u32x4", type_of(r));
  if (count(r, 1, 1)) expect(r, 0, DType::I64, 1);
}

void LoopsVerifier::check_mma(Ref r) {
  const Instruction& i = at(r);
  if (i.imm < 0 || i.imm > 2) bad(r, "of kind {}", i.imm);
  if (i.dtype != DType::F32 || i.lanes != 4) bad(r, "is {}, must be f32x4", type_of(r));
  if (!count(r, 4, 4)) return;
  expect(r, 0, DType::U32, 4), expect(r, 1, DType::U32, 1), expect(r, 2, DType::U32, 1);
  expect(r, 3, DType::F32, 4);
}

void LoopsVerifier::check_call(Ref r) {
  const Instruction& i = at(r);
  if (i.imm < 0 || size_t(i.imm) >= helper_arity.size())
    return bad(r, "helper {} of {}", i.imm, helper_arity.size());
  const size_t arity = helper_arity[size_t(i.imm)];
  if (!count(r, 2 + arity, 2 + arity) || !in(r, Domain::Real, i.dtype)) return;
  expect(r, 0, DType::Bool, i.lanes);
  for (size_t k = 1; k < 2 + arity; ++k) expect(r, k, i.dtype, i.lanes);
}

}  // namespace cermet::compiler::loops
