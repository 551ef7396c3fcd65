// Where lanes go: branches, calls, returns, exits; and the groups that divergence makes of a warp.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ptxsim/decode.h"
#include "ptxsim/lanes.h"
#include "ptxsim/layout.h"

namespace cermet::ptxsim {
namespace {

constexpr std::uint32_t kNowhere = UINT32_MAX;

void wait_at(Warp& warp, std::uint32_t pc, Mask lanes, bool blocked = false) {
  if (!blocked) warp.switch_pc = std::min(warp.switch_pc, pc);
  for (int i = 0; i < warp.waiting_count; ++i) {
    Group& group = warp.waiting[static_cast<std::size_t>(i)];
    if (group.pc != pc) continue;
    group.lanes |= lanes;
    group.blocked = false;  // the new lanes may be what it waits for
    return;
  }
  warp.waiting[static_cast<std::size_t>(warp.waiting_count++)] = {pc, lanes, blocked};
}

// The running group has come to where another waits, or past it: the lowest runs on, of those that
// are not blocked if there are any.
void regroup(Warp& warp) {
  if (warp.active != 0) wait_at(warp, warp.pc, warp.active);
  Group* const begin = warp.waiting.data();
  Group* const end = begin + warp.waiting_count;
  Group* const next = std::min_element(begin, end, [](const Group& a, const Group& b) {
    return a.blocked != b.blocked ? b.blocked : a.pc < b.pc;
  });
  warp.pc = next->pc;
  warp.active = next->lanes;
  warp.last_chance = next->blocked;
  *next = *(end - 1);
  --warp.waiting_count;
  warp.switch_pc = kNowhere;
  warp.any_blocked = false;
  for (const Group* group = begin; group != end - 1; ++group) {
    if (!group->blocked) warp.switch_pc = std::min(warp.switch_pc, group->pc);
    warp.any_blocked = warp.any_blocked || group->blocked;
  }
}

}  // namespace

void branch_lanes(Warp& warp, Mask lanes, std::uint32_t target) {
  if (lanes == warp.active) {
    warp.pc = target;
    return;
  }
  warp.active &= ~lanes;
  wait_at(warp, target, lanes);
}

bool gather_lanes(Warp& warp, const Inst& inst, Mask mask, Mask needed, Fault fault) {
  const Mask missing = needed & ~mask;
  if (warp.last_chance) {
    warp.launch->violation(
        fault, warp, inst, __builtin_ctz(mask),
        missing == 0
            ? std::string("lanes that had to come here have exited")
            : fmt::format("lanes {:#010x} are here, lanes {:#010x} do not come", mask, missing));
  }
  if (missing == 0) return true;
  const std::uint32_t pc = warp.pc - 1;  // it will be counted when it runs
  --warp.launch->warp_counts[pc];
  warp.launch->thread_counts[pc] -= static_cast<u64>(__builtin_popcount(mask));
  if (warp.active != mask) wait_at(warp, warp.pc, warp.active & ~mask);
  wait_at(warp, pc, mask, true);
  warp.active = 0;
  warp.pc = kNowhere;
  warp.any_blocked = true;
  return false;
}

void exit_lanes(Warp& warp, Mask lanes) {
  warp.alive &= ~lanes;
  warp.active &= ~lanes;
  warp.block->thread_exited = true;
  if (warp.active != 0) return;
  warp.pc = kNowhere;
  if (warp.waiting_count == 0) warp.state = WarpState::Done;
}

void run_warp(Warp& warp) {
  constexpr u64 kSlice = 65536;  // so that warps which spin on memory let others write it
  Launch& launch = *warp.launch;
  const Inst* const code = launch.program->code.data();
  warp.state = WarpState::Running;
  const u64 slice = std::min(kSlice, launch.budget);
  u64 done = 0;
  while (done < slice && warp.state == WarpState::Running) {
    if (warp.pc >= warp.switch_pc || warp.any_blocked) regroup(warp);
    const std::uint32_t pc = warp.pc++;
    const Inst& inst = code[pc];
    Mask mask = warp.active;
    if (inst.guard != 0) {
      const Mask guard = warp.predicate(static_cast<std::int32_t>(inst.guard - 1));
      mask &= inst.guard_negated ? ~guard : guard;
    }
    ++done;
    ++launch.warp_counts[pc];
    launch.thread_counts[pc] += static_cast<u64>(__builtin_popcount(mask));
    if (mask != 0) inst.exec(warp, inst, mask);
  }
  launch.budget -= done;
  if (launch.budget == 0 && warp.state == WarpState::Running) {
    const int lane = warp.active == 0 ? 0 : __builtin_ctz(warp.active);
    launch.violation(Fault::Budget, warp,
                     code[std::min<std::size_t>(warp.pc, launch.program->code.size() - 1)], lane,
                     "more instructions than the launch may run");
  }
}

namespace {

void exec_branch(Warp& warp, const Inst& inst, Mask mask) { branch_lanes(warp, mask, inst.target); }

void exec_exit(Warp& warp, const Inst& inst, Mask mask) {
  warp.block->exit_line = inst.line;
  exit_lanes(warp, mask);
}

// Sends each lane where its register says; lanes of one target together.
void jump_lanes(Warp& warp, Mask mask, const u32* targets) {
  while (mask != 0) {
    const u32 target = targets[__builtin_ctz(mask)];
    Mask same = 0;
    for_lanes(mask, [&](int lane) { same |= targets[lane] == target ? lane_bit(lane) : 0; });
    branch_lanes(warp, same, target);
    mask &= ~same;
  }
}

void exec_return(Warp& warp, const Inst& inst, Mask mask) {
  jump_lanes(warp, mask, warp.at<u32>(inst.op[0]));
}

void exec_trap(Warp& warp, const Inst& inst, Mask mask) {
  warp.launch->violation(Fault::Trap, warp, inst, __builtin_ctz(mask), "the kernel trapped");
}

void exec_branch_table(Warp& warp, const Inst& inst, Mask mask) {
  const auto& table = warp.launch->program->branch_tables[static_cast<std::size_t>(inst.imm)];
  const u32* index = warp.at<u32>(inst.op[0]);
  u32 targets[kLanes];
  for_lanes(mask, [&](int lane) {
    if (index[lane] >= table.size()) {
      warp.launch->violation(
          Fault::IllegalInstruction, warp, inst, lane,
          fmt::format("index {} into {} branch targets", index[lane], table.size()));
    }
    targets[lane] = table[index[lane]];
  });
  jump_lanes(warp, mask, targets);
}

// op[0]: where each lane's return address goes; target: the function.
void exec_call(Warp& warp, const Inst& inst, Mask mask) {
  u32* to = warp.at<u32>(inst.op[0]);
  for_lanes(mask, [&](int lane) { to[lane] = warp.pc; });
  branch_lanes(warp, mask, inst.target);
}

// Copies imm bytes of local memory from op[1] to op[0]: an argument or a result.
void exec_copy_local(Warp& warp, const Inst& inst, Mask mask) {
  const std::size_t stride = warp.launch->program->local_bytes;
  for_lanes(mask, [&](int lane) {
    std::byte* const base = warp.local.data() + static_cast<std::size_t>(lane) * stride;
    std::memmove(base + inst.op[0], base + inst.op[1], static_cast<std::size_t>(inst.imm));
  });
}

void decode_branch(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  modifiers.take("uni");
  decoder.expect_operands(statement, 1);
  Inst inst = decoder.start(statement);
  decoder.branch_to(inst, statement.operands[0]);
  decoder.add(inst, exec_branch);
}

void decode_branch_table(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  if (!modifiers.take("idx")) decoder.fail("expected brx.idx");
  modifiers.take("uni");
  decoder.expect_operands(statement, 2);
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.source(statement.operands[0], Type::U32);
  inst.imm = decoder.branch_table(statement.operands[1]);
  decoder.add(inst, exec_branch_table);
}

void decode_return(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  const bool exits = modifiers.base() == "exit" || decoder.in_kernel();
  modifiers.take("uni");
  decoder.expect_operands(statement, 0);
  Inst inst = decoder.start(statement);
  if (!exits) inst.op[0] = decoder.return_slot();
  decoder.add(inst, exits ? exec_exit : exec_return);
}

void decode_trap(Decoder& decoder, const Statement& statement, Modifiers&) {
  decoder.expect_operands(statement, 0);
  decoder.add(decoder.start(statement), exec_trap);
}

void copy_values(Decoder& decoder, const Statement& statement, const Operand* list,
                 const std::vector<Symbol>& formal, bool into) {
  const std::size_t given = list == nullptr ? 0 : list->elements.size();
  if (given != formal.size())
    decoder.fail(fmt::format("{} values, expected {}", given, formal.size()));
  for (std::size_t i = 0; i < given; ++i) {
    const Symbol* mine = decoder.symbol(list->elements[i].name);
    if (mine == nullptr || mine->space != Space::Local)
      decoder.fail("an argument is no .param variable");
    const u64 bytes = mine->elements * static_cast<u64>(bytes_of(mine->type));
    const u64 expected = formal[i].elements * static_cast<u64>(bytes_of(formal[i].type));
    if (bytes != expected) decoder.fail("an argument has another size");
    Inst inst = decoder.start(statement);
    inst.opcode = 0;
    inst.op[0] = static_cast<std::int32_t>(into ? formal[i].offset : mine->offset);
    inst.op[1] = static_cast<std::int32_t>(into ? mine->offset : formal[i].offset);
    inst.imm = static_cast<s64>(bytes);
    decoder.add(inst, exec_copy_local);
  }
}

// call [(result)], function [, (arguments)]
void decode_call(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  modifiers.take("uni");
  const auto& operands = statement.operands;
  const Operand *results = nullptr, *arguments = nullptr, *name = nullptr;
  for (const Operand& operand : operands) {
    if (operand.kind == Operand::Kind::List) {
      (name == nullptr ? results : arguments) = &operand;
    } else if (name != nullptr) {
      decoder.fail("indirect calls are not supported");
    } else {
      name = &operand;
    }
  }
  if (name == nullptr) decoder.fail("expected a function");
  const FunctionPlace& place = decoder.callee(*name);
  copy_values(decoder, statement, arguments, place.parameters, true);
  Inst inst = decoder.start(statement);
  inst.op[0] = place.return_slot;
  inst.target = place.entry;
  decoder.add(inst, exec_call);
  copy_values(decoder, statement, results, place.results, false);
}

}  // namespace

Flow flow_of(const Inst& inst) {
  if (inst.exec == exec_branch) return Flow::Branch;
  if (inst.exec == exec_branch_table) return Flow::Table;
  const bool leaves = inst.exec == exec_exit || inst.exec == exec_return || inst.exec == exec_trap;
  return leaves ? Flow::Never : Flow::Next;
}

void make_branch(Inst& inst, std::uint32_t target) {
  inst.exec = exec_branch;
  inst.target = target;
}

namespace {

constexpr Opcode kOpcodes[] = {{"bra", decode_branch}, {"brx", decode_branch_table},
                               {"ret", decode_return}, {"exit", decode_return},
                               {"trap", decode_trap},  {"brkpt", decode_trap},
                               {"call", decode_call}};

}  // namespace

std::span<const Opcode> control_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
