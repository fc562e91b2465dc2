#include "worker/weights/piece_packer.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "worker/weights/float_rows.h"

namespace octet::worker {
namespace {

constexpr int64_t kTaskRows = 48;  // of one packed panel; any other number is only slower

// Makes room for `count` rows of `shape`, as PackLinearRows wants them.
void ResizeRows(const kernels::LinearShape& shape, int64_t count, kernels::NeutralRows* rows) {
  const bool quantized = kernels::IsQuantized(shape.format);
  rows->rows = count;
  rows->codes.resize(quantized ? count * shape.inputs : 0);
  rows->scales.resize(quantized ? count * shape.group_count() : 0);
  rows->offsets.resize(shape.asymmetric ? rows->scales.size() : 0);
  rows->values.resize(quantized ? 0 : count * shape.inputs * DTypeBytes(DTypeOf(shape.format)));
}

}  // namespace

void FirstFailure::Report(int64_t row, Status status) {
  const std::lock_guard lock(mutex_);
  if (row_ >= 0 && row_ <= row) return;
  row_ = row;
  status_ = std::move(status);
}

Status PiecePacker::Pack(const LinearPiece& piece, const kernels::LinearShape& shape,
                         const Fill& fill) {
  if (shape.inputs == 0 || piece.row_begin == piece.row_end) return {};
  const int64_t packed_end = piece.packed_row + (piece.row_end - piece.row_begin);
  const int64_t first_task = piece.packed_row / kTaskRows;
  const int64_t task_end = (packed_end + kTaskRows - 1) / kTaskRows;
  // Tasks are handed out in order and those begun are finished, so the lowest failure is found.
  std::atomic<int64_t> next_task = first_task;
  std::atomic<bool> failed = false;
  FirstFailure failure;
  pool_.OnEachThread([&](int thread) {
    kernels::NeutralRows& rows = rows_of_thread_[thread];
    while (!failed.load()) {
      const int64_t task = next_task.fetch_add(1);
      if (task >= task_end) return;
      const int64_t begin = std::max(task * kTaskRows, piece.packed_row);
      const int64_t end = std::min((task + 1) * kTaskRows, packed_end);
      const int64_t row_begin = piece.row_begin + (begin - piece.packed_row);
      ResizeRows(shape, end - begin, &rows);
      if (Status status = fill(thread, row_begin, row_begin + (end - begin), &rows); !status.ok()) {
        failure.Report(row_begin, std::move(status));
        failed.store(true);
        return;
      }
      kernels::PackLinearRows(shape, begin, rows, piece.packed);
    }
  });
  return failure.status();
}

}  // namespace octet::worker
