// Formats: System V ABI, chapter 4 (object files), and its AMD64 supplement, section 4.4
// (relocation).
#include "runtime/elf_object.h"

#include <elf.h>
#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <string_view>

#include "cermet/error.h"

#ifndef SHT_X86_64_UNWIND
#define SHT_X86_64_UNWIND 0x70000001
#endif

namespace cermet::runtime {
namespace {

using Bytes = std::span<const std::byte>;

template <class... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw DeviceError("elf object: " + fmt::format(format, std::forward<Args>(args)...));
}

// The part [offset, offset + size) of the bytes; refuses one that is not inside.
Bytes slice(Bytes bytes, uint64_t offset, uint64_t size, std::string_view what) {
  if (offset > bytes.size() || size > bytes.size() - offset)
    refuse("{} is at {} with {} bytes, the object has {}", what, offset, size, bytes.size());
  return bytes.subspan(offset, size);
}

// A record at any alignment.
template <class T>
T read(Bytes bytes, uint64_t offset, std::string_view what) {
  T value;
  std::memcpy(&value, slice(bytes, offset, sizeof(T), what).data(), sizeof(T));
  return value;
}

template <class T>
std::vector<T> read_table(Bytes bytes, const Elf64_Shdr& section, std::string_view what) {
  if (section.sh_entsize != sizeof(T))
    refuse("{} has entries of {} bytes, expected {}", what, section.sh_entsize, sizeof(T));
  if (section.sh_size % sizeof(T) != 0)
    refuse("{} has {} bytes, not a multiple of {}", what, section.sh_size, sizeof(T));
  const Bytes part = slice(bytes, section.sh_offset, section.sh_size, what);
  std::vector<T> table(part.size() / sizeof(T));
  if (!table.empty()) std::memcpy(table.data(), part.data(), part.size());
  return table;
}

std::string string_at(Bytes strings, uint64_t offset) {
  if (offset >= strings.size()) refuse("a name is at {} of {} bytes", offset, strings.size());
  const auto* text = reinterpret_cast<const char*>(strings.data());
  const size_t length = strnlen(text + offset, strings.size() - offset);
  if (length == strings.size() - offset) refuse("the name at {} has no end", offset);
  return std::string(text + offset, length);
}

uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

class Linker {
 public:
  explicit Linker(Bytes object) : object_(object) {}

  CodeBlob link() {
    read_header();
    place_sections();
    read_symbols();
    for (const Elf64_Shdr& section : sections_)
      if (section.sh_type == SHT_RELA)
        relocate_section(section);
      else if (section.sh_type == SHT_REL)
        refuse("has relocations without addends");
    for (const Elf64_Sym& symbol : symbols_) add_entry(symbol);
    return std::move(blob_);
  }

