#include "worker/weights/loader.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "base/check.h"
#include "worker/model/json.h"
#include "worker/weights/float_rows.h"
#include "worker/weights/round_to_nearest.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {
namespace {

constexpr int64_t kTaskElements = int64_t{1} << 15;  // what a thread takes at once

// The failure of the lowest row, whichever thread met one first.
class FirstFailure {
 public:
  void Report(int64_t row, Status status) {
    const std::lock_guard lock(mutex_);
    if (row_ >= 0 && row_ <= row) return;
    row_ = row;
    status_ = std::move(status);
  }
  const Status& status() const { return status_; }  // after the threads are done

 private:
  std::mutex mutex_;
  int64_t row_ = -1;
  Status status_;
};

Status NotFinite(const std::string& tensor, int64_t row_begin, int64_t row_end) {
  return DataLoss("tensor " + Quoted(tensor) + ": infinity or NaN in rows [" +
                  std::to_string(row_begin) + ", " + std::to_string(row_end) + ")");
}

Status TooLarge(const std::string& tensor, int64_t row) {
  return DataLoss("tensor " + Quoted(tensor) + ": a value in row " + std::to_string(row) +
                  " is too large for the format it is to be kept in");
}

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const WeightAssembly& assembly, ThreadPool& pool,
         const std::function<void(double)>& progress)
      : checkpoint_(checkpoint), assembly_(assembly), pool_(pool), progress_(progress) {
    for (const LinearPiece& piece : assembly.linears) total_elements_ += Elements(piece);
    total_elements_ += Elements(assembly.embedding);
  }

  Status LoadAll() {
    for (const VectorPiece& piece : assembly_.vectors) OCTET_RETURN_IF_ERROR(LoadVector(piece));
    OCTET_RETURN_IF_ERROR(LoadEmbedding(assembly_.embedding));
    for (const LinearPiece& piece : assembly_.linears) OCTET_RETURN_IF_ERROR(LoadLinear(piece));
    OCTET_RETURN_IF_ERROR(checkpoint_.CheckUnchanged());
    if (progress_) progress_(1.0);
    return {};
  }

 private:
  // One run of rows of one linear on its way from the file to the packed form.
  struct Block {
    const LinearPiece& piece;
    const kernels::LinearShape& shape;
    const Checkpoint::Tensor& tensor;
    DType stored;
    ColumnSpan columns;
    int64_t row_begin = 0;  // of the tensor
  };

  const kernels::LinearShape& ShapeOf(const LinearPiece& piece) const {
    return assembly_.weights.shapes.*piece.shape;
  }
  int64_t Elements(const LinearPiece& piece) const {
    return (piece.row_end - piece.row_begin) * SourceColumns(ShapeOf(piece), piece.inputs).count();
  }
  int64_t Elements(const EmbeddingPiece& piece) const {
    return (piece.row_end - piece.row_begin) * checkpoint_.Find(piece.tensor)->info->dims[1];
  }

  void Done(int64_t elements) {
    done_elements_ += elements;
    if (progress_ && done_elements_ < total_elements_) {
      progress_(static_cast<double>(done_elements_) / static_cast<double>(total_elements_));
    }
  }

  Status LoadVector(const VectorPiece& piece) {
    const Checkpoint::Tensor& tensor = *checkpoint_.Find(piece.tensor);
    const DType stored = *tensor.info->dtype();
    const int64_t count = piece.end - piece.begin;
    stored_.resize(count * DTypeBytes(stored));
    OCTET_RETURN_IF_ERROR(
        checkpoint_.ReadRows(tensor, {0, 1, piece.begin, piece.end}, stored_.data()));
    if (!AllFinite(stored, stored_.data(), count)) return NotFinite(piece.tensor, 0, 1);
    ToFloats(stored, stored_.data(), count, piece.out);
    return {};
  }

  Status LoadEmbedding(const EmbeddingPiece& piece) {
    const Checkpoint::Tensor& tensor = *checkpoint_.Find(piece.tensor);
    const DType stored = *tensor.info->dtype();
    OCTET_CHECK(stored == assembly_.weights.embedding_dtype);
    const int64_t hidden = tensor.info->dims[1];
    const int64_t rows = piece.row_end - piece.row_begin;
    FirstFailure failure;
    pool_.ParallelFor(
        rows, std::max<int64_t>(1, kTaskElements / hidden), [&](int64_t begin, int64_t end) {
          const MatrixSlice slice = {piece.row_begin + begin, piece.row_begin + end, 0, hidden};
          std::byte* const out = piece.out + begin * hidden * DTypeBytes(stored);
          if (Status read = checkpoint_.ReadRows(tensor, slice, out); !read.ok()) {
            failure.Report(begin, std::move(read));
          } else if (!AllFinite(stored, out, slice.rows() * hidden)) {
            failure.Report(begin, NotFinite(piece.tensor, slice.row_begin, slice.row_end));
          }
        });
    OCTET_RETURN_IF_ERROR(failure.status());
    Done(rows * hidden);
    return {};
  }

  Status LoadLinear(const LinearPiece& piece) {
    const kernels::LinearShape& shape = ShapeOf(piece);
    if (Elements(piece) == 0) return {};
    const Checkpoint::Tensor& tensor = *checkpoint_.Find(piece.tensor);
    Block block = {piece, shape, tensor, *tensor.info->dtype(), SourceColumns(shape, piece.inputs)};
    const int64_t columns = block.columns.count();
    const int64_t rows_max = BlockRows(columns);
    for (int64_t row = piece.row_begin; row < piece.row_end; row += rows_max) {
      const int64_t rows = std::min(rows_max, piece.row_end - row);
      block.row_begin = row;
      stored_.resize(rows * columns * DTypeBytes(block.stored));
      floats_.resize(rows * columns);
      ResizeRows(shape, rows, &rows_);
      FirstFailure failure;
      pool_.ParallelFor(rows, std::max<int64_t>(1, kTaskElements / columns),
                        [&](int64_t begin, int64_t end) { Fill(block, begin, end, &failure); });
      OCTET_RETURN_IF_ERROR(failure.status());
      kernels::PackLinearRows(shape, piece.packed_row + (row - piece.row_begin), rows_,
                              piece.packed);
      Done(rows * columns);
    }
    return {};
  }

  // Rows [begin, end) of a block, from the file to the neutral form.
  void Fill(const Block& block, int64_t begin, int64_t end, FirstFailure* failure) {
    const int64_t columns = block.columns.count();
    const std::string& name = block.piece.tensor;
    const MatrixSlice slice = {block.row_begin + begin, block.row_begin + end, block.columns.begin,
                               block.columns.end};
    std::byte* const stored = stored_.data() + begin * columns * DTypeBytes(block.stored);
    if (Status read = checkpoint_.ReadRows(block.tensor, slice, stored); !read.ok()) {
      failure->Report(begin, std::move(read));
      return;
    }
    if (!AllFinite(block.stored, stored, slice.rows() * columns)) {
      failure->Report(begin, NotFinite(name, slice.row_begin, slice.row_end));
      return;
    }
    float* const floats = floats_.data() + begin * columns;
    ToFloats(block.stored, stored, slice.rows() * columns, floats);
    for (int64_t row = begin; row < end; ++row) {
      if (ToNeutral(block, floats_.data() + row * columns, row)) continue;
      failure->Report(row, TooLarge(name, block.row_begin + row));
      return;
    }
  }

  bool ToNeutral(const Block& block, const float* values, int64_t row) {
    const kernels::LinearShape& shape = block.shape;
    if (!kernels::IsQuantized(shape.format)) {
      const DType kept = DTypeOf(shape.format);
      auto* const out =
          reinterpret_cast<std::byte*>(rows_.values.data()) + row * shape.inputs * DTypeBytes(kept);
      return FromFloats(kept, values, shape.inputs, out);
    }
    return QuantizeRow(shape, block.piece.inputs, values, rows_.codes.data() + row * shape.inputs,
                       rows_.scales.data() + row * shape.group_count());
  }

  const Checkpoint& checkpoint_;
  const WeightAssembly& assembly_;
  ThreadPool& pool_;
  const std::function<void(double)>& progress_;
  int64_t total_elements_ = 0;
  int64_t done_elements_ = 0;
  // Staging of one block.
  std::vector<std::byte> stored_;
  std::vector<float> floats_;
  kernels::NeutralRows rows_;
};

}  // namespace

Result<DecoderWeights> LoadDecoderWeights(const Checkpoint& checkpoint, const ModelSpec& spec,
                                          const ShardPlan& shard, const WeightOptions& options,
                                          ThreadPool& pool,
                                          const std::function<void(double)>& progress) {
  OCTET_RETURN_IF_ERROR(CheckTensors(checkpoint, spec));
  const DType embedding = StoredTypesOf(checkpoint, spec).embedding;
  if (embedding != options.embedding) {
    return InvalidArgument("the embedding is stored as " + std::string(DTypeName(embedding)) +
                           ", but planned as " + std::string(DTypeName(options.embedding)));
  }
  WeightAssembly assembly = WeightAssembly::Make(spec, shard, options);
  OCTET_RETURN_IF_ERROR(Loader(checkpoint, assembly, pool, progress).LoadAll());
  return std::move(assembly.weights);
}

}  // namespace octet::worker
