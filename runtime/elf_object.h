#pragma once
// From a relocatable ELF object, as LLVM writes it for x86-64, to a code blob that runs at any
// address.
//
// Kernels are leaf functions that take everything by pointer, so their objects need little of a
// linker: code and constants are laid out behind one another, references between them are relative
// and can be resolved once for all, and the few absolute addresses (jump tables) are listed, to be
// adjusted where the blob is put. The blob is what the disk cache holds; code_arena.h makes it
// executable.
//
// The bytes may come from anywhere: every offset is checked before it is used, and an object that
// is damaged, or needs more than this, is refused with a DeviceError that says what was found.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace cermet::runtime {

struct CodeBlob {
  struct Entry {
    std::string name;
    uint64_t offset;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  struct Address {  // at `offset` belongs the 8-byte address of the blob's byte `target`
    uint64_t offset;
    uint64_t target;
    friend bool operator==(const Address&, const Address&) = default;
  };

  uint64_t alignment = 1;  // of the first byte; a power of two, at most max_alignment
  std::vector<std::byte> bytes;
  std::vector<Entry> entries;  // global functions, in the order of the symbol table
  std::vector<Address> addresses;
  friend bool operator==(const CodeBlob&, const CodeBlob&) = default;

  static constexpr uint64_t max_alignment = 4096;
};

// Lays out the object's sections and resolves its relocations. Throws DeviceError for a damaged
// object, an undefined symbol (named), writable data, thread-local data or a relocation that is not
// known here.
CodeBlob relocate_elf(std::span<const std::byte> object);

// The blob as bytes, for the disk cache, and back; parse_blob throws DeviceError for anything that
// serialize_blob does not write.
std::vector<std::byte> serialize_blob(const CodeBlob& blob);
CodeBlob parse_blob(std::span<const std::byte> bytes);

}  // namespace cermet::runtime
