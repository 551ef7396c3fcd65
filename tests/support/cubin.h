#pragma once
// What is in a cubin: a census of its instructions by kernel, so that tests can assert how wide
// memory is accessed and which units are used. No disassembler is needed for that.

#include <cstddef>
#include <map>
#include <span>
#include <string>

namespace cermet::test {

struct SassCensus {
  int instructions = 0;  // without the padding behind the last one
  // By mnemonic; of memory instructions with the bits of one thread's access ("LDG.128"), of others
  // without their modifiers ("FFMA"). Instructions that are not known by name are left out.
  std::map<std::string, int> count;

  int operator[](const std::string& mnemonic) const {
    const auto found = count.find(mnemonic);
    return found == count.end() ? 0 : found->second;
  }
  // "BAR 1, LDG.128 2, ...", for messages.
  std::string text() const;
};

// By kernel. Throws std::runtime_error if the bytes are no cubin.
std::map<std::string, SassCensus> read_cubin(std::span<const std::byte> cubin);

}  // namespace cermet::test
