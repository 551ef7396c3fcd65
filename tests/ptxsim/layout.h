#pragma once
// The order in which the blocks of a function lie. Lanes that took different ways meet again where
// the lower program counter reaches the higher (machine.h), so a block must lie after all that lead
// to it, and what follows a loop after the loop. Compilers lay code out for other reasons: newer
// ones put the far side of a branch behind the end of the function.
//
// The order is Bourdoncle's weak topological order ("Efficient chaotic iteration strategies with
// widenings", 1993): the strongly connected parts of the graph in topological order, and each part,
// a loop, ordered alike without the edges back to its head.

#include "ptxsim/machine.h"

namespace cermet::ptxsim {

// Reorders code[begin, end), the function decoded last, whose labels are resolved and whose entry
// is `begin`. Branches are added where a block no longer lies before the one it falls into; targets
// and the branch tables from `first_table` on are changed.
void order_blocks(Program& program, std::uint32_t begin, std::size_t first_table);

// How control leaves an instruction whose guard is true.
enum class Flow { Next, Branch, Table, Never };
Flow flow_of(const Inst& inst);
// Makes an unconditional branch of an instruction.
void make_branch(Inst& inst, std::uint32_t target);

}  // namespace cermet::ptxsim