 private:
  void read_header() {
    const auto header = read<Elf64_Ehdr>(object_, 0, "the header");
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) refuse("does not begin with \\x7fELF");
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB)
      refuse("is not 64-bit little-endian");
    if (header.e_type != ET_REL) refuse("is of type {}, expected a relocatable one", header.e_type);
    if (header.e_machine != EM_X86_64) refuse("is for machine {}, not x86-64", header.e_machine);
    if (header.e_shentsize != sizeof(Elf64_Shdr))
      refuse("has section headers of {} bytes, expected {}", header.e_shentsize,
             sizeof(Elf64_Shdr));
    Elf64_Shdr table = {};
    table.sh_offset = header.e_shoff;
    table.sh_size = uint64_t(header.e_shnum) * sizeof(Elf64_Shdr);
    table.sh_entsize = sizeof(Elf64_Shdr);
    sections_ = read_table<Elf64_Shdr>(object_, table, "the section table");
    if (header.e_shstrndx >= sections_.size())
      refuse("names its sections by section {} of {}", header.e_shstrndx, sections_.size());
    section_names_ = contents(sections_[header.e_shstrndx], "the table of section names");
  }

  Bytes contents(const Elf64_Shdr& section, std::string_view what) const {
    if (section.sh_type == SHT_NOBITS) return {};
    return slice(object_, section.sh_offset, section.sh_size, what);
  }

  // Code and constants of the object, one behind another.
  void place_sections() {
    offsets_.resize(sections_.size());
    uint64_t taken = 0;
    for (size_t i = 0; i < sections_.size(); ++i) {
      const Elf64_Shdr& section = sections_[i];
      if (!(section.sh_flags & SHF_ALLOC) || section.sh_size == 0) continue;
      const std::string name = string_at(section_names_, section.sh_name);
      // Unwind tables describe frames to a debugger or to throw; nothing is thrown through a
      // kernel.
      if (section.sh_type == SHT_NOTE || section.sh_type == SHT_X86_64_UNWIND ||
          name == ".eh_frame")
        continue;
      if (section.sh_flags & SHF_TLS) refuse("section {} is thread-local", name);
      // Relocated constants are only written while the blob is put in its place.
      if ((section.sh_flags & SHF_WRITE) && !name.starts_with(".data.rel.ro"))
        refuse("section {} is writable data, which a kernel must not have", name);
      if (section.sh_type != SHT_PROGBITS)
        refuse("section {} is of type {}, which is not known here", name, section.sh_type);
      const uint64_t alignment = std::max<uint64_t>(1, section.sh_addralign);
      if (!std::has_single_bit(alignment) || alignment > CodeBlob::max_alignment)
        refuse("section {} is aligned to {}", name, alignment);
      const Bytes bytes = contents(section, name);
      // Sections lie side by side in the file, so together they are not larger than it. (An object
      // whose sections overlap could ask for much more memory than it has bytes.)
      taken += bytes.size();
      if (taken > object_.size()) refuse("its sections overlap");
      const uint64_t offset = align_up(blob_.bytes.size(), alignment);
      blob_.alignment = std::max(blob_.alignment, alignment);
      // int3 between functions, so that a stray jump traps.
      blob_.bytes.resize(offset, std::byte{0xcc});
      blob_.bytes.insert(blob_.bytes.end(), bytes.begin(), bytes.end());
      offsets_[i] = offset;
    }
  }

  void read_symbols() {
    for (size_t i = 0; i < sections_.size(); ++i) {
      if (sections_[i].sh_type != SHT_SYMTAB) continue;
      if (symbol_section_) refuse("has two symbol tables");
      symbol_section_ = i;
      symbols_ = read_table<Elf64_Sym>(object_, sections_[i], "the symbol table");
      if (sections_[i].sh_link >= sections_.size())
        refuse("the symbol table names section {} of {}", sections_[i].sh_link, sections_.size());
      symbol_names_ = contents(sections_[sections_[i].sh_link], "the table of symbol names");
    }
  }

  // Where a symbol is in the blob; nothing if it is in a section that was left out.
  std::optional<uint64_t> placed(const Elf64_Sym& symbol) const {
    if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx >= sections_.size()) return std::nullopt;
    const std::optional<uint64_t> section = offsets_[symbol.st_shndx];
    if (!section || symbol.st_value > sections_[symbol.st_shndx].sh_size) return std::nullopt;
    return *section + symbol.st_value;
  }

  std::string describe(const Elf64_Sym& symbol) const {
    if (ELF64_ST_TYPE(symbol.st_info) == STT_SECTION && symbol.st_shndx < sections_.size())
      return string_at(section_names_, sections_[symbol.st_shndx].sh_name);
    return string_at(symbol_names_, symbol.st_name);
  }

  void add_entry(const Elf64_Sym& symbol) {
    if (ELF64_ST_BIND(symbol.st_info) != STB_GLOBAL && ELF64_ST_BIND(symbol.st_info) != STB_WEAK)
      return;
    if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC) return;
    const std::optional<uint64_t> offset = placed(symbol);
    if (!offset) return;
    if (*offset >= blob_.bytes.size())
      refuse("function {} is behind its section", describe(symbol));
    blob_.entries.push_back({describe(symbol), *offset});
  }

  void relocate_section(const Elf64_Shdr& section) {
    if (section.sh_info >= sections_.size())
      refuse("has relocations for section {} of {}", section.sh_info, sections_.size());
    const std::optional<uint64_t> base = offsets_[section.sh_info];
    if (!base) return;  // debug information and unwind tables are not loaded
    if (symbol_section_ != section.sh_link) refuse("has relocations without a symbol table");
    const Bytes patched = contents(sections_[section.sh_info], "a relocated section");
    for (const auto& entry : read_table<Elf64_Rela>(object_, section, "a table of relocations")) {
      const uint64_t index = ELF64_R_SYM(entry.r_info);
      if (index >= symbols_.size())
        refuse("a relocation names symbol {} of {}", index, symbols_.size());
      if (entry.r_offset > patched.size())
        refuse("a relocation is at {} of {} bytes", entry.r_offset, patched.size());
      relocate(uint32_t(ELF64_R_TYPE(entry.r_info)), *base + entry.r_offset,
               patched.size() - entry.r_offset, symbols_[index], entry.r_addend);
    }
  }

  // `room` is the number of bytes from `offset` to the end of its section.
  void relocate(uint32_t type, uint64_t offset, uint64_t room, const Elf64_Sym& symbol,
                int64_t addend) {
    if (type == R_X86_64_NONE) return;
    if (symbol.st_shndx == SHN_UNDEF)
      refuse("symbol {} is not defined; a kernel must be complete", describe(symbol));
    const std::optional<uint64_t> at = placed(symbol);
    if (!at) refuse("symbol {} is in no section that is loaded", describe(symbol));
    const auto need = [&](uint64_t bytes) {
      if (room < bytes)
        refuse("a relocation of {} is cut off by the end of its section", describe(symbol));
    };
    // Blobs are far below 2^31 bytes; the sums below wrap only for hostile addends, which the range
    // checks then refuse.
    const int64_t relative = wrap(*at, uint64_t(addend), uint64_t(0) - offset);
    switch (type) {
      case R_X86_64_PC32:
      case R_X86_64_PLT32: need(4); return store32(offset, relative, symbol);
      case R_X86_64_PC64:
        need(8);
        std::memcpy(&blob_.bytes[offset], &relative, 8);
        return;
      case R_X86_64_64: {
        need(8);
        const auto target = uint64_t(wrap(*at, uint64_t(addend), 0));
        if (target > blob_.bytes.size())
          refuse("an address relative to {} is outside the object", describe(symbol));
        blob_.addresses.push_back({offset, target});
        return;
      }
      case R_X86_64_GOTPCREL:
      case R_X86_64_GOTPCRELX:
      case R_X86_64_REX_GOTPCRELX: {
        need(4);
        const uint64_t slot = address_slot(*at);
        return store32(offset, wrap(slot, uint64_t(addend), uint64_t(0) - offset), symbol);
      }
      case R_X86_64_32:
      case R_X86_64_32S:
        refuse("symbol {} is used by a 32-bit absolute address; compile position-independent code",
               describe(symbol));
      default:
        refuse("symbol {} is used by a relocation of type {}, which is not known here",
               describe(symbol), type);
    }
  }

  static int64_t wrap(uint64_t a, uint64_t b, uint64_t c) { return int64_t(a + b + c); }

  void store32(uint64_t offset, int64_t value, const Elf64_Sym& symbol) {
    if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max())
      refuse("symbol {} is {} bytes away, more than 32 bits hold", describe(symbol), value);
    const auto narrow = int32_t(value);
    std::memcpy(&blob_.bytes[offset], &narrow, 4);
  }

  // An entry of the global offset table: 8 bytes behind the sections that hold the address of
  // `target`.
  uint64_t address_slot(uint64_t target) {
    const auto [slot, fresh] = slots_.try_emplace(target, align_up(blob_.bytes.size(), 8));
    if (fresh) {
      blob_.bytes.resize(slot->second + 8);
      blob_.alignment = std::max<uint64_t>(blob_.alignment, 8);
      blob_.addresses.push_back({slot->second, target});
    }
    return slot->second;
  }

  Bytes object_;
  std::vector<Elf64_Shdr> sections_;
  Bytes section_names_, symbol_names_;
  std::vector<std::optional<uint64_t>> offsets_;  // of each section in the blob, if it is there
  std::optional<size_t> symbol_section_;
  std::vector<Elf64_Sym> symbols_;
  std::map<uint64_t, uint64_t> slots_;  // target -> offset of its address_slot
  CodeBlob blob_;
};

