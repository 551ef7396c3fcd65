#include "ptxsim/decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "ptxsim/layout.h"

namespace cermet::ptxsim {
namespace {

const std::unordered_map<std::string_view, DecodeFunction>& opcode_table() {
  static const auto table = [] {
    std::unordered_map<std::string_view, DecodeFunction> result;
    for (const auto& opcodes :
         {integer_opcodes(), bit_opcodes(), carry_opcodes(), float_opcodes(), compare_opcodes(),
          convert_opcodes(), move_opcodes(), access_opcodes(), atomic_opcodes(), control_opcodes(),
          barrier_opcodes(), warp_opcodes(), matrix_opcodes(), async_opcodes()}) {
      for (const Opcode& opcode : opcodes) result.emplace(opcode.name, opcode.decode);
    }
    return result;
  }();
  return table;
}

std::uint32_t align_up(std::uint32_t value, std::uint32_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// Exec of an instruction that inverts a predicate into a temporary.
void negate_predicate(Warp& warp, const Inst& inst, Mask) {
  warp.predicate(inst.op[0]) = ~warp.predicate(inst.op[1]);
}

}  // namespace

Modifiers::Modifiers(std::string_view opcode) {
  std::size_t dot = opcode.find('.');
  base_ = opcode.substr(0, dot);
  while (dot != std::string_view::npos) {
    const std::size_t next = opcode.find('.', dot + 1);
    parts_.push_back(opcode.substr(dot + 1, next == dot ? next : next - dot - 1));
    dot = next;
  }
}

bool Modifiers::has(std::string_view name) const {
  return std::find(parts_.begin(), parts_.end(), name) != parts_.end();
}

bool Modifiers::take(std::string_view name) {
  const auto found = std::find(parts_.begin(), parts_.end(), name);
  if (found == parts_.end()) return false;
  parts_.erase(found);
  return true;
}

bool Modifiers::has_type() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](std::string_view part) { return type_named(part).has_value(); });
}

Type Modifiers::take_type() {
  for (auto part = parts_.begin(); part != parts_.end(); ++part) {
    if (const auto type = type_named(*part)) {
      parts_.erase(part);
      return *type;
    }
  }
  throw Error("no known type");
}

int Modifiers::take_one_of(std::initializer_list<std::string_view> names) {
  int index = 0;
  for (const std::string_view name : names) {
    if (take(name)) return index;
    ++index;
  }
  return -1;
}

void Modifiers::expect_end() const {
  if (!parts_.empty()) throw Error(fmt::format("unknown modifier '.{}'", parts_.front()));
}

// ---- Functions ---------------------------------------------------------------------------------

void Decoder::run(const Function& kernel, std::span<const Parameter> parameters) {
  scopes_.emplace_back();
  declare_module_variables();
  std::vector<const Function*> order, path;
  order_functions(kernel, order, path);
  for (const Function* function : order) decode_function(*function, parameters);
  program_.entry = places_.at(kernel.name).entry;
  program_.static_shared_bytes = align_up(program_.static_shared_bytes, 1);
  const std::uint32_t dynamic = align_up(program_.static_shared_bytes, dynamic_alignment_);
  if (!dynamic_shared_.empty()) program_.static_shared_bytes = dynamic;
  for (const auto& [offset, addend] : dynamic_shared_) {
    program_.relocations.push_back({offset, "", addend + dynamic});
  }
}

// Callees before callers; a cycle is refused.
void Decoder::order_functions(const Function& function, std::vector<const Function*>& order,
                              std::vector<const Function*>& path) const {
  if (std::find(order.begin(), order.end(), &function) != order.end()) return;
  if (std::find(path.begin(), path.end(), &function) != path.end()) {
    throw Error(
        fmt::format("ptx line {}: recursion is not supported: '{}'", function.line, function.name),
        function.line);
  }
  path.push_back(&function);
  for (const BodyItem& item : function.body) {
    if (item.kind != BodyItem::Kind::Statement) continue;
    const Statement& call = item.statement;
    if (call.opcode != "call" && call.opcode != "call.uni") continue;
    for (const Operand& operand : call.operands) {
      if (operand.kind != Operand::Kind::Name) continue;
      order_functions(function_named(operand.name, call.line), order, path);
    }
  }
  path.pop_back();
  order.push_back(&function);
}

