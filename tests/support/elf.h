#pragma once
// What a relocatable object asks of others.

#include <elf.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace cermet::test {

// The names of the symbols that an object uses and does not define.
inline std::vector<std::string> undefined_symbols(std::span<const std::byte> object) {
  const auto at = [&](uint64_t offset) { return object.data() + offset; };
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(object.data());
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(at(header->e_shoff));
  std::vector<std::string> result;
  for (size_t s = 0; s < header->e_shnum; ++s) {
    if (sections[s].sh_type != SHT_SYMTAB) continue;
    const auto* symbols = reinterpret_cast<const Elf64_Sym*>(at(sections[s].sh_offset));
    const auto* names = reinterpret_cast<const char*>(at(sections[sections[s].sh_link].sh_offset));
    for (size_t i = 1; i < sections[s].sh_size / sizeof(Elf64_Sym); ++i)
      if (symbols[i].st_shndx == SHN_UNDEF) result.emplace_back(names + symbols[i].st_name);
  }
  return result;
}

}  // namespace cermet::test
