#include "support/kernels.h"

#include <sys/mman.h>
#include <unistd.h>

#include <stdexcept>

namespace cermet::test {

GuardedMemory::GuardedMemory(size_t bytes) : bytes_(bytes) {
  const auto page = size_t(sysconf(_SC_PAGESIZE));
  size_ = (bytes + page - 1) / page * page;
  void* all = mmap(nullptr, size_ + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) throw std::runtime_error("mmap failed");
  pages_ = static_cast<std::byte*>(all) + page;
  if (mprotect(pages_, size_, PROT_READ | PROT_WRITE) != 0)
    throw std::runtime_error("mprotect failed");
}

GuardedMemory::~GuardedMemory() {
  const auto page = size_t(sysconf(_SC_PAGESIZE));
  munmap(pages_ - page, size_ + 2 * page);
}

}  // namespace cermet::test
