#pragma once
// A vector that keeps its first N elements inside itself. Shapes, strides and operand lists are
// nearly always short, and there are millions of them.

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace cermet {

template <class T, uint32_t N>
class SmallVector {
 public:
  using value_type = T;
  using iterator = T*;
  using const_iterator = const T*;

  SmallVector() = default;
  explicit SmallVector(size_t count, const T& value = T()) { resize(count, value); }
  SmallVector(std::initializer_list<T> list) : SmallVector(list.begin(), list.end()) {}
  SmallVector(std::span<const T> span) : SmallVector(span.begin(), span.end()) {}
  SmallVector(const std::vector<T>& v) : SmallVector(v.begin(), v.end()) {}
  template <std::input_iterator It>
  SmallVector(It first, It last) {
    append(first, last);
  }
  SmallVector(const SmallVector& other) : SmallVector(other.begin(), other.end()) {}
  SmallVector(SmallVector&& other) noexcept { take(other); }
  SmallVector& operator=(const SmallVector& other) {
    if (this != &other) assign(other.begin(), other.end());
    return *this;
  }
  SmallVector& operator=(SmallVector&& other) noexcept {
    if (this != &other) release(), take(other);
    return *this;
  }
  ~SmallVector() { release(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }
  const T& back() const { return data_[size_ - 1]; }
  T& front() { return data_[0]; }
  const T& front() const { return data_[0]; }

  void push_back(T value) {
    if (size_ == capacity_) grow(size_t(capacity_) * 2);
    std::construct_at(data_ + size_++, std::move(value));
  }
  void pop_back() { std::destroy_at(data_ + --size_); }
  void clear() {
    std::destroy_n(data_, size_);
    size_ = 0;
  }
  void reserve(size_t count) {
    if (count > capacity_) grow(count);
  }
  void resize(size_t count, const T& value = T()) {
    while (size_ > count) pop_back();
    reserve(count);
    std::uninitialized_fill(data_ + size_, data_ + count, value);
    size_ = uint32_t(count);
  }
  template <std::input_iterator It>
  void assign(It first, It last) {
    clear();
    append(first, last);
  }
  template <std::input_iterator It>
  void append(It first, It last) {
    if constexpr (std::forward_iterator<It>) {
      const size_t count = size_t(std::distance(first, last));
      reserve(size_ + count);
      std::uninitialized_copy(first, last, data_ + size_);
      size_ += uint32_t(count);
    } else {
      for (; first != last; ++first) push_back(*first);
    }
  }
  iterator insert(const_iterator where, T value) {
    const size_t at = size_t(where - data_);
    push_back(std::move(value));
    std::rotate(data_ + at, data_ + size_ - 1, data_ + size_);
    return data_ + at;
  }
  iterator erase(const_iterator where) {
    T* at = data_ + (where - data_);
    std::move(at + 1, end(), at);
    pop_back();
    return at;
  }

  operator std::span<const T>() const { return {data_, size_}; }
  friend bool operator==(const SmallVector& a, const SmallVector& b) {
    if (a.size_ != b.size_) return false;
    for (size_t i = 0; i < a.size_; ++i)  // a few elements: no call of memcmp
      if (!(a.data_[i] == b.data_[i])) return false;
    return true;
  }

 private:
  T* inline_data() { return reinterpret_cast<T*>(storage_); }
  [[gnu::noinline]] void grow(size_t count) {  // rare, and not worth a copy at each caller
    T* fresh = std::allocator<T>().allocate(count);
    std::uninitialized_move_n(data_, size_, fresh);
    std::destroy_n(data_, size_);
    if (data_ != inline_data()) std::allocator<T>().deallocate(data_, capacity_);
    data_ = fresh, capacity_ = uint32_t(count);
  }
  void release() {
    clear();
    if (data_ != inline_data()) std::allocator<T>().deallocate(data_, capacity_);
    data_ = inline_data(), capacity_ = N;
  }
  void take(SmallVector& other) {  // this is empty and inline
    if (other.data_ == other.inline_data()) {
      std::uninitialized_move_n(other.data_, other.size_, data_);
      size_ = other.size_;
      other.clear();
    } else {
      data_ = other.data_, size_ = other.size_, capacity_ = other.capacity_;
      other.data_ = other.inline_data(), other.size_ = 0, other.capacity_ = N;
    }
  }

  alignas(T) std::byte storage_[sizeof(T) * N];
  T* data_ = inline_data();
  uint32_t size_ = 0, capacity_ = N;
};

}  // namespace cermet
