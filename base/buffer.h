// Memory that is planned, then taken once. Buffer owns one mapping: aligned, zeroed memory of its
// own (huge pages where the system grants them), or a part of a file that someone mapped for it.
// Arena hands out parts of a planned number of bytes and can say whether all of them, and no more,
// were taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/status.h"

namespace octet {

inline constexpr int64_t kBufferAlignment = 64;  // bytes: one cache line, one zmm register

constexpr int64_t AlignUp(int64_t bytes, int64_t alignment = kBufferAlignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t bytes);  // zeroed, aligned to kBufferAlignment at least
  // The same, where the system may not have as much.
  static Result<Buffer> Allocate(int64_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  // Takes over `bytes` that mmap returned; they are unmapped with the object.
  static Buffer OfMapping(std::byte* data, int64_t bytes);

  // From now on a write is a fault, for the rest of the mapping's life.
  void Seal();

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

class Arena {
 public:
  Arena() = default;
  // `name` appears in the message when the plan was wrong.
  Arena(std::string name, int64_t planned_bytes) : Arena(std::move(name), Buffer(planned_bytes)) {}
  // The plan is the buffer's size.
  Arena(std::string name, Buffer buffer) : name_(std::move(name)), buffer_(std::move(buffer)) {}

  // `count` elements of T, aligned to kBufferAlignment. Takes AlignUp(count * sizeof(T)) bytes.
  template <typename T>
  T* Take(int64_t count) {
    return reinterpret_cast<T*>(TakeBytes(count * static_cast<int64_t>(sizeof(T))));
  }
  std::byte* TakeBytes(int64_t bytes);
  void Seal() { buffer_.Seal(); }  // see Buffer

  const std::byte* data() const { return buffer_.data(); }
  int64_t planned_bytes() const { return buffer_.bytes(); }
  int64_t taken_bytes() const { return taken_; }

 private:
  std::string name_;
  Buffer buffer_;
  int64_t taken_ = 0;
};

}  // namespace octet
