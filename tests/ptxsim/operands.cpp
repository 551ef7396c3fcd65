// The operands of statements: what names mean, and the slots of registers, constants and addresses
// that instructions are decoded with.

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <optional>

#include "ptxsim/decode.h"

namespace cermet::ptxsim {
namespace {

// Exec of an instruction that inverts a predicate into a temporary.
void negate_predicate(Warp& warp, const Inst& inst, Mask) {
  warp.predicate(inst.op[0]) = ~warp.predicate(inst.op[1]);
}

}  // namespace

// A name, or a register of a range: "%r12" of "%r<20>". The latter is made in `storage`.
const Symbol* Decoder::find(std::string_view name, Symbol& storage) const {
  std::size_t digits = name.size();
  while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9') --digits;
  std::uint64_t number = 0;
  std::from_chars(name.data() + digits, name.data() + name.size(), number);
  for (int i = scope_; i >= 0; i = scopes_[static_cast<std::size_t>(i)].parent) {
    const Scope& scope = scopes_[static_cast<std::size_t>(i)];
    if (const auto found = scope.names.find(name); found != scope.names.end()) {
      return &found->second;
    }
    if (digits == name.size()) continue;
    const auto range = scope.ranges.find(name.substr(0, digits));
    if (range == scope.ranges.end() || number >= range->second.elements) continue;
    storage = range->second;
    storage.offset += static_cast<std::uint32_t>(
        number * kLanes * static_cast<std::uint64_t>(std::max(bytes_of(storage.type), 2)));
    return &storage;
  }
  return nullptr;
}

const Symbol* Decoder::symbol(std::string_view name) const {
  static thread_local Symbol storage;
  return find(name, storage);
}

Inst Decoder::start(const Statement& statement) {
  Inst inst;
  inst.line = static_cast<std::uint32_t>(statement.line);
  inst.op.fill(kNoSlot);
  if (!statement.guard.empty()) {
    Operand guard;
    guard.name = statement.guard;
    inst.guard = 1 + static_cast<std::uint32_t>(predicate_source(guard));
    inst.guard_negated = statement.guard_negated;
  }
  const auto [known, added] = opcodes_.try_emplace(
      std::string(statement.opcode), static_cast<std::uint16_t>(program_.opcodes.size()));
  if (added) program_.opcodes.emplace_back(statement.opcode);
  inst.opcode = known->second;
  return inst;
}

Inst& Decoder::add(Inst inst, Exec exec) {
  inst.exec = exec;
  program_.code.push_back(inst);
  return program_.code.back();
}

std::int32_t Decoder::temporary(int bytes) {
  return static_cast<std::int32_t>(allocate_register(bytes));
}

int Decoder::register_bytes(const Operand& operand, Type otherwise) const {
  if (operand.kind != Operand::Kind::Name) return std::max(bytes_of(otherwise), 2);
  const Symbol* found = symbol(operand.name);
  if (found == nullptr || found->space != Space::Register) {
    return std::max(bytes_of(otherwise), 2);
  }
  return std::max(bytes_of(found->type), 2);
}

std::int32_t Decoder::destination(const Operand& operand, int bytes) {
  if (operand.kind == Operand::Kind::Name && operand.name == "_") return temporary(bytes);
  const Symbol* found = operand.kind == Operand::Kind::Name ? symbol(operand.name) : nullptr;
  if (found == nullptr || found->space != Space::Register) {
    fail(fmt::format("'{}' is not a register", operand.name));
  }
  if (found->type == Type::Pred || std::max(bytes_of(found->type), 2) != std::max(bytes, 2)) {
    fail(fmt::format("register '{}' has not {} bits", operand.name, bytes * 8));
  }
  return static_cast<std::int32_t>(found->offset);
}

std::int32_t Decoder::predicate_destination(const Operand& operand) {
  if (operand.name == "_") return temporary(4);
  const Symbol* found = operand.kind == Operand::Kind::Name ? symbol(operand.name) : nullptr;
  if (found == nullptr || found->space != Space::Register || found->type != Type::Pred) {
    fail(fmt::format("'{}' is not a predicate", operand.name));
  }
  return static_cast<std::int32_t>(found->offset);
}

std::int32_t Decoder::predicate_source(const Operand& operand) {
  if (operand.kind == Operand::Kind::Integer) {
    return constant(operand.bits != 0 ? kAllLanes : 0, 4);
  }
  const std::int32_t slot = predicate_destination(operand);
  if (!operand.negated) return slot;
  Inst inst;
  inst.line = static_cast<std::uint32_t>(statement_->line);
  inst.op[0] = temporary(4);
  inst.op[1] = slot;
  const std::int32_t result = inst.op[0];
  add(inst, negate_predicate);
  return result;
}

std::optional<std::uint64_t> Decoder::immediate(const Operand& operand, Type type) const {
  switch (operand.kind) {
    case Operand::Kind::Integer:
      if (type == Type::F32) {
        return std::bit_cast<std::uint32_t>(
            static_cast<float>(static_cast<std::int64_t>(operand.bits)));
      }
      if (type == Type::F64) {
        return std::bit_cast<std::uint64_t>(
            static_cast<double>(static_cast<std::int64_t>(operand.bits)));
      }
      return operand.bits;
    case Operand::Kind::Float:
      if (bytes_of(type) == 8) {
        return std::bit_cast<std::uint64_t>(
            static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(operand.bits))));
      }
      return operand.bits;
    case Operand::Kind::Double:
      if (bytes_of(type) == 4) {
        return std::bit_cast<std::uint32_t>(
            static_cast<float>(std::bit_cast<double>(operand.bits)));
      }
      return operand.bits;
    case Operand::Kind::Name:
      if (operand.name == "WARP_SZ") return kLanes;
      return std::nullopt;
    case Operand::Kind::Vector:
    case Operand::Kind::Address:
    case Operand::Kind::List: break;
  }
  return std::nullopt;
}

