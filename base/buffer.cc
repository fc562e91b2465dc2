#include "base/buffer.h"

#include <sys/mman.h>

#include <utility>

namespace octet {
namespace {

constexpr int64_t kHugePageBytes = int64_t{2} << 20;

}  // namespace

Buffer::Buffer(int64_t bytes) {
  Result<Buffer> allocated = Allocate(bytes);
  if (!allocated.ok()) CheckFailed(__FILE__, __LINE__, allocated.status().message());
  *this = std::move(*allocated);
}

Result<Buffer> Buffer::Allocate(int64_t bytes) {
  OCTET_CHECK_GE(bytes, 0);
  Buffer buffer;
  if (bytes == 0) return buffer;
  void* data = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return ResourceExhausted("the system does not give " + std::to_string(bytes) +
                             " bytes of memory");
  }
  if (bytes >= kHugePageBytes) madvise(data, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return OfMapping(static_cast<std::byte*>(data), bytes);
}

Buffer::~Buffer() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(bytes_));
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Buffer Buffer::OfMapping(std::byte* data, int64_t bytes) {
  OCTET_CHECK(data != nullptr);
  OCTET_CHECK_GE(bytes, 1);
  Buffer buffer;
  buffer.data_ = data;
  buffer.bytes_ = bytes;
  return buffer;
}

void Buffer::Seal() {
  if (data_ == nullptr) return;
  OCTET_CHECK_EQ(mprotect(data_, static_cast<size_t>(bytes_), PROT_READ), 0);
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

std::byte* Arena::TakeBytes(int64_t bytes) {
  OCTET_CHECK_GE(bytes, 0);
  const int64_t end = taken_ + AlignUp(bytes);
  if (end > buffer_.bytes())
    CheckFailed(__FILE__, __LINE__, "arena '" + name_ + "' overflows its plan");
  return buffer_.data() + std::exchange(taken_, end);
}

}  // namespace octet
