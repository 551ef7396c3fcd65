#include "compiler/pack_launches.h"

#include <algorithm>

#include "compiler/loops_key.h"

namespace cermet::compiler {
namespace {

constexpr size_t farthest = 32;  // packs that a launch may be moved past

struct Accesses {
  std::vector<int32_t> all, stores;  // buffers of the program
};

Accesses accesses_of(const Program::Launch& launch) {
  Accesses out{launch.kernel.buffers, {}};
  if (launch.kind == Kernel::Kind::Sort) out.stores.push_back(launch.kernel.buffers[1]);
  for (const loops::Buffer& b : launch.kernel.function.buffers)
    if (b.kind == loops::Buffer::Kind::Argument && b.written)
      out.stores.push_back(launch.kernel.buffers[size_t(b.index)]);
  return out;
}

bool meet(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return std::ranges::find_first_of(a, b) != a.end();
}

bool conflict(const Accesses& a, const Accesses& b) {
  return meet(a.stores, b.all) || meet(a.all, b.stores);
}

class Packer {
 public:
  Packer(const std::vector<Program::Launch>& launches, const std::vector<KernelBuffer>& buffers,
         int64_t most_bytes)
      : launches_(launches), buffers_(buffers), most_bytes_(most_bytes), keys_(launches.size()) {
    for (const Program::Launch& launch : launches) accesses_.push_back(accesses_of(launch));
  }

  std::vector<std::vector<size_t>> run() {
    for (size_t i = 0; i < launches_.size(); ++i) {
      const auto pack = pack_for(i);
      if (pack)
        packs_[*pack].push_back(i);
      else
        packs_.push_back({i});
    }
    return std::move(packs_);
  }

 private:
  // The nearest earlier pack that the launch may join.
  std::optional<size_t> pack_for(size_t launch) {
    if (launches_[launch].kind == Kernel::Kind::Sort || stored_bytes(launch) > double(most_bytes_))
      return {};
    const size_t end = packs_.size() > farthest ? packs_.size() - farthest : 0;
    for (size_t p = packs_.size(); p-- > end;) {
      for (size_t member : packs_[p])
        if (conflict(accesses_[launch], accesses_[member])) return {};
      if (same_code(launch, packs_[p][0])) return p;
    }
    return {};
  }

  double stored_bytes(size_t launch) const {
    double bytes = 0;
    for (int32_t b : accesses_[launch].stores)
      if (buffers_[size_t(b)].kind == KernelBuffer::Kind::Temporary)
        bytes += bytes_of(buffers_[size_t(b)]);
    return bytes;
  }

  bool same_code(size_t a, size_t b) {
    const loops::Function &f = launches_[a].kernel.function, &g = launches_[b].kernel.function;
    if (launches_[b].kind == Kernel::Kind::Sort) return false;
    if (f.instructions.size() != g.instructions.size() || f.buffers.size() != g.buffers.size() ||
        f.blocks.size() != g.blocks.size() || f.argument_count != g.argument_count)
      return false;
    return key(a) == key(b);
  }

  const std::string& key(size_t launch) {
    if (keys_[launch].empty()) keys_[launch] = loops::key_of(launches_[launch].kernel.function);
    return keys_[launch];
  }

  const std::vector<Program::Launch>& launches_;
  const std::vector<KernelBuffer>& buffers_;
  const int64_t most_bytes_;
  std::vector<std::string> keys_;
  std::vector<Accesses> accesses_;
  std::vector<std::vector<size_t>> packs_;
};

}  // namespace

std::vector<std::vector<size_t>> pack_launches(const std::vector<Program::Launch>& launches,
                                               const std::vector<KernelBuffer>& buffers,
                                               int64_t most_bytes) {
  return Packer(launches, buffers, most_bytes).run();
}

}  // namespace cermet::compiler