// The serialized blob: this header, the entries (offset, length of the name, name), the addresses,
// the bytes. All numbers are 64 bits, little-endian as the machine that runs the code.
struct BlobHeader {
  char magic[8];
  uint64_t alignment, entries, addresses, bytes;
};
constexpr char blob_magic[8] = {'C', 'E', 'R', 'M', 'E', 'T', 'X', '1'};

}  // namespace

CodeBlob relocate_elf(std::span<const std::byte> object) { return Linker(object).link(); }

std::vector<std::byte> serialize_blob(const CodeBlob& blob) {
  std::vector<std::byte> out;
  const auto put = [&](const void* data, size_t bytes) {
    const auto* first = static_cast<const std::byte*>(data);
    out.insert(out.end(), first, first + bytes);
  };
  BlobHeader header = {
      {}, blob.alignment, blob.entries.size(), blob.addresses.size(), blob.bytes.size()};
  std::memcpy(header.magic, blob_magic, sizeof blob_magic);
  put(&header, sizeof header);
  for (const CodeBlob::Entry& entry : blob.entries) {
    const uint64_t numbers[2] = {entry.offset, entry.name.size()};
    put(numbers, sizeof numbers);
    put(entry.name.data(), entry.name.size());
  }
  for (const CodeBlob::Address& address : blob.addresses) put(&address, sizeof address);
  put(blob.bytes.data(), blob.bytes.size());
  return out;
}

