#pragma once
// The machine that decoded instructions run on: warps of 32 lanes, blocks of warps, one launch.
//
// A register is an array of 32 values, one per lane; a predicate is a mask of 32 bits. An
// instruction is a function pointer with its operands resolved to byte offsets into the registers
// (or, if negative, into the constants of the kernel), so that running it is one indirect call and
// a loop over lanes that the compiler vectorises.
//
// Lanes that took different branches form groups, each with its own program counter. The group with
// the lowest counter runs; when it reaches another group's counter they become one. For code whose
// blocks are laid out in the order they run, as compilers emit it, this reconverges at the earliest
// place. Functions lie before their callers, so a callee ends before its caller goes on. An
// instruction that needs lanes of other groups (shfl.sync, bar.sync, mma.sync) blocks its group
// until they have come; if all groups are blocked, that is a violation.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ptxsim/ptxsim.h"
#include "ptxsim/syntax.h"

namespace cermet::ptxsim {

using Mask = std::uint32_t;
inline constexpr int kLanes = 32;
inline constexpr Mask kAllLanes = 0xffffffff;
inline constexpr Mask lane_bit(int lane) { return Mask{1} << lane; }

struct Warp;
struct Inst;
using Exec = void (*)(Warp&, const Inst&, Mask);

inline constexpr int kNoSlot = INT32_MAX;

struct Inst {
  Exec exec = nullptr;
  std::array<std::int32_t, 14> op{};  // slots: offsets into registers, or, negative, constants
  std::int64_t imm = 0;               // an address offset, or what the instruction defines
  std::int64_t imm2 = 0;              // the offset of a second address
  std::uint32_t guard = 0;            // 1 + slot of the guard predicate; 0: none
  std::uint32_t target = 0;           // of a branch
  std::uint32_t line = 0;
  std::uint16_t opcode = 0;  // index into Program::opcodes; 0: added by the decoder
  std::uint16_t mode = 0;    // rounding and flushing, or what the instruction defines
  Space space = Space::Register;
  std::uint8_t bytes = 0;   // of one element of a memory access
  std::uint8_t vector = 1;  // elements of a memory access
  bool guard_negated = false;
  bool flag = false, flag2 = false;  // what the instruction defines
};

// Where a constant's bits come from when they are the address of a variable.
struct Relocation {
  std::uint32_t constant;  // offset into Program::constants
  std::string variable;
  std::int64_t offset;
};

struct Program {
  std::vector<Inst> code;
  std::vector<std::string> opcodes{""};
  std::vector<std::byte> constants;  // each broadcast to 32 lanes
  std::vector<Relocation> relocations;
  std::vector<std::vector<std::uint32_t>> branch_tables;
  std::uint32_t entry = 0;
  std::uint32_t register_bytes = 0;  // of a warp
  std::uint32_t local_bytes = 0;     // of a lane
  std::uint32_t static_shared_bytes = 0;
};

// Generic addresses: global memory has its own addresses, the other spaces have windows.
inline constexpr std::uint64_t kSharedWindow = std::uint64_t{1} << 56;
inline constexpr std::uint64_t kLocalWindow = std::uint64_t{2} << 56;
inline constexpr std::uint64_t kParameterWindow = std::uint64_t{3} << 56;
inline constexpr std::uint64_t kWindowMask = ~((std::uint64_t{1} << 56) - 1);

struct Group {
  std::uint32_t pc;
  Mask lanes;
  bool blocked;  // at an instruction that needs lanes of other groups
};

enum class WarpState { Running, AtBarrier, Yielded, Done };

struct PendingCopy {  // of cp.async, by one lane
  int lane;
  std::uint32_t group;  // the lane's number of commits when it was issued
  std::uint32_t shared_address;
  std::uint8_t bytes;
  std::uint32_t line;
  std::array<std::byte, 16> data;
};

struct Block;
struct Launch;

struct Warp {
  std::byte* bases[2] = {nullptr, nullptr};  // registers, constants
  Launch* launch = nullptr;
  Block* block = nullptr;
  std::uint32_t pc = 0;
  Mask active = 0;                       // the lanes of the running group
  std::uint32_t switch_pc = UINT32_MAX;  // the lowest counter of a waiting group
  WarpState state = WarpState::Running;
  Mask alive = 0;    // lanes that have not exited
  Mask present = 0;  // lanes that are threads of the block
  Mask carry = 0;    // the condition code register, CC.CF
  int index = 0;     // in the block
  int waiting_count = 0;
  bool any_blocked = false;  // of the waiting groups
  bool last_chance = false;  // the running group was blocked, and so is every other
  std::array<Group, kLanes> waiting;
  std::vector<std::byte> registers;    // storage behind bases[0]
  std::vector<std::byte> local;        // local_bytes for each lane
  int barrier = 0;                     // while AtBarrier
  const Inst* barrier_inst = nullptr;  // what it waits in
  std::vector<PendingCopy> copies;
  std::array<std::uint32_t, kLanes> commits{};
  std::array<std::uint32_t, kLanes> tid_x{}, tid_y{}, tid_z{};

