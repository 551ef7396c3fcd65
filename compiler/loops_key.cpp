#include "compiler/loops_key.h"

#include <cstring>
#include <span>

namespace cermet::compiler::loops {
namespace {

// Words at the end of a string that grows in large steps.
class Words {
 public:
  explicit Words(size_t expected) { out_.resize(expected * sizeof(int32_t)); }

  void add(int32_t word) { std::memcpy(take(1), &word, sizeof(word)); }
  void add_wide(int64_t value) { std::memcpy(take(2), &value, sizeof(value)); }
  // The count first, so that no list can be read as two.
  void add(std::span<const Ref> list) {
    add(int32_t(list.size()));
    if (!list.empty()) std::memcpy(take(list.size()), list.data(), list.size_bytes());
  }
  std::string done() {
    out_.resize(size_);
    return std::move(out_);
  }

 private:
  char* take(size_t words) {
    const size_t begin = size_;
    size_ += words * sizeof(int32_t);
    if (size_ > out_.size()) out_.resize(2 * size_);
    return out_.data() + begin;
  }

  std::string out_;
  size_t size_ = 0;  // of the bytes that were added
};
static_assert(sizeof(Ref) == sizeof(int32_t));

}  // namespace

std::string key_of(const Function& function) {
  Words out(function.instructions.size() * 8 + 256);
  for (const int32_t word :
       {function.argument_count, function.threads, function.index_bits, function.resident,
        int32_t(function.buffers.size()), int32_t(function.instructions.size())})
    out.add(word);
  for (const Buffer& b : function.buffers) {
    out.add(int32_t(b.kind) | int32_t(b.dtype) << 8 | int32_t(b.written) << 16 |
            int32_t(b.restrict_) << 17 | int32_t(b.streamed) << 18);
    out.add(b.index), out.add_wide(b.elements), out.add(b.offset.id);
  }
  for (const Instruction& i : function.instructions) {
    out.add(int32_t(uint32_t(i.op) | uint32_t(i.dtype) << 8 | uint32_t(i.lanes) << 16));
    out.add(i.block), out.add_wide(i.imm), out.add(std::span<const Ref>(i.operands));
  }
  for (const Block& b : function.blocks)
    out.add(b.parameters), out.add(b.instructions), out.add(b.yields);
  return out.done();
}

}  // namespace cermet::compiler::loops