CodeBlob parse_blob(std::span<const std::byte> bytes) {
  uint64_t at = 0;
  const auto next = [&](uint64_t count, std::string_view what) {
    const Bytes part = slice(bytes, at, count, what);
    at += count;
    return part;
  };
  const auto header = read<BlobHeader>(bytes, 0, "the header of a code blob");
  at = sizeof header;
  if (std::memcmp(header.magic, blob_magic, sizeof blob_magic) != 0)
    refuse("is not a code blob of this version");
  if (!std::has_single_bit(header.alignment) || header.alignment > CodeBlob::max_alignment)
    refuse("code blob is aligned to {}", header.alignment);
  CodeBlob blob;
  blob.alignment = header.alignment;
  for (uint64_t i = 0; i < header.entries; ++i) {
    uint64_t numbers[2];
    std::memcpy(numbers, next(sizeof numbers, "an entry").data(), sizeof numbers);
    const Bytes name = next(numbers[1], "the name of an entry");
    if (numbers[0] >= header.bytes) refuse("entry at {} of {} bytes", numbers[0], header.bytes);
    blob.entries.push_back(
        {std::string(reinterpret_cast<const char*>(name.data()), name.size()), numbers[0]});
  }
  for (uint64_t i = 0; i < header.addresses; ++i) {
    CodeBlob::Address address;
    std::memcpy(&address, next(sizeof address, "an address").data(), sizeof address);
    if (header.bytes < 8 || address.offset > header.bytes - 8 || address.target > header.bytes)
      refuse("address at {} of {} bytes", address.offset, header.bytes);
    blob.addresses.push_back(address);
  }
  const Bytes body = next(header.bytes, "the code");
  blob.bytes.assign(body.begin(), body.end());
  if (at != bytes.size()) refuse("code blob has {} bytes too many", bytes.size() - at);
  return blob;
}

}  // namespace cermet::runtime
