#pragma once
// A PTX interpreter: it runs the kernels that NVRTC compiled on the CPU, one warp of 32 lanes at a
// time, and reports what a GPU would silently get wrong.
//
// A caller (the fake driver, or a test) owns the bytes of device memory and tells `Memory` which
// ranges of device addresses are allocations. `Module::parse` decodes a PTX text completely and
// throws on anything it does not know, so a kernel either runs as written or is refused. `launch`
// runs a grid and returns what the checkers saw and what the counters counted.
//
// Nothing here is thread-safe: one launch at a time per Memory and per Module.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cermet::ptxsim {

// What Module::parse and launch throw: what() is "ptx line N: what is wrong: `the statement`" for a
// text that is refused, and a plain sentence for a call with impossible arguments.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, int line = 0)
      : std::runtime_error(message), line_(line) {}
  int line() const { return line_; }  // 0 where no line of PTX is to blame

 private:
  int line_;
};

// ---- Device memory -----------------------------------------------------------------------------

struct Allocation;  // memory.h: its bytes and what is known of each

// The allocations of a device. Every access of a kernel to global or constant memory must lie in
// one of them that is alive; the interpreter reads and writes the host bytes behind it.
class Memory {
 public:
  Memory();
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Device addresses [address, address + size) are an allocation whose bytes lie at `host` (which
  // may be the address itself). Dead allocations in the way are forgotten; a live one in the way is
  // an Error. Nothing of it counts as initialised. `name` appears in reports.
  void add(std::uint64_t address, std::uint64_t size, void* host, std::string name);
  // The allocation at `address` is freed. It is remembered, so that a later access is called a use
  // after free. Error if no live allocation begins there.
  void release(std::uint64_t address);
  // Forgets every allocation, alive or dead.
  void clear();

  // The host copied or filled these bytes: they are initialised. Error if out of bounds.
  void mark_initialised(std::uint64_t address, std::uint64_t size);
  // Whether all these bytes were written, by the host or by a kernel. False if out of bounds.
  bool initialised(std::uint64_t address, std::uint64_t size) const;
  // The state of `size` bytes at `from` is copied to those at `to`, as a device copy does.
  void copy_initialised(std::uint64_t to, std::uint64_t from, std::uint64_t size);
  // The host bytes of a live range, or null if the range is not inside one live allocation.
  void* host(std::uint64_t address, std::uint64_t size) const;

  // For the interpreter: the allocation, alive or dead, that holds `address`; null if none does.
  Allocation* find(std::uint64_t address) const;
  // A short description of where an address lies: "16 bytes past 'a' (4096 bytes at 0x...)".
  std::string describe(std::uint64_t address) const;

 private:
  std::map<std::uint64_t, std::unique_ptr<Allocation>> allocations_;  // by address
};

// ---- Modules -----------------------------------------------------------------------------------

struct Dim3 {
  std::uint32_t x = 1, y = 1, z = 1;
  std::uint64_t count() const { return std::uint64_t{x} * y * z; }
};

struct Parameter {
  std::string name;
  std::uint32_t offset = 0, size = 0, alignment = 1;  // in the block of parameter bytes
};

struct Program;  // program.h: decoded instructions

struct Kernel {
  std::string name;
  std::vector<Parameter> parameters;
  std::uint32_t parameter_bytes = 0;
  std::uint32_t static_shared_bytes = 0;
  std::uint32_t local_bytes = 0;     // .local variables of one thread
  std::uint32_t register_bytes = 0;  // virtual registers of one thread; not what ptxas would need
  Dim3 max_threads{0, 0, 0};         // .maxntid; zero if not given
  Dim3 required_threads{0, 0, 0};    // .reqntid; zero if not given
  std::uint32_t min_blocks = 0;      // .minnctapersm; zero if not given
  std::shared_ptr<Program> program;
};

// A module-scope variable. Whoever loads the module allocates `size` bytes of device memory, copies
// `initial` there and calls Module::place; a launch of a kernel that uses an unplaced one throws.
struct Variable {
  std::string name;
  bool constant = false;  // .const rather than .global
  std::uint64_t size = 0;
  std::uint32_t alignment = 1;
  std::vector<std::byte> initial;  // `size` bytes, zeros where nothing was said
  std::uint64_t address = 0;       // 0 until placed
};

class Module {
 public:
  // Decodes a PTX text. Throws Error for anything that is unknown or not implemented: a directive,
  // an instruction, a modifier, a type.
  static std::unique_ptr<Module> parse(std::string_view ptx);
  ~Module();

