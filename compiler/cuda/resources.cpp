#include "compiler/cuda/resources.h"

#include <algorithm>
#include <charconv>

namespace cermet::compiler {
namespace {

// Each report is a few lines, as here with CUDA 13; "." and " info" both say "ptxas info":
//   ptxas info    : Compiling entry function 'two' for 'sm_75'
//   ptxas info    : Function properties for two
//   ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
//   ptxas info    : Used 56 registers, used 1 barriers, 1024 bytes smem, 372 bytes cmem[0]
//   ptxas info    : Compile time = 7.871 ms
// Before CUDA 12.8 the third line is indented and has no "ptxas".

struct Quantity {
  std::string_view follows;  // the text behind the number
  void (*add)(CudaResources& to, int64_t number);
};

constexpr Quantity quantities[] = {
    {" registers", [](CudaResources& to, int64_t n) { to.registers += int(n); }},
    {" barriers", [](CudaResources& to, int64_t n) { to.barriers += int(n); }},
    {" bytes stack frame", [](CudaResources& to, int64_t n) { to.stack_bytes += n; }},
    {" bytes spill stores", [](CudaResources& to, int64_t n) { to.spill_store_bytes += n; }},
    {" bytes spill loads", [](CudaResources& to, int64_t n) { to.spill_load_bytes += n; }},
    {" bytes smem", [](CudaResources& to, int64_t n) { to.shared_bytes += n; }},
    {" bytes cmem[", [](CudaResources& to, int64_t n) { to.constant_bytes += n; }},
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Every number in the line that one of the texts follows. Whether there was one.
bool read_quantities(std::string_view line, CudaResources& to) {
  bool found = false;
  for (size_t at = 0; at < line.size(); ++at) {
    if (!is_digit(line[at]) || (at > 0 && line[at - 1] != ' ')) continue;
    int64_t number = 0;
    const char* begin = line.data() + at;
    const char* after = std::from_chars(begin, line.data() + line.size(), number).ptr;
    const std::string_view rest(after, size_t(line.data() + line.size() - after));
    at += size_t(after - begin) - 1;
    for (const Quantity& quantity : quantities)
      if (rest.starts_with(quantity.follows)) quantity.add(to, number), found = true;
  }
  return found;
}

// The name between the quotes behind `prefix`, or nothing.
std::string_view quoted_after(std::string_view line, std::string_view prefix) {
  const size_t at = line.find(prefix);
  if (at == line.npos) return {};
  const std::string_view rest = line.substr(at + prefix.size());
  return rest.substr(0, rest.find('\''));
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// Lines of a report that say nothing of the kernel.
bool is_chatter(std::string_view line) {
  return contains(line, "Function properties for ") || contains(line, "Compile time = ") ||
         contains(line, " bytes gmem");
}

}  // namespace

std::vector<CudaResources> parse_resources(std::string_view log, std::string* rest) {
  std::vector<CudaResources> kernels;
  while (!log.empty()) {
    const size_t end = std::min(log.find('\n'), log.size());
    const std::string_view line = log.substr(0, end);
    log.remove_prefix(std::min(end + 1, log.size()));
    const bool report =
        line.starts_with("ptxas info") || line.starts_with("ptxas   ") || line.starts_with("    ");
    const std::string_view name = quoted_after(line, "Compiling entry function '");
    if (report && !name.empty()) {
      kernels.emplace_back().kernel = name;
      continue;
    }
    if (report && (is_chatter(line) || (!kernels.empty() && read_quantities(line, kernels.back()))))
      continue;
    if (rest && !line.empty()) rest->append(line).push_back('\n');
  }
  std::sort(kernels.begin(), kernels.end(),
            [](const CudaResources& a, const CudaResources& b) { return a.kernel < b.kernel; });
  return kernels;
}

}  // namespace cermet::compiler
