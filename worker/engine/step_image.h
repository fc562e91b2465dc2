// Everything that a step brings to the device, in one piece, so that it goes there in one copy. The
// host lays it out in parts; where host and device are the same memory nothing is copied. On a
// device there are several images of the host for one of the device, so that a step can be laid out
// while the copy of the one before has not run.
//
// Parts are taken in the same order for every step of a shape, and so have the same addresses on
// the device in every step of that shape: a recorded graph finds them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/buffer.h"
#include "base/check.h"
#include "base/device/device.h"

namespace octet::worker {

// One array of a step: `host` is written, `device` read by kernels.
template <typename T>
struct ImagePart {
  T* host = nullptr;
  T* device = nullptr;
};

class StepImage {
 public:
  StepImage() = default;
  // `device` may be `host`. Both have `bytes`.
  StepImage(std::byte* host, std::byte* device, int64_t bytes)
      : host_(host), device_(device), bytes_(bytes) {}

  void Rewind() { taken_ = 0; }
  template <typename T>
  ImagePart<T> Take(int64_t count) {
    const int64_t begin = taken_;
    taken_ += AlignUp(count * static_cast<int64_t>(sizeof(T)));
    OCTET_CHECK_LE(taken_, bytes_);
    return {reinterpret_cast<T*>(host_ + begin), reinterpret_cast<T*>(device_ + begin)};
  }
  // Gives back the end of what was taken last.
  void Return(int64_t bytes) { taken_ -= bytes / kBufferAlignment * kBufferAlignment; }
  // What was taken, to the device.
  void Upload(Stream& stream) const {
    if (host_ != device_ && taken_ > 0) CopyToDevice(device_, host_, taken_, stream);
  }
  int64_t taken_bytes() const { return taken_; }

 private:
  std::byte* host_ = nullptr;
  std::byte* device_ = nullptr;
  int64_t bytes_ = 0;
  int64_t taken_ = 0;
};

inline constexpr int32_t kLastToken = -1;  // in place of a row's token: the last its slot drew

// The rows of a step. `rows` may count padding at the end.
struct StepRows {
  int64_t rows = 0;
  ImagePart<int32_t> tokens;       // [rows] or kLastToken
  ImagePart<int32_t> slots;        // [rows] -1: padding
  ImagePart<int32_t> positions;    // [rows] absolute
  ImagePart<int64_t> cache_slots;  // [rows] block id * 64 + position inside the block; -1: none

  static StepRows Take(int64_t rows, StepImage* image) {
    StepRows step;
    step.rows = rows;
    step.tokens = image->Take<int32_t>(rows);
    step.slots = image->Take<int32_t>(rows);
    step.positions = image->Take<int32_t>(rows);
    step.cache_slots = image->Take<int64_t>(rows);
    return step;
  }
  static int64_t Bytes(int64_t rows) {
    return 3 * AlignUp(rows * int64_t{sizeof(int32_t)}) + AlignUp(rows * int64_t{sizeof(int64_t)});
  }
  // Rows [begin, rows) compute something harmless: token 0 at position 0, appended nowhere.
  void Pad(int64_t begin) const {
    for (int64_t row = begin; row < rows; ++row) {
      tokens.host[row] = 0;
      slots.host[row] = -1;
      positions.host[row] = 0;
      cache_slots.host[row] = -1;
    }
  }
};

}  // namespace octet::worker
