#include "compiler/loops_verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

namespace cermet::compiler::loops {
namespace {

// Which dtypes an opcode computes with.
enum class Domain : uint8_t { Number, Real, Integer, Logic, Mask, Any };

bool contains(Domain domain, DType dtype) {
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

std::string_view text(Domain domain) {
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

// Opcodes whose operands and result have one dtype and one lane count.
struct Uniform {
  Opcode op;
  size_t operands;
  Domain domain;
};
constexpr auto uniform_opcodes = std::to_array<Uniform>({
    {Opcode::Add, 2, Domain::Number},     {Opcode::Sub, 2, Domain::Number},
    {Opcode::Mul, 2, Domain::Number},     {Opcode::Div, 2, Domain::Number},
    {Opcode::Rem, 2, Domain::Integer},    {Opcode::Neg, 1, Domain::Number},
    {Opcode::Abs, 1, Domain::Number},     {Opcode::Fma, 3, Domain::Real},
    {Opcode::Sqrt, 1, Domain::Real},      {Opcode::Floor, 1, Domain::Real},
    {Opcode::Ceil, 1, Domain::Real},      {Opcode::Trunc, 1, Domain::Real},
    {Opcode::RoundEven, 1, Domain::Real}, {Opcode::Copysign, 2, Domain::Real},
    {Opcode::And, 2, Domain::Logic},      {Opcode::Or, 2, Domain::Logic},
    {Opcode::Xor, 2, Domain::Logic},      {Opcode::Not, 1, Domain::Logic},
    {Opcode::Shl, 2, Domain::Integer},    {Opcode::Shr, 2, Domain::Integer},
});

constexpr std::array helper_arity = {
#define X(Enum, c_name, arity) size_t(arity),
    CERMET_LOOP_HELPERS(X)
#undef X
};

bool is_valid_name(std::string_view name) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && is_letter(name[0]) && std::ranges::all_of(name, [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '.';
  });
}

class Verifier {
 public:
  explicit Verifier(const Function& function)
      : f_(function),
        visible_(function.instructions.size()),
        placed_(function.instructions.size()),
        block_seen_(function.blocks.size()) {}

  std::vector<std::string> run() {
    if (!is_valid_name(f_.name)) wrong("the name \"{}\" is no identifier", f_.name);
    check_buffers();
    if (f_.threads < 0 || f_.threads > most_threads) wrong("{} threads in a block", f_.threads);
    if (f_.index_bits != 0 && f_.index_bits != 32 && f_.index_bits != 64)
      wrong("indices of {} bits", f_.index_bits);
    if (f_.resident < 1 || int64_t(f_.resident) * f_.threads > most_resident_threads)
      wrong("{} blocks of {} threads at once", f_.resident, f_.threads);
    if (f_.blocks.empty()) {
      wrong("there is no block");
      return std::move(wrong_);
    }
    if (!f_.blocks[0].parameters.empty() || !f_.blocks[0].yields.empty())
      wrong("the kernel's body has parameters or yields");
    check_block(0, 0);
    for (size_t id = 0; id < placed_.size(); ++id)
      if (!placed_[id]) wrong("%{} is in no block", id);
    for (size_t k = 0; k < block_seen_.size(); ++k)
      if (!block_seen_[k]) wrong("block {} belongs to nothing", k);
    return std::move(wrong_);
  }

 private:
  template <class... Args>
  void wrong(fmt::format_string<Args...> format, Args&&... args) {
    wrong_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void bad(Ref ref, fmt::format_string<Args...> format, Args&&... args) {
    wrong_.push_back(fmt::format("%{} {}: {}", ref.id, opcode_name(at(ref).op),
                                 fmt::format(format, std::forward<Args>(args)...)));
  }

  bool exists(Ref r) const { return r.id >= 0 && size_t(r.id) < f_.instructions.size(); }
  const Instruction& at(Ref r) const { return f_.instructions[size_t(r.id)]; }
  static bool is_opcode(Opcode op) { return op <= Opcode::Result; }
  static std::string opcode_name(Opcode op) {
    return is_opcode(op) ? std::string(name(op)) : fmt::format("opcode {}", int(op));
  }
  static bool is_dtype(DType dtype) { return size_t(dtype) < all_dtypes.size(); }
  static std::string type(DType dtype, int lanes) {
    return lanes == 1 ? std::string(name(dtype)) : fmt::format("{}x{}", name(dtype), lanes);
  }
  std::string type_of(Ref r) const { return type(at(r).dtype, at(r).lanes); }

  void check_buffers() {
    int64_t local = 0;
    for (size_t k = 0; k < f_.buffers.size(); ++k) {
      const Buffer& b = f_.buffers[k];
      if (!is_dtype(b.dtype) || b.kind > Buffer::Kind::Local) {
        wrong("buffer {} has no known kind and dtype", k);
        continue;
      }
      if (b.kind == Buffer::Kind::Argument && b.index < 0)
        wrong("buffer {} is argument {}", k, b.index);
      if (b.kind == Buffer::Kind::Scratch && !exists(b.offset))
        wrong("buffer {} has no offset into the scratch memory", k);
      if (b.kind != Buffer::Kind::Local) continue;
      if (f_.threads > 0) wrong("buffer {} is on the stack of a GPU's thread", k);
      if (b.elements <= 0 || b.elements > most_local_bytes) {
        wrong("buffer {} has {} elements on the stack", k, b.elements);
      } else {
        local += b.elements * int64_t(size_of(b.dtype));
      }
    }
    if (local > most_local_bytes)
      wrong("{} bytes on the stack are more than {}", local, most_local_bytes);
  }

  void check_block(int32_t index, int depth) {
    const Block& block = f_.blocks[size_t(index)];
    block_seen_[size_t(index)] = true;
    std::vector<Ref> defined;
    const auto define = [&](Ref r) {
      visible_[size_t(r.id)] = true;
      defined.push_back(r);
    };
    for (Ref r : block.parameters)
      if (place(r, index)) define(r);
    for (Ref r : block.instructions) {
      if (!place(r, index)) continue;
      check_instruction(r, depth);
      define(r);
    }
    for (Ref r : block.yields)
      if (!exists(r) || !visible_[size_t(r.id)])
        wrong("block {} yields %{}, which is not visible there", index, r.id);
    for (Ref r : defined) visible_[size_t(r.id)] = false;
  }

  bool place(Ref r, int32_t block) {
    if (!exists(r)) {
      wrong("block {} holds %{}, there are {} instructions", block, r.id, f_.instructions.size());
      return false;
    }
    if (placed_[size_t(r.id)]) {
      bad(r, "is in more than one place");
      return false;
    }
    placed_[size_t(r.id)] = true;
    const Instruction& i = at(r);
    if (!is_opcode(i.op) || !is_dtype(i.dtype)) {
      bad(r, "opcode and dtype are not known");
      return false;
    }
    if (!std::has_single_bit(unsigned(i.lanes)) || i.lanes > most_lanes) {
      bad(r, "{} lanes are no power of two up to {}", i.lanes, most_lanes);
      return false;
    }
    return true;
  }

  void check_instruction(Ref r, int depth) {
    const Instruction& i = at(r);
    for (Ref operand : i.operands) {
      if (!exists(operand) || !visible_[size_t(operand.id)])
        return bad(r, "%{} is not visible here", operand.id);
      const Opcode op = at(operand).op;
      const bool no_value = !has_value(op) || op == Opcode::For;
      if (no_value && i.op != Opcode::Result) return bad(r, "%{} has no value", operand.id);
    }
    for (const Uniform& row : uniform_opcodes)
      if (row.op == i.op) return check_uniform(r, row.operands, row.domain);
    check_other(r, depth);
  }

  bool count(Ref r, size_t least, size_t most) {
    const size_t n = at(r).operands.size();
    if (n >= least && n <= most) return true;
    bad(r, "has {} operands", n);
    return false;
  }
  bool expect(Ref r, size_t operand, DType dtype, int lanes) {
    const Instruction& x = at(at(r).operands[operand]);
    if (x.dtype == dtype && x.lanes == lanes) return true;
    bad(r, "operand {} is {}, must be {}", operand, type(x.dtype, x.lanes), type(dtype, lanes));
    return false;
  }
  bool in(Ref r, Domain domain, DType dtype) {
    if (contains(domain, dtype)) return true;
    bad(r, "is for {}, not {}", text(domain), name(dtype));
    return false;
  }

  void check_uniform(Ref r, size_t operands, Domain domain) {
    const Instruction& i = at(r);
    if (!count(r, operands, operands) || !in(r, domain, i.dtype)) return;
    for (size_t k = 0; k < operands; ++k) expect(r, k, i.dtype, i.lanes);
  }

  void check_single(Ref r, size_t operands) {
    const Instruction& i = at(r);
    if (i.dtype != DType::F32) return bad(r, "is for f32, not {}", name(i.dtype));
    if (!count(r, operands, operands)) return;
    for (size_t k = 0; k < operands; ++k) expect(r, k, DType::F32, i.lanes);
  }

  void check_other(Ref r, int depth) {
    const Instruction& i = at(r);
    switch (i.op) {
      case Opcode::Constant: return check_constant(r);
      case Opcode::Argument:
        if (i.imm < 0 || i.imm >= f_.argument_count)
          bad(r, "{} of {} arguments", i.imm, f_.argument_count);
        return check_index(r);
      case Opcode::Begin:
      case Opcode::End:
        if (f_.threads > 0) bad(r, "is for the CPU");
        return check_index(r);
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

  void on_gpu(Ref r) {
    if (f_.threads == 0) bad(r, "is for a GPU");
  }

  void check_index(Ref r) {
    count(r, 0, 0);
    if (at(r).dtype != DType::I64 || at(r).lanes != 1) bad(r, "is {}, must be i64", type_of(r));
  }

  void check_constant(Ref r) {
    const Instruction& i = at(r);
    count(r, 0, 0);
    const int bits = is_bool(i.dtype) ? 1 : bits_of(i.dtype);
    if (bits < 64 && uint64_t(i.imm) >> bits != 0)
      bad(r, "{:#x} has more bits than {}", uint64_t(i.imm), name(i.dtype));
  }

  void check_compare(Ref r) {
    const Instruction& i = at(r);
    if (i.dtype != DType::Bool) bad(r, "is {}, must be bool", name(i.dtype));
    if (!count(r, 2, 2)) return;
    const DType dtype = at(i.operands[0]).dtype;
    if (dtype != DType::Bool) in(r, Domain::Number, dtype);
    expect(r, 0, dtype, i.lanes), expect(r, 1, dtype, i.lanes);
  }

  void check_conversion(Ref r) {
    const Instruction& i = at(r);
    if (!count(r, 1, 1)) return;
    const DType from = at(i.operands[0]).dtype;
    expect(r, 0, from, i.lanes);
    if (i.op == Opcode::Bitcast && size_of(from) != size_of(i.dtype))
      bad(r, "{} and {} differ in size", name(from), name(i.dtype));
  }

  void check_extract(Ref r) {
    const Instruction& i = at(r);
    if (!count(r, 1, 1)) return;
    const int lanes = at(i.operands[0]).lanes;
    expect(r, 0, i.dtype, lanes);
    if (i.lanes != 1) bad(r, "is {}, must be one lane", type_of(r));
    if (i.imm < 0 || i.imm >= lanes) bad(r, "lane {} of {}", i.imm, lanes);
  }

  void check_reduction(Ref r, Domain domain) {
    const Instruction& i = at(r);
    if (!count(r, 1, 1) || !in(r, domain, i.dtype)) return;
    expect(r, 0, i.dtype, at(i.operands[0]).lanes);
    if (i.lanes != 1) bad(r, "is {}, must be one lane", type_of(r));
  }

  void check_access(Ref r) {
    const Instruction& i = at(r);
    if (i.imm < 0 || size_t(i.imm) >= f_.buffers.size())
      return bad(r, "buffer {} of {}", i.imm, f_.buffers.size());
    const Buffer& b = f_.buffers[size_t(i.imm)];
    if (!is_dtype(b.dtype)) return;
    if (b.dtype != i.dtype)
      bad(r, "is {}, buffer {} holds {}", name(i.dtype), i.imm, name(b.dtype));
    if (b.kind == Buffer::Kind::Scratch) check_offset(r, b);
    const bool store = i.op == Opcode::Store || i.op == Opcode::ScatterStore;
    const bool scattered = i.op == Opcode::GatherLoad || i.op == Opcode::ScatterStore;
    const size_t least = store ? 2 : 1;
    if (store && !b.written) bad(r, "buffer {} is declared as never written", i.imm);
    if (!count(r, least, least + 1)) return;
    expect(r, 0, DType::I64, scattered ? int(i.lanes) : 1);
    if (store) expect(r, 1, i.dtype, i.lanes);
    if (i.operands.size() > least) expect(r, least, DType::Bool, i.lanes);
  }

  // What threads copy into, or read as matrices from, their block's shared memory.
  void check_shared_access(Ref r) {
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

  void check_mma(Ref r) {
    const Instruction& i = at(r);
    if (i.imm < 0 || i.imm > 2) bad(r, "of kind {}", i.imm);
    if (i.dtype != DType::F32 || i.lanes != 4) bad(r, "is {}, must be f32x4", type_of(r));
    if (!count(r, 4, 4)) return;
    expect(r, 0, DType::U32, 4), expect(r, 1, DType::U32, 1), expect(r, 2, DType::U32, 1);
    expect(r, 3, DType::F32, 4);
  }

  void check_offset(Ref r, const Buffer& b) {
    if (!exists(b.offset)) return;  // reported with the buffers
    if (!visible_[size_t(b.offset.id)]) {
      bad(r, "the buffer's offset %{} is not visible here", b.offset.id);
    } else if (at(b.offset).dtype != DType::I64 || at(b.offset).lanes != 1) {
      bad(r, "the buffer's offset is {}, must be i64", type_of(b.offset));
    }
  }

  void check_call(Ref r) {
    const Instruction& i = at(r);
    if (i.imm < 0 || size_t(i.imm) >= helper_arity.size())
      return bad(r, "helper {} of {}", i.imm, helper_arity.size());
    const size_t arity = helper_arity[size_t(i.imm)];
    if (!count(r, 2 + arity, 2 + arity) || !in(r, Domain::Real, i.dtype)) return;
    expect(r, 0, DType::Bool, i.lanes);
    for (size_t k = 1; k < 2 + arity; ++k) expect(r, k, i.dtype, i.lanes);
  }

  void check_structure(Ref r, int depth) {
    const Instruction& i = at(r);
    if (i.block <= 0 || size_t(i.block) >= f_.blocks.size())
      return bad(r, "block {} of {}", i.block, f_.blocks.size());
    if (block_seen_[size_t(i.block)]) return bad(r, "block {} has an owner already", i.block);
    if (depth == most_nested) return bad(r, "is nested more than {} deep", most_nested);
    if (i.op == Opcode::For) {
      check_loop(r);
    } else {
      const Block& block = f_.blocks[size_t(i.block)];
      if (count(r, 1, 1)) expect(r, 0, DType::Bool, 1);
      if (!block.parameters.empty() || !block.yields.empty())
        bad(r, "its block has parameters or yields");
    }
    check_block(i.block, depth + 1);
  }

  void check_loop(Ref r) {
    const Instruction& i = at(r);
    const Block& block = f_.blocks[size_t(i.block)];
    if (i.imm <= 0) bad(r, "the step is {}", i.imm);
    if (i.operands.size() < 2) return bad(r, "has {} operands", i.operands.size());
    expect(r, 0, DType::I64, 1), expect(r, 1, DType::I64, 1);
    const size_t carried = i.operands.size() - 2;
    if (block.parameters.size() != carried + 1 || block.yields.size() != carried)
      return bad(r, "carries {} values, has {} parameters and {} yields", carried,
                 block.parameters.size(), block.yields.size());
    for (size_t k = 0; k <= carried; ++k) {
      const Ref p = block.parameters[k];
      if (!exists(p)) continue;  // reported with the block
      if (at(p).op != Opcode::BlockParameter || at(p).imm != int64_t(k) || at(p).block != i.block)
        bad(r, "%{} is not parameter {} of block {}", p.id, k, i.block);
      const Ref initial = i.operands[k == 0 ? 0 : k + 1];
      check_same(r, initial, p, "parameter");
      if (k > 0 && exists(block.yields[k - 1]))
        check_same(r, initial, block.yields[k - 1], "yield");
    }
  }

  void check_same(Ref r, Ref initial, Ref other, std::string_view what) {
    if (!is_dtype(at(other).dtype)) return;
    if (at(initial).dtype != at(other).dtype || at(initial).lanes != at(other).lanes)
      bad(r, "the {} %{} is {}, the initial value {}", what, other.id, type_of(other),
          type_of(initial));
  }

  void check_result(Ref r) {
    const Instruction& i = at(r);
    if (!count(r, 1, 1)) return;
    const Instruction& loop = at(i.operands[0]);
    if (loop.op != Opcode::For) return bad(r, "of a {}", opcode_name(loop.op));
    if (i.imm < 0 || size_t(i.imm) + 2 >= loop.operands.size())
      return bad(r, "{} of {} carried values", i.imm, int64_t(loop.operands.size()) - 2);
    const Ref initial = loop.operands[size_t(i.imm) + 2];
    if (exists(initial) && is_dtype(at(initial).dtype)) check_same(r, initial, r, "result");
  }

  const Function& f_;
  std::vector<bool> visible_, placed_;  // by Ref
  std::vector<bool> block_seen_;
  std::vector<std::string> wrong_;
};

}  // namespace

std::vector<std::string> verify_loops(const Function& function) { return Verifier(function).run(); }

}  // namespace cermet::compiler::loops
