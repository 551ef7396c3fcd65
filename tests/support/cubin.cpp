#include "support/cubin.h"

#include <elf.h>
#include <fmt/format.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string_view>

namespace cermet::test {
namespace {

// An instruction of sm_70 and later is 16 bytes. Its low 9 bits say what it does, the 3 above where
// its operands come from (register, constant, immediate). NVIDIA documents the mnemonics and not
// the numbers; these are what kernels of known content have, and the tests of this file hold for
// sm_75 to sm_120.
struct Opcode {
  uint32_t number;
  std::string_view mnemonic;
  bool memory;  // has a width in bits 73 to 75
};
constexpr Opcode opcodes[] = {
    {0x020, "FMUL", false},  {0x021, "FADD", false}, {0x023, "FFMA", false},
    {0x02b, "DFMA", false},  {0x037, "IMMA", false}, {0x03b, "LDSM", false},
    {0x03c, "HMMA", false},  {0x108, "MUFU", false}, {0x11d, "BAR", false},
    {0x147, "BRA", false},   {0x181, "LDG", true},   {0x183, "LDL", true},
    {0x184, "LDS", true},    {0x186, "STG", true},   {0x187, "STL", true},
    {0x188, "STS", true},    {0x189, "SHFL", false}, {0x1ae, "LDGSTS", false},
    {0x1f0, "HGMMA", false},
};
constexpr uint32_t nop = 0x118;
constexpr const char* widths[] = {"8", "8", "16", "16", "32", "64", "128", "?"};

constexpr uint16_t machine_cuda = 190;  // EM_CUDA

template <class T>
T read(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T))
    throw std::runtime_error("a cubin ends in the middle");
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

std::string mnemonic_of(const Opcode& opcode, uint64_t high) {
  if (!opcode.memory) return std::string(opcode.mnemonic);
  return fmt::format("{}.{}", opcode.mnemonic, widths[(high >> 9) & 7]);
}

SassCensus count_instructions(std::span<const std::byte> code) {
  SassCensus census;
  for (uint64_t at = 0; at + 16 <= code.size(); at += 16) {
    const auto low = read<uint64_t>(code, at), high = read<uint64_t>(code, at + 8);
    const auto number = uint32_t(low & 0x1ff);
    if (number == nop) continue;
    ++census.instructions;
    for (const Opcode& opcode : opcodes)
      if (opcode.number == number) ++census.count[mnemonic_of(opcode, high)];
  }
  // Behind the last instruction each kernel has a branch to itself.
  if (census.count.contains("BRA") && --census.count["BRA"] == 0) census.count.erase("BRA");
  --census.instructions;
  return census;
}

}  // namespace

std::string SassCensus::text() const {
  std::string result;
  for (const auto& [mnemonic, times] : count)
    result += fmt::format("{}{} {}", result.empty() ? "" : ", ", mnemonic, times);
  return result;
}

std::map<std::string, SassCensus> read_cubin(std::span<const std::byte> cubin) {
  const auto header = read<Elf64_Ehdr>(cubin, 0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_machine != machine_cuda)
    throw std::runtime_error("no cubin");
  const auto section = [&](uint64_t index) {
    return read<Elf64_Shdr>(cubin, header.e_shoff + index * sizeof(Elf64_Shdr));
  };
  const auto names = section(header.e_shstrndx);
  std::map<std::string, SassCensus> result;
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    const auto part = section(i);
    std::string name;
    for (uint64_t at = names.sh_offset + part.sh_name;; ++at) {
      const char c = read<char>(cubin, at);
      if (c == '\0') break;
      name += c;
    }
    if (!name.starts_with(".text.")) continue;
    if (part.sh_offset > cubin.size() || cubin.size() - part.sh_offset < part.sh_size)
      throw std::runtime_error("a cubin ends in the middle");
    result[name.substr(6)] = count_instructions(cubin.subspan(part.sh_offset, part.sh_size));
  }
  return result;
}

}  // namespace cermet::test
