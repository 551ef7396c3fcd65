#pragma once
// Executable memory for kernels.
//
// The arena reserves address space in slabs and gives each code blob pages of its own in one of
// them. The pages are writable while the blob is copied and adjusted, and executable and no longer
// writable from then on: never both. Pages of their own, and private ones, so that placing a kernel
// cannot touch a neighbour that runs at that moment, and so that a forked child has its own copy. A
// slab costs the kernel two or three mappings however many kernels lie in it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "runtime/elf_object.h"

namespace cermet::runtime {

struct ArenaCore;  // the slabs, in code_arena.cpp

// A placed blob. The pages go back to the arena when the object dies, so whoever may still call an
// entry keeps it alive.
class Code {
 public:
  ~Code();
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  // The address of a function, or null if the blob has none of that name.
  void* find(std::string_view name) const;
  // As find; throws InternalError that names the function.
  void* entry(std::string_view name) const;

 private:
  friend class CodeArena;
  Code(std::shared_ptr<ArenaCore> core, std::byte* base, size_t bytes,
       std::vector<CodeBlob::Entry> entries);

  std::shared_ptr<ArenaCore> core_;
  std::byte* base_;
  size_t bytes_;
  std::vector<CodeBlob::Entry> entries_;
};

struct ArenaStats {
  int64_t slabs = 0;
  int64_t reserved_bytes = 0;  // address space of the slabs
  int64_t used_bytes = 0;      // pages that hold code
};

// Thread-safe. Code may outlive its arena.
class CodeArena {
 public:
  explicit CodeArena(size_t slab_bytes = size_t(1) << 20);

  // Puts the blob into executable memory. Throws DeviceError if the system gives none, or if it
  // does not let this process execute memory that it wrote.
  std::shared_ptr<const Code> place(const CodeBlob& blob);
  ArenaStats stats() const;

 private:
  std::shared_ptr<ArenaCore> core_;
};

}  // namespace cermet::runtime
