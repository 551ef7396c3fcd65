#include "compiler/loops_verify.h"

#include <algorithm>
#include <bit>

#include "compiler/loops_verifier.h"

namespace cermet::compiler::loops {
namespace {

bool is_valid_name(std::string_view name) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && is_letter(name[0]) && std::ranges::all_of(name, [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '.';
  });
}

}  // namespace

LoopsVerifier::LoopsVerifier(const Function& function)
    : f_(function),
      visible_(function.instructions.size()),
      placed_(function.instructions.size()),
      block_seen_(function.blocks.size()) {}

std::vector<std::string> LoopsVerifier::run() {
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

void LoopsVerifier::check_buffers() {
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

void LoopsVerifier::check_block(int32_t index, int depth) {
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

bool LoopsVerifier::place(Ref r, int32_t block) {
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

void LoopsVerifier::check_instruction(Ref r, int depth) {
  const Instruction& i = at(r);
  for (Ref operand : i.operands) {
    if (!exists(operand) || !visible_[size_t(operand.id)])
      return bad(r, "%{} is not visible here", operand.id);
    const Opcode op = at(operand).op;
    const bool no_value = !has_value(op) || op == Opcode::For;
    if (no_value && i.op != Opcode::Result) return bad(r, "%{} has no value", operand.id);
  }
  for (const Uniform& row : uniform_opcodes())
    if (row.op == i.op) return check_uniform(r, row.operands, row.domain);
  check_other(r, depth);
}

void LoopsVerifier::check_offset(Ref r, const Buffer& b) {
  if (!exists(b.offset)) return;  // reported with the buffers
  if (!visible_[size_t(b.offset.id)]) {
    bad(r, "the buffer's offset %{} is not visible here", b.offset.id);
  } else if (at(b.offset).dtype != DType::I64 || at(b.offset).lanes != 1) {
    bad(r, "the buffer's offset is {}, must be i64", type_of(b.offset));
  }
}

void LoopsVerifier::check_structure(Ref r, int depth) {
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

void LoopsVerifier::check_loop(Ref r) {
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
    if (k > 0 && exists(block.yields[k - 1])) check_same(r, initial, block.yields[k - 1], "yield");
  }
}

void LoopsVerifier::check_same(Ref r, Ref initial, Ref other, std::string_view what) {
  if (!is_dtype(at(other).dtype)) return;
  if (at(initial).dtype != at(other).dtype || at(initial).lanes != at(other).lanes)
    bad(r, "the {} %{} is {}, the initial value {}", what, other.id, type_of(other),
        type_of(initial));
}

void LoopsVerifier::check_result(Ref r) {
  const Instruction& i = at(r);
  if (!count(r, 1, 1)) return;
  const Instruction& loop = at(i.operands[0]);
  if (loop.op != Opcode::For) return bad(r, "of a {}", opcode_name(loop.op));
  if (i.imm < 0 || size_t(i.imm) + 2 >= loop.operands.size())
    return bad(r, "{} of {} carried values", i.imm, int64_t(loop.operands.size()) - 2);
  const Ref initial = loop.operands[size_t(i.imm) + 2];
  if (exists(initial) && is_dtype(at(initial).dtype)) check_same(r, initial, r, "result");
}

std::vector<std::string> verify_loops(const Function& function) {
  return LoopsVerifier(function).run();
}

}  // namespace cermet::compiler::loops
