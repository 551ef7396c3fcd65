#pragma once
// Memory of one size that threads keep when they free it, for what expressions are made of: nodes
// and tensors live for microseconds and come in dozens, more than malloc keeps at hand.
//
// Each thread has a list of its own of at most `most` pieces; memory may be freed by another thread
// than took it. A thread's list is given back when the thread ends. Under AddressSanitizer nothing
// is kept, so that it sees what is used after it was freed.

#include <cstddef>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define CERMET_KEEPS_FREED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CERMET_KEEPS_FREED 0
#endif
#endif
#ifndef CERMET_KEEPS_FREED
#define CERMET_KEEPS_FREED 1
#endif

namespace cermet::ir {

template <size_t bytes>
class FreeList {
 public:
  static void* take() {
    if (Piece* piece = kept.first) {
      kept.first = piece->next;
      --kept.count;
      return piece;
    }
    return ::operator new(bytes);
  }

  static void give(void* memory) noexcept {
    if (kept.count < most && CERMET_KEEPS_FREED && !kept.closed) {
      if (!kept.first) close_with_thread();
      kept.first = new (memory) Piece{kept.first};
      ++kept.count;
    } else {
      ::operator delete(memory);
    }
  }

 private:
  static constexpr int most = 1024;
  struct Piece {
    Piece* next;
  };
  // Nothing to construct or destroy: static objects free what they hold after the main thread's
  // thread_local objects are gone.
  struct Kept {
    Piece* first = nullptr;
    int count = 0;
    bool closed = false;
  };
  static inline constinit thread_local Kept kept;

  static void close_with_thread() {
    struct Closer {
      ~Closer() {
        kept.closed = true;
        while (Piece* piece = kept.first) {
          kept.first = piece->next;
          ::operator delete(piece);
        }
      }
    };
    thread_local const Closer closer;
    (void)closer;
  }
};

// For std::allocate_shared: its object and counts in one piece of a FreeList.
template <class T>
struct FreeListAllocator {
  using value_type = T;
  FreeListAllocator() = default;
  template <class U>
  FreeListAllocator(const FreeListAllocator<U>&) {}  // NOLINT: as allocators convert
  T* allocate(size_t) { return static_cast<T*>(FreeList<sizeof(T)>::take()); }
  void deallocate(T* memory, size_t) noexcept { FreeList<sizeof(T)>::give(memory); }
  template <class U>
  friend bool operator==(const FreeListAllocator&, const FreeListAllocator<U>&) {
    return true;
  }
};

}  // namespace cermet::ir
