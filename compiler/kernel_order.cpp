// The order in which kernels run: a list schedule. What could run next and sets more bytes of
// temporaries free than it takes runs at once; else the order of the graph decides. So the
// gradient of a weight is computed as soon as its operands are there, and they can go; what is to
// be computed again stays behind what it is needed after (ir::Op::Recompute).
//
// What could write over a donated parameter (in_place.h) waits, as long as anything else can run,
// for the others that read it, and for kernels that can report an error.

#include <algorithm>
#include <set>

#include "compiler/fuse_emit.h"
#include "compiler/in_place.h"
#include "ir/check.h"

namespace cermet::compiler {

namespace {

class Schedule {
 public:
  Schedule(std::span<const Kernel> kernels, std::span<const int32_t> numbers,
           const std::vector<KernelBuffer>& buffers)
      : numbers_(numbers),
        next_(kernels.size()),
        missing_(kernels.size(), 0),
        touched_(kernels.size()),
        gain_(kernels.size(), 0),
        early_(kernels.size(), 0),
        buffers_(buffers.size()) {
    for (size_t b = 0; b < buffers.size(); ++b)
      if (buffers[b].kind == KernelBuffer::Kind::Temporary)
        buffers_[b].bytes = bytes_of(buffers[b]);
    add_dependences(kernels);
    for (const Buffer& buffer : buffers_)
      if (buffer.left > 1)  // else it comes and goes with one kernel
        for (int32_t k : buffer.users) gain_[size_t(k)] -= buffer.bytes;
    if (std::ranges::any_of(buffers, &KernelBuffer::donated)) add_overwriters(kernels, buffers);
    for (size_t k = 0; k < kernels.size(); ++k)
      if (missing_[k] == 0) ready_.insert(entry(int32_t(k)));
  }

  // The kernels in order; fewer if some wait for each other.
  std::vector<int32_t> run() {
    std::vector<int32_t> order;
    while (!ready_.empty()) {
      const int32_t k = ready_.begin()->kernel;
      ready_.erase(ready_.begin());
      missing_[size_t(k)] = done;
      order.push_back(k);
      for (int32_t b : touched_[size_t(k)]) leave(size_t(b));
      if (reporting_.erase(k) > 0 && reporting_.empty()) need_not_wait(overwriters_);
      for (int32_t n : next_[size_t(k)])
        if (--missing_[size_t(n)] == 0) ready_.insert(entry(n));
    }
    return order;
  }

 private:
  static constexpr int32_t done = -1;
  struct Buffer {
    double bytes = 0;                       // 0 unless it is a temporary
    std::vector<int32_t> users;             // kernels that write or read it, each once
    size_t left = 0;                        // of those
    std::vector<int32_t> overwriters = {};  // of a donated parameter; among the users
  };
  struct Entry {
    bool early;  // it would write over what others still need
    bool waits;  // it does not set more bytes free than it takes
    int32_t number, kernel;
    auto operator<=>(const Entry&) const = default;
  };

  Entry entry(int32_t k) const {
    return {early_[size_t(k)] > 0, gain_[size_t(k)] <= 0, numbers_[size_t(k)], k};
  }

  void add_dependences(std::span<const Kernel> kernels) {
    std::vector<std::vector<int32_t>> writers(buffers_.size()), scatterers(buffers_.size());
    const auto touch = [&](int32_t b, int32_t k) {
      Buffer& buffer = buffers_[size_t(b)];
      if (!buffer.users.empty() && buffer.users.back() == k) return;
      buffer.users.push_back(k), ++buffer.left;
      touched_[size_t(k)].push_back(b);
    };
    const auto after = [&](const std::vector<int32_t>& first, int32_t k) {
      for (int32_t w : first)
        if (w != k) next_[size_t(w)].push_back(k), ++missing_[size_t(k)];
    };
    for (int32_t k = 0; k < int32_t(kernels.size()); ++k)
      for (const KernelStore& s : kernels[size_t(k)].stores)
        (s.index >= 0 ? scatterers : writers)[size_t(s.buffer)].push_back(k);
    for (int32_t k = 0; k < int32_t(kernels.size()); ++k) {
      const Kernel& kernel = kernels[size_t(k)];
      for (const KernelStore& s : kernel.stores) {
        touch(s.buffer, k);
        if (s.index >= 0) after(writers[size_t(s.buffer)], k);
      }
      each_read(kernel, [&](int32_t b) {
        touch(b, k);
        after(writers[size_t(b)], k), after(scatterers[size_t(b)], k);
      });
    }
  }

  void add_overwriters(std::span<const Kernel> kernels, const std::vector<KernelBuffer>& buffers) {
    for (int32_t k = 0; k < int32_t(kernels.size()); ++k) {
      if (reports(kernels[size_t(k)])) reporting_.insert(k);
      const size_t before = overwriters_.size();
      for (const Overwrite& o : overwrites_of(kernels[size_t(k)], buffers)) {
        if (!o.pays || !buffers[size_t(o.buffer)].donated) continue;
        Buffer& buffer = buffers_[size_t(o.buffer)];
        buffer.overwriters.push_back(k);
        early_[size_t(k)] += buffer.left > 1;
        if (overwriters_.size() == before) overwriters_.push_back(k);
      }
    }
    if (reporting_.empty()) return;
    for (int32_t k : overwriters_) ++early_[size_t(k)];
  }

  template <class F>
  void change(int32_t k, F f) {
    if (missing_[size_t(k)] == done) return;
    const bool queued = missing_[size_t(k)] == 0;
    if (queued) ready_.erase(entry(k));
    f(size_t(k));
    if (queued) ready_.insert(entry(k));
  }
  void need_not_wait(std::span<const int32_t> overwriters) {
    for (int32_t k : overwriters) change(k, [&](size_t i) { --early_[i]; });
  }

  // A kernel that uses the buffer has run: the first brings it, the last lets it go.
  void leave(size_t b) {
    Buffer& buffer = buffers_[b];
    const bool first = buffer.left == buffer.users.size(), one_left = --buffer.left == 1;
    if (one_left) need_not_wait(buffer.overwriters);
    if ((!first && !one_left) || buffer.bytes == 0) return;
    for (int32_t k : buffer.users)
      change(k, [&](size_t i) { gain_[i] += buffer.bytes * (int(first) + int(one_left)); });
  }

  std::span<const int32_t> numbers_;
  std::vector<std::vector<int32_t>> next_;     // who waits for each kernel
  std::vector<int32_t> missing_;               // how many each still waits for, or done
  std::vector<std::vector<int32_t>> touched_;  // the buffers of each
  std::vector<double> gain_;                   // bytes that running it next sets free
  std::vector<int32_t> early_;                 // for how many reasons each should wait
  std::vector<int32_t> overwriters_;           // of any donated parameter
  std::set<int32_t> reporting_;                // kernels that can report an error and have not run
  std::vector<Buffer> buffers_;
  std::set<Entry> ready_;
};

}  // namespace

void order_kernels(std::vector<Kernel>& kernels, std::span<const int32_t> numbers,
                   const std::vector<KernelBuffer>& buffers) {
  const std::vector<int32_t> order = Schedule(kernels, numbers, buffers).run();
  CERMET_CHECK(order.size() == kernels.size(), "{} of {} kernels wait for each other",
               kernels.size() - order.size(), kernels.size());
  std::vector<Kernel> ordered;
  ordered.reserve(kernels.size());
  for (int32_t k : order) ordered.push_back(std::move(kernels[size_t(k)]));
  kernels = std::move(ordered);
}

}  // namespace cermet::compiler
