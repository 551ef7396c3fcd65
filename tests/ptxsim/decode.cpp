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
