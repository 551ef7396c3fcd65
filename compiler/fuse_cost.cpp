// The cost of a value that is needed more than once.
//
// Most values are computed from what their users read anyway, or could: a few ops and reads are
// cheaper than a buffer and often than the kernel that would fill it. The epilogue of a contraction
// is different: its kernel is there in any case and would load the contraction's result again, so
// what is right behind the contraction is stored. What is computed from that one value alone (the
// steps of a GELU, which its gradient needs as well) is computed again where this takes less than a
// store and a load.

#include "compiler/fuse_cost.h"

#include <fmt/format.h>

namespace cermet::compiler {
namespace {

constexpr int cheap_cycles = 5;
constexpr int cheap_reads = 4;

// Of a vector of 64 bytes, stored and loaded: about 32, 16 and 8 bytes a cycle within the caches,
// 4 from memory, where a store first reads what it overwrites.
constexpr int in_l1 = 4, in_l2 = 10, in_l3 = 24, in_memory = 48;

}  // namespace

int round_trip_cycles(int64_t bytes, const Target& target) {
  if (2 * bytes <= target.l1_bytes) return in_l1;
  if (2 * bytes <= target.l2_bytes) return in_l2;
  return 2 * bytes <= target.l3_bytes ? in_l3 : in_memory;
}

std::string why_stored(const NodeFacts& facts, double times, const Target& target) {
  if (facts.epilogue && (facts.source < 0 || facts.again == 0))
    return fmt::format(
        "it is the epilogue of its producer, repeating it {:.3g} times saves no kernel", times);
  if (facts.epilogue) {
    const int64_t bytes = facts.node->numel() * int64_t(size_of(facts.node->dtype));
    const int stored = round_trip_cycles(bytes, target);
    if (facts.again * (times - 1) <= stored) return "";
    return fmt::format(
        "computing it {:.3g} times from the epilogue of its producer takes {} cycles more, storing "
        "it {}",
        times, int(facts.again * (times - 1)), stored);
  }
  if (facts.cycles > cheap_cycles)
    return fmt::format("would recompute an op of {} cycles {:.3g} times", facts.cycles, times);
  if (facts.reads > cheap_reads)
    return fmt::format("would read {} values {:.3g} times", facts.reads, times);
  return "";
}

}  // namespace cermet::compiler