const Function& Decoder::function_named(std::string_view name, int line) const {
  for (const Function& function : tree_.functions) {
    if (function.name == name && function.has_body) return function;
  }
  throw Error(fmt::format("ptx line {}: a call of '{}', which has no body here", line, name), line);
}

void Decoder::decode_function(const Function& function, std::span<const Parameter> parameters) {
  FunctionPlace& place = places_[function.name];
  place_ = &place;
  place.function = &function;
  scopes_.push_back({{}, {}, {}, {}, 0});
  scope_ = static_cast<int>(scopes_.size()) - 1;
  if (function.is_kernel) {
    for (std::size_t i = 0; i < function.parameters.size(); ++i) {
      const Declaration& declared = function.parameters[i];
      scope().names[declared.name] = {
          Space::Parameter, declared.type, parameters[i].offset, declared.elements, {}, false};
    }
  } else {
    place.return_slot = static_cast<std::int32_t>(allocate_register(4));
    for (const Declaration& declared : function.parameters) {
      place.parameters.push_back(scope().names[declared.name] = local_symbol(declared));
    }
    for (const Declaration& declared : function.results) {
      place.results.push_back(scope().names[declared.name] = local_symbol(declared));
    }
  }
  place.entry = static_cast<std::uint32_t>(program_.code.size());
  const std::size_t first_table = program_.branch_tables.size();
  for (const BodyItem& item : function.body) {
    switch (item.kind) {
      case BodyItem::Kind::Statement: decode_statement(item.statement); break;
      case BodyItem::Kind::Label:
        scope().labels[item.label] = static_cast<std::uint32_t>(program_.code.size());
        break;
      case BodyItem::Kind::Declaration: declare(item.declaration); break;
      case BodyItem::Kind::ScopeBegin:
        scopes_.push_back({{}, {}, {}, {}, scope_});
        scope_ = static_cast<int>(scopes_.size()) - 1;
        break;
      case BodyItem::Kind::ScopeEnd: scope_ = scope().parent; break;
      case BodyItem::Kind::BranchTargets: scope().targets[item.label] = &item; break;
    }
  }
  Statement end;  // a function may end without one
  end.line = function.line;
  end.opcode = end.text = "ret";
  decode_statement(end);
  fix_labels();
  order_blocks(program_, place.entry, first_table);
}

void Decoder::decode_statement(const Statement& statement) {
  statement_ = &statement;
  try {
    Modifiers modifiers(statement.opcode);
    const auto found = opcode_table().find(modifiers.base());
    if (found == opcode_table().end()) {
      throw Error(fmt::format("unknown instruction '{}'", modifiers.base()));
    }
    found->second(*this, statement, modifiers);
    modifiers.expect_end();
  } catch (const Error& error) {
    if (error.line() != 0) throw;
    throw Error(fmt::format("ptx line {}: {}: `{}`", statement.line, error.what(), statement.text),
                statement.line);
  }
}

void Decoder::fail(const std::string& what) const { throw Error(what); }

int target_number(std::string_view target) {
  int number = 0;
  std::from_chars(target.data() + std::min<std::size_t>(3, target.size()),
                  target.data() + target.size(), number);
  return number;
}

void Decoder::require_sm(int sm) const {
  if (target_number(tree_.target) < sm) {
    fail(fmt::format("this needs sm_{}, the target is {}", sm, tree_.target));
  }
}

void Decoder::expect_operands(const Statement& statement, std::size_t count) const {
  if (statement.operands.size() != count) {
    fail(fmt::format("{} operands, expected {}", statement.operands.size(), count));
  }
}

// ---- Declarations ------------------------------------------------------------------------------

std::uint32_t Decoder::allocate_register(int bytes) {
  // 16-bit registers hold the 8-bit types too. Predicates are one mask.
  const std::uint32_t size = static_cast<std::uint32_t>(std::max(bytes, 2)) * kLanes;
  const std::uint32_t slot = program_.register_bytes;
  program_.register_bytes += size;
  return slot;
}

