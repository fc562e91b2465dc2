#include "worker/weights/stored_piece.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "base/buffer.h"
#include "base/check.h"
#include "base/json/json.h"

namespace octet::worker {
namespace {

constexpr int64_t kReadBytes = int64_t{1} << 20;  // of one read of several rows
constexpr int64_t kChunkRows = 48;                // of one packed panel

// Bytes that a block takes of all tensors.
int64_t StagedBytes(const StoredFormat& format,
                    const std::vector<const Checkpoint::Tensor*>& tensors,
                    const StoredBlock& block) {
  int64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i] == nullptr) continue;
    const MatrixSlice slice = format.SliceOf(i, block);
    bytes += AlignUp(slice.rows() * slice.cols() * DTypeBytes(*tensors[i]->info->dtype()));
  }
  return bytes;
}

// From a block's codes, scales and offsets to rows as `shape` keeps them.
struct ToNeutral {
  const kernels::LinearShape& shape;
  const StoredBlock& block;
  int64_t stored_group;
  const int32_t* input_order;    // of the local inputs, or null
  const int32_t* group_numbers;  // of the local inputs, or null
  const InputRuns* runs;         // or null
  kernels::NeutralRows* rows;

  void Codes(const uint8_t* codes, int64_t row) const {
    uint8_t* const to = rows->codes.data() + row * shape.inputs;
    if (runs != nullptr) {
      const int32_t* inputs = runs->inputs.data() + shape.input_begin;
      for (int64_t i = 0; i < shape.inputs; ++i)
        to[i] = inputs[i] < 0 ? 0 : codes[inputs[i] - block.weights.col_begin];
      return;
    }
    if (input_order == nullptr) {
      std::memcpy(to, codes, shape.inputs);
      return;
    }
    for (int64_t i = 0; i < shape.inputs; ++i) to[i] = codes[input_order[i]];
  }
  // Each group of the shape lies in one of the stored groups, or is one.
  void Scales(const float* from, int64_t row, float* to) const {
    const int64_t kept = shape.group_count();
    for (int64_t g = 0; g < kept && runs != nullptr; ++g) {
      const int32_t group = runs->groups[shape.group_begin() + g];
      to[row * kept + g] = group < 0 ? 0.0f : from[group - block.group_begin];
    }
    for (int64_t g = 0; g < kept && runs == nullptr; ++g) {
      to[row * kept + g] =
          from[(shape.group_begin() + g) * shape.group / stored_group - block.group_begin];
    }
  }
  // The weights themselves, for a linear that is kept as f32: exact, as products of a scale and a
  // difference of codes fit a float.
  void Values(const uint8_t* codes, const float* scales, const float* offsets, float middle,
              int64_t row) const {
    auto* const to = reinterpret_cast<float*>(rows->values.data()) + row * shape.inputs;
    for (int64_t i = 0; i < shape.inputs; ++i) {
      const int64_t g = group_numbers[i] - block.group_begin;
      const float offset = offsets == nullptr ? -middle * scales[g] : offsets[g];
      to[i] = scales[g] * static_cast<float>(codes[i]) + offset;
    }
  }
};

}  // namespace

StoredPieceLoader::Module StoredPieceLoader::Describe(const LinearPiece& piece,
                                                      const kernels::LinearShape& shape) const {
  const StoredFormat& format = *modules_.format();
  const LinearModule& found = modules_.Find(piece.module);
  OCTET_CHECK_EQ(found.inputs, piece.inputs);
  Module module = {.name = piece.module,
                   .format = format,
                   .specs = format.Tensors(found.outputs, found.inputs),
                   .tensors = {},
                   .outputs = found.outputs,
                   .inputs = found.inputs,
                   .output_order = modules_.OutputOrder(piece.module),
                   .is_row_parallel = found.kind == LinearKind::kDown};
  for (const StoredTensorSpec& spec : module.specs) {
    module.tensors.push_back(checkpoint_.Find(StoredTensorName(piece.module, spec.suffix)));
  }
  // The attention output keeps its inputs where they are.
  const bool in_runs = kernels::IsQuantized(shape.format) && modules_.linears().o_runs.has_value();
  if (found.kind == LinearKind::kO && in_runs) {
    module.runs = &modules_.RunsOf(found.layer);
  } else if (found.kind == LinearKind::kO) {
    module.group_numbers = modules_.GroupNumbers(piece.module);
  } else {
    module.input_order = modules_.InputOrder(piece.module);
  }
  return module;
}

