#include "runtime/host_cpu.h"

#include <cpuid.h>
#include <fmt/format.h>

#include <sstream>

namespace cermet::runtime {

std::string host_cpu_identity() {
  std::string out;
  // Maker; family, model and features; extended features; extended state; brand string.
  for (const auto& [leaf, subleaf] : {std::pair{0u, 0u},
                                      {1u, 0u},
                                      {7u, 0u},
                                      {7u, 1u},
                                      {0xdu, 1u},
                                      {0x80000001u, 0u},
                                      {0x80000002u, 0u},
                                      {0x80000003u, 0u},
                                      {0x80000004u, 0u}}) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __get_cpuid_count(leaf, subleaf, &a, &b, &c, &d);
    if (leaf == 1)
      b = 0, c &= ~(1u << 27);  // which core answers, and OSXSAVE, which the next line has
    out += fmt::format("{:x}.{:x}.{:x}.{:x} ", a, b, c, d);
  }
  unsigned low = 0, high = 0;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE))
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));  // which registers the system saves
  return out + fmt::format("{:x}.{:x}", low, high);
}

std::string print_target(const compiler::Target& t) {
  return fmt::format("{}\n{}\n{} {} {} {} {} {} {}\n", t.cpu, t.features, t.vector_bytes,
                     int(t.fma), int(t.masked_memory), int(t.f16_conversion), t.l1_bytes,
                     t.l2_bytes, t.l3_bytes);
}

std::optional<compiler::Target> parse_target(std::string_view text) {
  std::istringstream in{std::string(text)};
  compiler::Target t;
  if (!std::getline(in, t.cpu) || !std::getline(in, t.features)) return std::nullopt;
  in >> t.vector_bytes >> t.fma >> t.masked_memory >> t.f16_conversion >> t.l1_bytes >>
      t.l2_bytes >> t.l3_bytes;
  if (!in || print_target(t) != text) return std::nullopt;
  return t;
}

}  // namespace cermet::runtime