std::int32_t Decoder::source(const Operand& operand, Type type) {
  const int bytes = std::max(bytes_of(type), 2);
  if (const auto bits = immediate(operand, type)) return constant(*bits, bytes);
  if (operand.kind != Operand::Kind::Name) fail("an operand of this form is not supported here");
  if (const SpecialRegister* special = special_register(operand.name)) {
    if (special->bytes != bytes) fail(fmt::format("'{}' has another width", operand.name));
    Inst inst;
    inst.line = static_cast<std::uint32_t>(statement_->line);
    const std::int32_t slot = inst.op[0] = temporary(bytes);
    add(inst, special->read);
    return slot;
  }
  Symbol storage;
  const Symbol* found = find(operand.name, storage);
  if (found == nullptr) fail(fmt::format("unknown name '{}'", operand.name));
  if (found->space == Space::Register) return destination(operand, bytes);
  return address_constant(*found, operand.offset, bytes);
}

std::int32_t Decoder::constant(std::uint64_t bits, int bytes) {
  if (bytes < 8) bits &= (std::uint64_t{1} << (bytes * 8)) - 1;
  const auto [known, added] = constants_.try_emplace(std::pair{bits, bytes}, 0);
  if (added) {
    const std::size_t offset = program_.constants.size();
    known->second = static_cast<std::int32_t>(offset | 0x80000000U);
    program_.constants.resize(offset + static_cast<std::size_t>(bytes) * kLanes);
    for (int i = 0; i < kLanes; ++i) {
      std::memcpy(&program_.constants[offset + static_cast<std::size_t>(i * bytes)], &bits,
                  static_cast<std::size_t>(bytes));
    }
  }
  return known->second;
}

// The address of a variable as a constant; of global and constant memory, and of dynamic shared
// memory, known only at launch, so relocated then.
std::int32_t Decoder::address_constant(const Symbol& symbol, std::int64_t offset, int bytes) {
  if (symbol.space == Space::Shared && !symbol.dynamic && !symbol.name.empty()) {
    for (const Declaration& declared : tree_.variables) {  // its first use gives it a place
      if (declared.name != symbol.name) continue;
      Symbol& mine = scopes_[0].names[declared.name];
      mine.offset = shared_offset(mine, declared.bytes(), declared.alignment);
      return constant(static_cast<std::uint64_t>(mine.offset + offset), bytes);
    }
  }
  if (symbol.name.empty()) {
    return constant(static_cast<std::uint64_t>(symbol.offset + offset), bytes);
  }
  if (bytes != 8 && !symbol.dynamic) fail("the address of a variable has 64 bits");
  const auto at = static_cast<std::uint32_t>(program_.constants.size());
  program_.constants.resize(at + static_cast<std::size_t>(bytes) * kLanes);
  program_.constants[at] = static_cast<std::byte>(bytes);  // replaced when relocated
  if (symbol.dynamic) {
    dynamic_shared_.emplace_back(at, offset);
  } else {
    program_.relocations.push_back({at, std::string(symbol.name), offset});
  }
  return static_cast<std::int32_t>(at | 0x80000000U);
}

void Decoder::address(Inst& inst, std::size_t slot, const Operand& operand, Space space) {
  if (operand.kind != Operand::Kind::Address) fail("expected an address in brackets");
  inst.space = space;
  inst.imm = operand.offset;
  inst.op[slot] = kNoSlot;
  inst.flag = true;
  if (operand.name.empty()) return;
  Symbol storage;
  const Symbol* found = find(operand.name, storage);
  if (found == nullptr) fail(fmt::format("unknown name '{}'", operand.name));
  if (found->space == Space::Register) {
    inst.flag = bytes_of(found->type) == 8;
    inst.op[slot] = destination(
        [&] {
          Operand base;
          base.name = operand.name;
          return base;
        }(),
        inst.flag ? 8 : 4);
    if (space == Space::Parameter && !in_kernel()) inst.space = Space::Local;
    return;
  }
  const Space actual = found->space;
  if (space == Space::Generic) {
    inst.space = actual;
  } else if (actual != space && !(space == Space::Parameter && actual == Space::Local)) {
    fail(fmt::format("'{}' lies in another space", operand.name));
  } else {
    inst.space = actual;
  }
  inst.op[slot] = address_constant(*found, 0, 8);
}

}  // namespace cermet::ptxsim