  int target_sm() const { return target_sm_; }           // 90 for sm_90 and sm_90a
  const std::string& target() const { return target_; }  // "sm_90a"
  int ptx_version() const { return ptx_version_; }       // 90 for ".version 9.0"
  const std::vector<Kernel>& kernels() const { return kernels_; }
  const std::vector<Variable>& variables() const { return variables_; }
  const Kernel* kernel(std::string_view name) const;      // null if there is none
  const Variable* variable(std::string_view name) const;  // null if there is none
  // Gives a module-scope variable its device address. Error if there is none of that name.
  void place(std::string_view name, std::uint64_t address);

 private:
  friend class ModuleReader;
  Module() = default;
  int target_sm_ = 0, ptx_version_ = 0;
  std::string target_;
  std::vector<Kernel> kernels_;
  std::vector<Variable> variables_;
};

// ---- Launches ----------------------------------------------------------------------------------

// What a violation is about. Those up to Budget end the launch, as the hardware would; the others
// are reported and the launch goes on.
enum class Fault {
  OutOfBounds,         // CUDA error 700
  UseAfterFree,        // 700
  Misaligned,          // 716
  IllegalInstruction,  // 715: wrong for this compute capability, or operands that hardware rejects
  Trap,                // 719 (trap) or 710 (assert)
  Barrier,             // divergent barrier, wrong thread count, exited threads: 719
  WarpMask,            // shfl, vote, mma, ...: absent lanes or a wrong mask: 719
  Deadlock,            // nothing can go on: 702
  Budget,              // more instructions than Options::instruction_budget: 702
  LaunchBounds,        // a grid or block that the kernel or the device does not allow: 1 or 701
  Uninitialised,       // a read of shared or global memory nobody wrote
  AsyncWait,           // a read of shared memory that a cp.async not yet waited for will write
  SharedRace,
  GlobalRace,  // between blocks
};
constexpr bool ends_launch(Fault fault) { return fault <= Fault::LaunchBounds; }
const char* fault_name(Fault fault);  // "out of bounds", "shared race", ...

struct Violation {
  Fault fault;
  std::string kernel;
  int line = 0;  // in the PTX text; 0 for the launch itself
  Dim3 block{0, 0, 0}, thread{0, 0, 0};
  std::string text;  // one complete line: fault, kernel, block, thread, PTX line, details
};

// Each check alone. Bounds, lifetime and alignment of accesses are always checked.
struct Checks {
  bool uninitialised = true;
  bool shared_races = true;
  bool global_races = true;
  bool counters = true;  // memory counters; instruction counts are always kept
  static Checks none() { return {false, false, false, false}; }
};

struct Options {
  Checks checks;
  std::uint64_t seed = 0;  // 0: blocks and warps in order; else an order drawn from the seed
  std::uint64_t instruction_budget = 4'000'000'000;  // instructions of warps, over the launch
  int compute_capability = 90;
  std::size_t max_violations = 20;  // further ones are dropped; one per PTX line and fault
};

struct Counters {
  // Requests are instructions of a warp. Sectors are 32 bytes; an ideal request of 32 floats
  // touches 4, one of 32 float4 touches 16.
  std::uint64_t global_load_requests = 0, global_store_requests = 0, global_atomic_requests = 0;
  std::uint64_t global_load_sectors = 0, global_store_sectors = 0;
  std::uint64_t global_load_bytes = 0, global_store_bytes = 0;  // asked for by lanes
  // A wavefront is one pass over the 32 banks of 4 bytes; more than the least number for the bytes
  // of a request are bank conflicts.
  std::uint64_t shared_load_requests = 0, shared_store_requests = 0;
  std::uint64_t shared_load_wavefronts = 0, shared_store_wavefronts = 0;
  std::uint64_t local_requests = 0;
  std::uint64_t mma = 0;       // mma.sync instructions of a warp
  std::uint64_t barriers = 0;  // barrier arrivals of a warp
  std::uint64_t warp_instructions = 0, thread_instructions = 0;
  std::map<std::string, std::uint64_t> instructions;  // warps' instructions by full opcode

  // Instructions whose opcode begins with `prefix` ("ld.global", "mma.sync").
  std::uint64_t count(std::string_view prefix) const;
  void add(const Counters& other);
};

struct Report {
  std::vector<Violation> violations;
  Counters counters;
  bool clean() const { return violations.empty(); }
  // The launch did not run to its end; memory holds what had been written until then.
  bool aborted() const;
  std::string text() const;  // the violations, one line each
};

struct LaunchShape {
  Dim3 grid, block;
  std::uint32_t dynamic_shared_bytes = 0;
};

// Runs a grid. `parameters` is the block of Kernel::parameter_bytes bytes, laid out as
// Kernel::parameters says; Error if its size differs. Whatever the kernel or the shape does wrong
// is in the report; nothing is thrown for it.
Report launch(const Module& module, const Kernel& kernel, const LaunchShape& shape,
              std::span<const std::byte> parameters, Memory& memory, const Options& options = {});

}  // namespace cermet::ptxsim
