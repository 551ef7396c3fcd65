#pragma once
// The operands of a contraction while it is lowered (lower_contract.cpp): which part of each the
// current unit covers, where its elements lie, and packing them into scratch memory.

#include <functional>
#include <string_view>
#include <vector>

#include "compiler/contract_plan.h"
#include "compiler/lower_scope.h"

namespace cermet::compiler {

// One side of the product, and what of it the current unit covers.
struct OperandTile {
  const ContractSide& plan;
  std::string_view name;
  int32_t packed = -1, table = -1;    // scratch buffers; table only for several axes: [axis][tile]
  loops::Ref first = {}, count = {};  // of the current tile
  loops::Ref size = {};               // extent, as an argument
  int64_t line_step = 0;              // Lines: from one row to the next
};

// The block of k that is at work: of the first inner axis, and of all of them together.
struct InnerBlock {
  loops::Ref first, count, length;
  loops::Ref is_first, is_last;  // empty if there is one block only
};

class OperandPacker {
 public:
  using Ref = loops::Ref;
  using Position = std::vector<Ref>;  // by axis of the space

  OperandPacker(const Kernel& kernel, const Target& target, const ContractPlan& plan,
                KernelWriter& writer)
      : kernel_(kernel), target_(target), p_(plan), w_(writer), b_(writer.builder()) {}

  // An integer of one side.
  Ref integer(const OperandTile& side, std::string_view what, int64_t value);
  Ref tile_of(const OperandTile& side) { return integer(side, "tile", side.plan.tile); }
  Ref panels_of(const OperandTile& side);
  Scope scope_at(const Position& at, int lanes) const {
    return {at, lanes, {}, std::vector<Ref>(kernel_.exprs.size())};
  }
  // How much scratch memory a packed tile takes.
  int64_t packed_elements(const OperandTile& side) const;

  // The index along each axis of a flattened group, for every element of the tile: before
  // set_index and pack.
  void fill_table(OperandTile& side);
  // Points `scope` at the flattened index first + i of a side, for scope.lanes consecutive ones.
  // Masks those that are not there because a line is rounded up.
  void set_index(Scope& scope, const OperandTile& side, Ref i);
  // Packs a block of k of the tile as side.plan.source says.
  void pack(OperandTile& side, const Position& at, const InnerBlock& block);

 private:
  int64_t packed_lanes(const OperandTile& side) const;
  int64_t panels_at_once(const OperandTile& side) const;
  void pack_lines(OperandTile& side, const Position& at, const InnerBlock& block);
  void pack_turned(OperandTile& side, const Position& at, const InnerBlock& block);
  void turn_square(int32_t square, const std::function<Ref(Ref i)>& source, int32_t to, Ref start,
                   Ref step);
  void pack_panels(OperandTile& side, const Position& at, const InnerBlock& block);
  void prefetch(const OperandTile& side, const Scope& scope, int64_t axis, int64_t ahead);

  const Kernel& kernel_;
  const Target& target_;
  const ContractPlan& p_;
  KernelWriter& w_;
  loops::Builder& b_;
};

}  // namespace cermet::compiler