  // The lanes' values behind an operand slot.
  template <class T>
  T* at(std::int32_t slot) const {
    return reinterpret_cast<T*>(bases[slot < 0] + (slot & 0x7fffffff));
  }
  Mask& predicate(std::int32_t slot) const { return *at<Mask>(slot); }
  Dim3 thread(int lane) const {
    const auto i = static_cast<std::size_t>(lane);
    return {tid_x[i], tid_y[i], tid_z[i]};
  }
};

// Sends `lanes` of the running group to `target` and lets the others go on.
void branch_lanes(Warp& warp, Mask lanes, std::uint32_t target);
// Takes lanes out of the warp: they have exited.
void exit_lanes(Warp& warp, Mask lanes);
// For an instruction at which the needed lanes must meet. True if they are all in the mask; else
// the group is blocked and the instruction must return, to be run again when lanes have joined. A
// fault if no lane can join any more.
bool gather_lanes(Warp& warp, const Inst& inst, Mask mask, Mask needed, Fault fault);

struct Barrier {
  std::uint32_t arrived_warps = 0;  // bits by warp
  std::uint32_t arrived_threads = 0;
  std::uint32_t expected_threads = 0;
  std::uint32_t waiting_warps = 0;  // those of arrived_warps that wait; the others only arrived
  std::uint32_t true_threads = 0;   // of barrier.red: whose predicate is true
};

struct MBarrier {
  std::uint32_t expected = 0, pending = 0;
  std::int64_t transactions = 0;
  std::uint32_t phase = 0;
  std::vector<std::uint32_t> clock;  // what arriving warps had seen: see shared_shadow.h
};

class SharedShadow;
class GlobalShadow;

struct Block {
  Launch* launch = nullptr;
  Dim3 index;
  std::uint64_t number = 0;
  std::uint32_t threads = 0;
  std::vector<Warp> warps;
  std::vector<std::byte> shared;
  std::array<Barrier, 16> barriers{};
  std::map<std::uint32_t, MBarrier> mbarriers;  // by shared address
  std::uint64_t progress = 0;                   // of what a yielding warp may wait for
  Mask exited_warps = 0;
  bool thread_exited = false;  // some thread has left the kernel
  std::uint32_t exit_line = 0;
};

struct Launch {
  const Module* module = nullptr;
  const Kernel* kernel = nullptr;
  const Program* program = nullptr;
  LaunchShape shape;
  std::span<const std::byte> parameters;
  Memory* memory = nullptr;
  Options options;
  Report report;
  std::vector<std::byte> constants;                       // the program's, relocated
  std::vector<std::uint64_t> warp_counts, thread_counts;  // by instruction
  std::vector<Allocation*> cached_allocation;             // by instruction
  std::uint64_t budget = 0;
  std::unique_ptr<SharedShadow> shared_shadow;  // null: not checked
  std::unique_ptr<GlobalShadow> global_shadow;
  std::map<std::pair<std::uint32_t, Fault>, int> reported;
  std::uint64_t clock = 0;  // of %clock: counts instructions of warps

  // Whether this fault was reported for this instruction: spares making its text again.
  bool known(Fault fault, const Inst& inst) const {
    return reported.count({inst.line, fault}) != 0;
  }
  // Adds a violation, once per line and fault; throws Abort if the fault ends the launch.
  void violation(Fault fault, const Warp& warp, const Inst& inst, int lane,
                 const std::string& details);
  void violation_at(Fault fault, std::uint32_t line, Dim3 block, Dim3 thread,
                    const std::string& details);
};

// Ends a launch; the reason is already in the report.
struct Abort {};

// Runs a warp until it waits, yields or ends.
void run_warp(Warp& warp);

}  // namespace cermet::ptxsim