Status StoredPieceLoader::Load(const LinearPiece& piece, const kernels::LinearShape& shape,
                               const std::function<void(int64_t)>& advance) {
  if (shape.inputs == 0 || piece.row_begin == piece.row_end) return {};
  const Module module = Describe(piece, shape);
  const int64_t group = module.format.group_inputs(module.inputs);
  const int64_t input_end = shape.input_begin + shape.inputs;
  StoredBlock block;
  block.weights = {piece.row_begin, piece.row_begin + kChunkRows, shape.input_begin, input_end};
  block.group_begin = shape.input_begin / group;
  block.group_end = (input_end - 1) / group + 1;
  if (module.runs != nullptr) {
    block.weights.col_begin = module.runs->InputBegin(shape);
    block.weights.col_end = module.runs->InputEnd(shape);
  }
  if (module.input_order != nullptr || module.group_numbers != nullptr || module.runs != nullptr) {
    block.group_begin = 0;
    block.group_end = module.format.group_count(module.inputs);
  }
  if (module.input_order != nullptr) {
    block.weights.col_begin = 0;
    block.weights.col_end = module.inputs;
  }
  const bool is_dealt = module.input_order != nullptr && module.is_row_parallel;
  if (module.output_order != nullptr || (is_dealt && shared_ != nullptr))
    return LoadWhole(module, block, piece, shape, advance);
  const int64_t chunk_bytes = StagedBytes(module.format, module.tensors, block);
  const int64_t chunk = std::max<int64_t>(1, kStagedBytesMax / chunk_bytes) * kChunkRows;
  for (int64_t row = piece.row_begin; row < piece.row_end; row += chunk) {
    LinearPiece part = piece;
    part.row_begin = row;
    part.row_end = std::min(row + chunk, piece.row_end);
    part.packed_row = piece.packed_row + (row - piece.row_begin);
    block.weights.row_begin = part.row_begin;
    block.weights.row_end = part.row_end;
    OCTET_RETURN_IF_ERROR(LoadBlock(module, block, part, shape, advance));
  }
  return {};
}

Status StoredPieceLoader::LoadWhole(const Module& module, StoredBlock block,
                                    const LinearPiece& piece, const kernels::LinearShape& shape,
                                    const std::function<void(int64_t)>& advance) {
  block.weights.row_begin = 0;
  block.weights.row_end = module.outputs;
  const int64_t bytes = StagedBytes(module.format, module.tensors, block);
  if (bytes > kWholeStagedBytesMax) {
    return ResourceExhausted("module " + Quoted(module.name) + ": " + std::to_string(bytes) +
                             " bytes to be read whole because of act-order, the limit is " +
                             std::to_string(kWholeStagedBytesMax));
  }
  if (shared_ == nullptr) return LoadBlock(module, block, piece, shape, advance);
  const auto no_news = [](int64_t) {};
  OCTET_ASSIGN_OR_RETURN(const std::byte* const whole,
                         shared_->Next(bytes, [&](int part, int parts, std::byte* to) {
                           return ReadPart(module, block, part, parts, to, no_news);
                         }));
  if (whole == nullptr) return LoadBlock(module, block, piece, shape, advance);
  PlaceStaged(module, block, whole);
  advance((piece.row_end - piece.row_begin) * shape.inputs);
  Status status = PackStaged(module, block, piece, shape);
  shared_->Release();
  return status;
}

// The piece's rows are in the block.
Status StoredPieceLoader::LoadBlock(const Module& module, const StoredBlock& block,
                                    const LinearPiece& piece, const kernels::LinearShape& shape,
                                    const std::function<void(int64_t)>& advance) {
  const int64_t weights = (piece.row_end - piece.row_begin) * shape.inputs;
  OCTET_RETURN_IF_ERROR(Stage(module, block, advance, weights));
  return PackStaged(module, block, piece, shape);
}

Status StoredPieceLoader::PackStaged(const Module& module, const StoredBlock& block,
                                     const LinearPiece& piece, const kernels::LinearShape& shape) {
  const bool is_float = !kernels::IsQuantized(shape.format);
  const int64_t inputs = block.weights.cols();
  const int64_t groups = block.groups();
  const auto middle = static_cast<float>(1 << (module.format.config().bits - 1));
  const auto local = [&](const std::vector<int32_t>* all) {
    return all == nullptr ? nullptr : all->data() + shape.input_begin;
  };
  return packer_.Pack(
      piece, shape, [&](int thread, int64_t begin, int64_t end, kernels::NeutralRows* rows) {
        Scratch& scratch = scratch_[thread];
        const ToNeutral to = {shape,
                              block,
                              module.format.group_inputs(module.inputs),
                              local(module.input_order),
                              local(module.group_numbers),
                              module.runs,
                              rows};
        const bool together = module.output_order == nullptr;
        if (together) OCTET_RETURN_IF_ERROR(Unpack(module, block, begin, end, &scratch));
        for (int64_t row = begin; row < end; ++row) {
          const int64_t out = row - begin;
          const int64_t from = together ? out : 0;
          if (!together) {
            const int64_t stored = (*module.output_order)[row];
            OCTET_RETURN_IF_ERROR(Unpack(module, block, stored, stored + 1, &scratch));
          }
          const uint8_t* codes = scratch.codes.data() + from * inputs;
          const float* scales = scratch.scales.data() + from * groups;
          const float* offsets =
              scratch.offsets.empty() ? nullptr : scratch.offsets.data() + from * groups;
          if (is_float) {
            to.Values(codes, scales, offsets, middle, out);
            continue;
          }
          to.Codes(codes, out);
          to.Scales(scales, out, rows->scales.data());
          if (shape.asymmetric) to.Scales(offsets, out, rows->offsets.data());
        }
        return Status();
      });
}

