#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>

namespace sinkrouter {

// A growable array on cache-line boundaries for plain data. Growing does not keep the contents,
// new elements are not initialised, and it never shrinks.
template <typename T>
class AlignedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr std::align_val_t kAlignment{64};

  void reserve(std::int64_t count) {
    if (count <= size_) return;
    storage_.reset();
    size_ = 0;
    storage_.reset(
        static_cast<T*>(::operator new(static_cast<std::size_t>(count) * sizeof(T), kAlignment)));
    size_ = count;
  }

  T* data() { return storage_.get(); }
  const T* data() const { return storage_.get(); }
  std::int64_t size() const { return size_; }
  T& operator[](std::int64_t index) { return storage_.get()[index]; }
  const T& operator[](std::int64_t index) const { return storage_.get()[index]; }

 private:
  struct Delete {
    void operator()(T* pointer) const { ::operator delete(pointer, kAlignment); }
  };
  std::unique_ptr<T, Delete> storage_;
  std::int64_t size_ = 0;
};

}  // namespace sinkrouter
