// Violations as text, and counters.

#include <fmt/format.h>

#include "ptxsim/machine.h"

namespace cermet::ptxsim {

const char* fault_name(Fault fault) {
  switch (fault) {
    case Fault::OutOfBounds: return "out of bounds";
    case Fault::UseAfterFree: return "use after free";
    case Fault::Misaligned: return "misaligned access";
    case Fault::IllegalInstruction: return "illegal instruction";
    case Fault::Trap: return "trap";
    case Fault::Barrier: return "bad barrier";
    case Fault::WarpMask: return "bad warp mask";
    case Fault::Deadlock: return "deadlock";
    case Fault::Budget: return "instruction budget";
    case Fault::LaunchBounds: return "launch bounds";
    case Fault::Uninitialised: return "uninitialised read";
    case Fault::AsyncWait: return "missing async wait";
    case Fault::SharedRace: return "shared race";
    case Fault::GlobalRace: return "global race";
  }
  return "unknown";
}

std::uint64_t Counters::count(std::string_view prefix) const {
  std::uint64_t result = 0;
  for (const auto& [opcode, count] : instructions) {
    if (std::string_view(opcode).substr(0, prefix.size()) == prefix) result += count;
  }
  return result;
}

void Counters::add(const Counters& other) {
  static constexpr std::uint64_t Counters::* kFields[] = {&Counters::global_load_requests,
                                                          &Counters::global_store_requests,
                                                          &Counters::global_atomic_requests,
                                                          &Counters::global_load_sectors,
                                                          &Counters::global_store_sectors,
                                                          &Counters::global_load_bytes,
                                                          &Counters::global_store_bytes,
                                                          &Counters::shared_load_requests,
                                                          &Counters::shared_store_requests,
                                                          &Counters::shared_load_wavefronts,
                                                          &Counters::shared_store_wavefronts,
                                                          &Counters::local_requests,
                                                          &Counters::mma,
                                                          &Counters::barriers,
                                                          &Counters::warp_instructions,
                                                          &Counters::thread_instructions};
  for (const auto field : kFields) this->*field += other.*field;
  for (const auto& [opcode, count] : other.instructions) instructions[opcode] += count;
}

bool Report::aborted() const {
  for (const Violation& violation : violations) {
    if (ends_launch(violation.fault)) return true;
  }
  return false;
}

std::string Report::text() const {
  std::string result;
  for (const Violation& violation : violations) result += violation.text + "\n";
  return result;
}

void Launch::violation_at(Fault fault, std::uint32_t line, Dim3 block, Dim3 thread,
                          const std::string& details) {
  const bool known = reported[{line, fault}]++ != 0;
  if (!known && report.violations.size() < options.max_violations) {
    Violation violation{fault, kernel->name, static_cast<int>(line), block, thread, {}};
    violation.text = fmt::format(
        "{}: kernel '{}', block ({},{},{}), thread ({},{},{}), PTX line {}: {}", fault_name(fault),
        kernel->name, block.x, block.y, block.z, thread.x, thread.y, thread.z, line, details);
    report.violations.push_back(std::move(violation));
  } else if (!known && ends_launch(fault)) {
    report.violations.back() = {fault, kernel->name, static_cast<int>(line),
                                block, thread,       details};
  }
  if (ends_launch(fault)) throw Abort{};
}

void Launch::violation(Fault fault, const Warp& warp, const Inst& inst, int lane,
                       const std::string& details) {
  const std::string& opcode = program->opcodes[inst.opcode];
  violation_at(fault, inst.line, warp.block->index, warp.thread(lane),
               opcode.empty() ? details : fmt::format("{}: {}", opcode, details));
}

}  // namespace cermet::ptxsim
