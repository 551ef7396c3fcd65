#include "ptxsim/layout.h"

#include <algorithm>

namespace cermet::ptxsim {
namespace {

struct BasicBlock {
  std::uint32_t begin = 0, end = 0;
  std::vector<int> successors;
  bool falls_through = false;
};

// A subset of the blocks at a time: `level_` says how deep in loops a block still takes part.
class Order {
 public:
  explicit Order(const std::vector<BasicBlock>& blocks)
      : blocks_(blocks), member_(blocks.size(), 0), index_(blocks.size()), low_(blocks.size()) {}

  std::vector<int> run() {
    std::vector<int> all(blocks_.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
    append(all, 0);
    return order_;
  }

 private:
  // Appends the blocks of one part, entered at `head`, whose edges back to the head do not count.
  // Of the whole function, what its entry does not reach is left out.
  void append(const std::vector<int>& part, int head) {
    const int level = ++level_;
    for (const int block : part) {
      member_[at(block)] = level;
      index_[at(block)] = 0;
    }
    std::vector<std::vector<int>> components;
    stack_.clear();
    counter_ = 0;
    visit(head, head, level, components);  // the rest of a part is reached from its head
    // Tarjan's algorithm finds what comes last first.
    std::reverse(components.begin(), components.end());
    for (std::vector<int>& component : components) {
      if (component.size() == 1) {
        order_.push_back(component[0]);
      } else {
        append(component, *std::min_element(component.begin(), component.end()));
      }
    }
  }

  void visit(int block, int head, int level, std::vector<std::vector<int>>& components) {
    index_[at(block)] = low_[at(block)] = ++counter_;
    stack_.push_back(block);
    for (const int next : blocks_[at(block)].successors) {
      if (next == head || member_[at(next)] != level) continue;
      if (index_[at(next)] == 0) {
        visit(next, head, level, components);
        low_[at(block)] = std::min(low_[at(block)], low_[at(next)]);
      } else {
        low_[at(block)] = std::min(low_[at(block)], index_[at(next)]);
      }
    }
    if (low_[at(block)] != index_[at(block)]) return;
    components.emplace_back();
    for (int member = -1; member != block;) {
      member = stack_.back();
      stack_.pop_back();
      member_[at(member)] = 0;  // its component is complete
      components.back().push_back(member);
    }
  }

  static std::size_t at(int block) { return static_cast<std::size_t>(block); }

  const std::vector<BasicBlock>& blocks_;
  std::vector<int> member_, index_, low_, stack_, order_;
  int level_ = 0, counter_ = 0;
};

std::vector<std::uint32_t> block_begins(const Program& program, std::uint32_t begin,
                                        std::size_t first_table) {
  std::vector<std::uint32_t> begins{begin};
  const auto size = static_cast<std::uint32_t>(program.code.size());
  for (std::uint32_t pc = begin; pc < size; ++pc) {
    const Inst& inst = program.code[pc];
    const Flow flow = flow_of(inst);
    if (flow == Flow::Next) continue;
    if (flow == Flow::Branch) begins.push_back(inst.target);
    if (pc + 1 < size) begins.push_back(pc + 1);
  }
  for (std::size_t table = first_table; table < program.branch_tables.size(); ++table) {
    for (const std::uint32_t target : program.branch_tables[table]) begins.push_back(target);
  }
  std::sort(begins.begin(), begins.end());
  begins.erase(std::unique(begins.begin(), begins.end()), begins.end());
  return begins;
}

}  // namespace

void order_blocks(Program& program, std::uint32_t begin, std::size_t first_table) {
  const std::vector<std::uint32_t> begins = block_begins(program, begin, first_table);
  const auto block_at = [&](std::uint32_t pc) {
    return static_cast<int>(std::lower_bound(begins.begin(), begins.end(), pc) - begins.begin());
  };
  std::vector<BasicBlock> blocks(begins.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    BasicBlock& block = blocks[i];
    block.begin = begins[i];
    block.end =
        i + 1 < begins.size() ? begins[i + 1] : static_cast<std::uint32_t>(program.code.size());
    const Inst& last = program.code[block.end - 1];
    const Flow flow = flow_of(last);
    block.falls_through = (flow == Flow::Next || last.guard != 0) && i + 1 < blocks.size();
    if (block.falls_through) block.successors.push_back(static_cast<int>(i) + 1);
    if (flow == Flow::Branch) block.successors.push_back(block_at(last.target));
    if (flow == Flow::Table) {
      for (const std::uint32_t target : program.branch_tables[static_cast<std::size_t>(last.imm)]) {
        block.successors.push_back(block_at(target));
      }
    }
  }
  const std::vector<int> order = Order(blocks).run();
  if (order.size() == blocks.size() && std::is_sorted(order.begin(), order.end())) return;

  std::vector<Inst> code;
  std::vector<std::uint32_t> moved(blocks.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const BasicBlock& block = blocks[static_cast<std::size_t>(order[i])];
    moved[static_cast<std::size_t>(order[i])] = begin + static_cast<std::uint32_t>(code.size());
    code.insert(code.end(), program.code.begin() + block.begin, program.code.begin() + block.end);
    if (!block.falls_through || (i + 1 < order.size() && order[i + 1] == order[i] + 1)) continue;
    Inst jump;
    jump.line = code.back().line;
    make_branch(jump, block.end);
    code.push_back(jump);
  }
  for (Inst& inst : code) {
    if (flow_of(inst) == Flow::Branch)
      inst.target = moved[static_cast<std::size_t>(block_at(inst.target))];
  }
  for (std::size_t table = first_table; table < program.branch_tables.size(); ++table) {
    for (std::uint32_t& target : program.branch_tables[table])
      target = moved[static_cast<std::size_t>(block_at(target))];
  }
  program.code.resize(begin);
  program.code.insert(program.code.end(), code.begin(), code.end());
}

}  // namespace cermet::ptxsim
