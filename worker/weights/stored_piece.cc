#include "worker/weights/stored_piece.h"

#include <algorithm>
#include <utility>

#include "base/buffer.h"
#include "base/check.h"
#include "base/json/json.h"

namespace octet::worker {
namespace {

constexpr int64_t kReadBytes = int64_t{1} << 20;  // of one read of several rows
constexpr int64_t kChunkRows = 48;                // of one packed panel

// Bytes that a block takes of all tensors.
int64_t StagedBytes(const StoredFormat& format, const std::vector<StoredTensorSpec>& specs,
                    const std::vector<const Checkpoint::Tensor*>& tensors,
                    const StoredBlock& block) {
  int64_t bytes = 0;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (tensors[i] == nullptr) continue;
    const MatrixSlice slice = format.SliceOf(i, block);
    bytes += AlignUp(slice.rows() * slice.cols() * DTypeBytes(*tensors[i]->info->dtype()));
  }
  return bytes;
}

}  // namespace

Status StoredPieceLoader::Load(const LinearPiece& piece, const kernels::LinearShape& shape,
                               const std::function<void(int64_t)>& advance) {
  if (shape.inputs == 0 || piece.row_begin == piece.row_end) return {};
  const StoredFormat& format = *modules_.format();
  const LinearModule& found = modules_.Find(piece.module);
  OCTET_CHECK_EQ(found.inputs, piece.inputs);
  Module module = {.name = piece.module,
                   .format = format,
                   .specs = format.Tensors(found.outputs, found.inputs),
                   .inputs = found.inputs};
  for (const StoredTensorSpec& spec : module.specs) {
    module.tensors.push_back(checkpoint_.Find(StoredTensorName(piece.module, spec.suffix)));
  }
  const int64_t group = format.group_inputs(found.inputs);
  StoredBlock block;
  block.weights = {piece.row_begin, piece.row_begin + kChunkRows, shape.input_begin,
                   shape.input_begin + shape.inputs};
  block.group_begin = shape.input_begin / group;
  block.group_end = (shape.input_begin + shape.inputs - 1) / group + 1;
  const int64_t chunk_bytes = StagedBytes(format, module.specs, module.tensors, block);
  const int64_t chunk = std::max<int64_t>(1, kStagedBytesMax / chunk_bytes) * kChunkRows;
  for (int64_t row = piece.row_begin; row < piece.row_end; row += chunk) {
    LinearPiece part = piece;
    part.row_begin = row;
    part.row_end = std::min(row + chunk, piece.row_end);
    part.packed_row = piece.packed_row + (row - piece.row_begin);
    block.weights.row_begin = part.row_begin;
    block.weights.row_end = part.row_end;
    OCTET_RETURN_IF_ERROR(Stage(module, block, advance));
    OCTET_RETURN_IF_ERROR(packer_.Pack(
        part, shape, [&](int thread, int64_t begin, int64_t end, kernels::NeutralRows* rows) {
          return Unpack(module, block, shape, thread, begin, end, rows);
        }));
  }
  return {};
}

Status StoredPieceLoader::Stage(const Module& module, const StoredBlock& block,
                                const std::function<void(int64_t)>& advance) {
  bytes_.resize(StagedBytes(module.format, module.specs, module.tensors, block));
  staged_.assign(module.specs.size(), StagedTensor());
  const int64_t weights = block.weights.rows() * block.weights.cols();
  int64_t at = 0;
  for (size_t i = 0; i < module.specs.size(); ++i) {
    if (module.tensors[i] == nullptr) continue;
    const Checkpoint::Tensor& tensor = *module.tensors[i];
    const DType type = *tensor.info->dtype();
    const MatrixSlice slice = module.format.SliceOf(i, block);
    std::byte* const to = bytes_.data() + at;
    const int64_t row_bytes = slice.cols() * DTypeBytes(type);
    if (slice.rows() == 0 || row_bytes == 0) continue;
    FirstFailure failure;
    pool_.ParallelFor(
        slice.rows(), std::max<int64_t>(1, kReadBytes / row_bytes),
        [&](int64_t begin, int64_t end) {
          Status status = checkpoint_.ReadRows(
              tensor,
              {slice.row_begin + begin, slice.row_begin + end, slice.col_begin, slice.col_end},
              to + begin * row_bytes);
          if (!status.ok()) failure.Report(begin, std::move(status));
          // The first tensor has the codes: its rows stand for the weights.
          if (i == 0) advance(weights * end / slice.rows() - weights * begin / slice.rows());
        });
    OCTET_RETURN_IF_ERROR(failure.status());
    staged_[i] = {type, slice, to};
    at += AlignUp(slice.rows() * row_bytes);
  }
  return {};
}

Status StoredPieceLoader::Unpack(const Module& module, const StoredBlock& block,
                                 const kernels::LinearShape& shape, int thread, int64_t row_begin,
                                 int64_t row_end, kernels::NeutralRows* rows) {
  Scratch& scratch = scratch_[thread];
  const int64_t count = row_end - row_begin;
  const int64_t groups = block.groups();
  scratch.scales.resize(count * groups);
  scratch.offsets.resize(shape.asymmetric ? count * groups : 0);
  const StoredRows to = {.row_begin = row_begin,
                         .row_end = row_end,
                         .codes = rows->codes.data(),
                         .scales = scratch.scales.data(),
                         .offsets = shape.asymmetric ? scratch.offsets.data() : nullptr,
                         .oddities = &scratch.oddities};
  if (const auto fault = module.format.Unpack(staged_, block, to); fault.has_value()) {
    const Checkpoint::Tensor& tensor = *module.tensors[fault->tensor];
    return DataLoss(checkpoint_.FileOf(tensor) + ": tensor " + Quoted(tensor.info->name) + ": " +
                    fault->text);
  }
  // Each group of the shape lies in one of the stored groups, or is one.
  const int64_t stored_group = module.format.group_inputs(module.inputs);
  const int64_t kept = shape.group_count();
  for (int64_t g = 0; g < kept; ++g) {
    const int64_t from = (shape.group_begin() + g) * shape.group / stored_group - block.group_begin;
    for (int64_t row = 0; row < count; ++row) {
      rows->scales[row * kept + g] = scratch.scales[row * groups + from];
      if (shape.asymmetric) rows->offsets[row * kept + g] = scratch.offsets[row * groups + from];
    }
  }
  return {};
}

std::string StoredPieceLoader::Warning() const {
  int64_t words = 0;
  for (const Scratch& scratch : scratch_) words += scratch.oddities.ambiguous_zero_words;
  if (words == 0) return "";
  return std::to_string(words) +
         " words of packed zero points hold one of 0, which format \"gptq\" can not tell from one "
         "of 2^bits; they are read as GPTQModel reads them, 0x11111111 added to the word";
}

}  // namespace octet::worker