void Decoder::declare(const Declaration& declared) {
  switch (declared.space) {
    case Space::Register: {
      Symbol symbol{Space::Register, declared.type, 0, declared.elements, {}, false};
      for (std::uint64_t i = 0; i < declared.elements; ++i) {
        const std::uint32_t slot = allocate_register(bytes_of(declared.type));
        if (i == 0) symbol.offset = slot;
      }
      (declared.numbered ? scope().ranges : scope().names)[declared.name] = symbol;
      return;
    }
    case Space::Parameter:
    case Space::Local: scope().names[declared.name] = local_symbol(declared); return;
    case Space::Shared: {
      Symbol& symbol = scope().names[declared.name];
      symbol = {Space::Shared, declared.type, 0, declared.elements, declared.name, false};
      symbol.offset = shared_offset(symbol, declared.bytes(), declared.alignment);
      return;
    }
    case Space::Global:
    case Space::Constant:
    case Space::Generic: break;
  }
  throw Error(fmt::format("ptx line {}: a variable of this space inside a function: '{}'",
                          declared.line, declared.name),
              declared.line);
}

Symbol Decoder::local_symbol(const Declaration& declared) {
  program_.local_bytes = align_up(program_.local_bytes, declared.alignment);
  const Symbol result{Space::Local, declared.type, program_.local_bytes, declared.elements,
                      {},           false};
  program_.local_bytes += static_cast<std::uint32_t>(declared.bytes());
  return result;
}

std::uint32_t Decoder::shared_offset(Symbol& symbol, std::uint64_t bytes, std::uint32_t alignment) {
  program_.static_shared_bytes = align_up(program_.static_shared_bytes, alignment);
  const std::uint32_t offset = program_.static_shared_bytes;
  program_.static_shared_bytes += static_cast<std::uint32_t>(bytes);
  symbol.name = {};  // has its place
  return offset;
}

void Decoder::declare_module_variables() {
  for (const Declaration& declared : tree_.variables) {
    Symbol symbol{declared.space, declared.type, 0, declared.elements, declared.name, false};
    if (declared.space == Space::Shared && declared.external) {
      symbol.dynamic = true;
      dynamic_alignment_ = std::max(dynamic_alignment_, declared.alignment);
    }
    scopes_[0].names[declared.name] = symbol;
  }
}

// ---- Names -------------------------------------------------------------------------------------

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

// ---- Labels ------------------------------------------------------------------------------------

void Decoder::branch_to(Inst& inst, const Operand& label) {
  if (label.kind != Operand::Kind::Name) fail("expected a label");
  (void)inst;
  fixups_.push_back({static_cast<std::uint32_t>(program_.code.size()), -1, 0, label.name, scope_,
                     statement_->line});
}

int Decoder::branch_table(const Operand& operand) {
  for (int i = scope_; i >= 0; i = scopes_[static_cast<std::size_t>(i)].parent) {
    const auto& targets = scopes_[static_cast<std::size_t>(i)].targets;
    const auto found = targets.find(operand.name);
    if (found == targets.end()) continue;
    const int table = static_cast<int>(program_.branch_tables.size());
    const auto& labels = found->second->statement.operands;
    program_.branch_tables.emplace_back(labels.size());
    for (std::size_t entry = 0; entry < labels.size(); ++entry) {
      fixups_.push_back(
          {0, table, static_cast<int>(entry), labels[entry].name, scope_, statement_->line});
    }
    return table;
  }
  fail(fmt::format("no .branchtargets '{}' before this", operand.name));
}

// Of the function just decoded.
void Decoder::fix_labels() {
  for (const Fixup& fixup : fixups_) {
    bool found = false;
    for (int i = fixup.scope; i >= 0 && !found; i = scopes_[static_cast<std::size_t>(i)].parent) {
      const auto& labels = scopes_[static_cast<std::size_t>(i)].labels;
      const auto label = labels.find(fixup.label);
      if (label == labels.end()) continue;
      found = true;
      if (fixup.table < 0) {
        program_.code[fixup.inst].target = label->second;
      } else {
        program_.branch_tables[static_cast<std::size_t>(fixup.table)]
                              [static_cast<std::size_t>(fixup.entry)] = label->second;
      }
    }
    if (!found) {
      throw Error(fmt::format("ptx line {}: unknown label '{}'", fixup.line, fixup.label),
                  fixup.line);
    }
  }
  fixups_.clear();
}

const FunctionPlace& Decoder::callee(const Operand& operand) const {
  const auto found = places_.find(operand.name);
  if (found == places_.end()) fail(fmt::format("unknown function '{}'", operand.name));
  return found->second;
}

}  // namespace cermet::ptxsim