// `advance` hears of `weights` in the end.
Status StoredPieceLoader::Stage(const Module& module, const StoredBlock& block,
                                const std::function<void(int64_t)>& advance, int64_t weights) {
  bytes_.resize(StagedBytes(module.format, module.tensors, block));
  PlaceStaged(module, block, bytes_.data());
  // The first tensor has the codes: its rows stand for the weights.
  const int64_t rows = module.format.SliceOf(0, block).rows();
  std::atomic<int64_t> read_rows = 0;
  return ReadPart(module, block, 0, 1, bytes_.data(), [&](int64_t more) {
    const int64_t before = read_rows.fetch_add(more);
    advance(weights * (before + more) / rows - weights * before / rows);
  });
}

// Where the parts of the block's tensors lie, one after the other.
void StoredPieceLoader::PlaceStaged(const Module& module, const StoredBlock& block,
                                    const std::byte* bytes) {
  staged_.assign(module.specs.size(), StagedTensor());
  for (size_t i = 0; i < module.specs.size(); ++i) {
    if (module.tensors[i] == nullptr) continue;
    const DType type = *module.tensors[i]->info->dtype();
    const MatrixSlice slice = module.format.SliceOf(i, block);
    const int64_t count = slice.rows() * slice.cols() * DTypeBytes(type);
    if (count == 0) continue;
    staged_[i] = {type, slice, bytes};
    bytes += AlignUp(count);
  }
}

// Of each tensor its part of the rows; `advance` hears of those of the first.
Status StoredPieceLoader::ReadPart(const Module& module, const StoredBlock& block, int part,
                                   int parts, std::byte* whole,
                                   const std::function<void(int64_t)>& advance) const {
  for (size_t i = 0; i < module.specs.size(); ++i) {
    if (module.tensors[i] == nullptr) continue;
    const Checkpoint::Tensor& tensor = *module.tensors[i];
    const MatrixSlice slice = module.format.SliceOf(i, block);
    const int64_t row_bytes = slice.cols() * DTypeBytes(*tensor.info->dtype());
    if (slice.rows() == 0 || row_bytes == 0) continue;
    const int64_t first = slice.rows() * part / parts;
    FirstFailure failure;
    pool_.ParallelFor(
        slice.rows() * (part + 1) / parts - first, std::max<int64_t>(1, kReadBytes / row_bytes),
        [&](int64_t begin, int64_t end) {
          const MatrixSlice rows = {slice.row_begin + first + begin, slice.row_begin + first + end,
                                    slice.col_begin, slice.col_end};
          Status status = checkpoint_.ReadRows(tensor, rows, whole + (first + begin) * row_bytes);
          if (!status.ok()) failure.Report(begin, std::move(status));
          if (i == 0) advance(end - begin);
        });
    OCTET_RETURN_IF_ERROR(failure.status());
    whole += AlignUp(slice.rows() * row_bytes);
  }
  return {};
}

Status StoredPieceLoader::Unpack(const Module& module, const StoredBlock& block, int64_t row_begin,
                                 int64_t row_end, Scratch* scratch) const {
  const int64_t count = row_end - row_begin;
  const bool symmetric = module.format.config().symmetric;
  scratch->codes.resize(count * block.weights.cols());
  scratch->scales.resize(count * block.groups());
  scratch->offsets.resize(symmetric ? 0 : scratch->scales.size());
  const StoredRows rows = {.row_begin = row_begin,
                           .row_end = row_end,
                           .codes = scratch->codes.data(),
                           .scales = scratch->scales.data(),
                           .offsets = symmetric ? nullptr : scratch->offsets.data(),
                           .oddities = &scratch->oddities};
  const std::optional<StoredFault> fault = module.format.Unpack(staged_, block, rows);
  if (!fault.has_value()) return {};
  const Checkpoint::Tensor& tensor = *module.tensors[fault->tensor];
  return DataLoss(checkpoint_.FileOf(tensor) + ": tensor " + Quoted(tensor.info->name) + ": " +
                  fault->text);
}

std::string StoredPieceLoader::Warning() const {
  int64_t words = 0;
  for (const Scratch& scratch : scratch_) words += scratch.oddities.ambiguous_zero_words;
  if (words == 0) return "";
  return std::to_string(words) +
         " words of packed zero points hold one of 0, which format \"gptq\" can not tell from one "
         "of 2^bits; they are read as GPTQModel reads them, one in every code added to the word";
}

}  // namespace octet::worker
