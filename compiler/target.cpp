#include "compiler/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "cermet/error.h"
#include "compiler/codegen.h"
#include "compiler/llvm_module.h"

namespace cermet::compiler {
namespace {

// The levels of the x86-64 ABI supplement: 2 has SSE4.2; 3 adds AVX2, FMA and F16C; 4 adds AVX-512
// F, BW, CD, DQ and VL.
struct Processor {
  std::string_view name;  // as LLVM spells it
  int level;
};
constexpr auto processors = std::to_array<Processor>({
    {"x86-64-v2", 2},      {"x86-64-v3", 3},     {"x86-64-v4", 4},  {"nehalem", 2},
    {"westmere", 2},       {"goldmont", 2},      {"tremont", 2},    {"haswell", 3},
    {"broadwell", 3},      {"skylake", 3},       {"alderlake", 3},  {"raptorlake", 3},
    {"meteorlake", 3},     {"arrowlake", 3},     {"lunarlake", 3},  {"gracemont", 3},
    {"sierraforest", 3},   {"znver1", 3},        {"znver2", 3},     {"znver3", 3},
    {"skylake-avx512", 4}, {"cascadelake", 4},   {"cooperlake", 4}, {"icelake-client", 4},
    {"icelake-server", 4}, {"tigerlake", 4},     {"rocketlake", 4}, {"sapphirerapids", 4},
    {"emeraldrapids", 4},  {"graniterapids", 4}, {"znver4", 4},     {"znver5", 4},
});

}  // namespace

Target target(const std::string& name) {
  if (name == "host") return llvm_backend().host_target();
  if (name.starts_with("sm_")) {
    int number = 0;
    const auto [end, error] = std::from_chars(name.data() + 3, name.data() + name.size(), number);
    if (error == std::errc() && end == name.data() + name.size()) return cuda_target(number);
  }
  const auto* found = std::ranges::find(processors, name, &Processor::name);
  if (found == processors.end()) {
    std::string known = "host";
    for (const Processor& p : processors) known += fmt::format(", {}", p.name);
    throw Error(fmt::format("target: \"{}\" is not known, there are sm_{} and above, {}", name,
                            least_compute, known));
  }
  Target result;
  result.cpu = name;
  result.vector_bytes = 4 << found->level;
  result.fma = result.f16_conversion = found->level >= 3;
  result.masked_memory = found->level >= 4;
  return result;
}

namespace {

// As in the CUDA programming guide, "Technical Specifications per Compute Capability".
int64_t shared_bytes_of(int compute) {
  const bool of_servers = compute == 80 || compute == 87;
  const int64_t kilobytes = compute < 80     ? 64
                            : of_servers     ? 163
                            : compute < 90   ? 99
                            : compute >= 120 ? 99
                                             : 227;
  return kilobytes << 10;
}

}  // namespace

Target cuda_target(int compute) {
  if (compute < least_compute)
    throw Error(fmt::format("target: GPUs before sm_{} are not supported, this is sm_{}",
                            least_compute, compute));
  Target result;
  result.cpu = fmt::format("sm_{}", compute);
  result.vector_bytes = 16;  // the widest access of a thread
  result.fma = result.masked_memory = result.f16_conversion = true;
  result.compute = compute;
  result.shared_bytes = shared_bytes_of(compute);
  return result;
}

}  // namespace cermet::compiler
