#include "worker/weights/loader.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/json/json.h"
#include "base/log.h"
#include "worker/weights/float_rows.h"
#include "worker/weights/key_guard.h"
#include "worker/weights/piece_packer.h"
#include "worker/weights/round_to_nearest.h"
#include "worker/weights/static_kv_scales.h"
#include "worker/weights/stored_modules.h"
#include "worker/weights/stored_piece.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {
namespace {

int64_t BatchRows(int64_t columns) {
  return std::max<int64_t>(1, kLoadBatchElements / std::max<int64_t>(1, columns));
}

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const StoredModules& modules, const WeightAssembly& assembly,
         ThreadPool& pool, const std::function<void(double)>& progress, SharedReads* shared)
      : checkpoint_(checkpoint),
        modules_(modules),
        assembly_(assembly),
        pool_(pool),
        progress_(progress),
        packer_(pool),
        stored_(checkpoint, modules, pool, shared),
        staging_(pool.threads()) {
    for (const LinearPiece& piece : assembly.linears) {
      const kernels::LinearShape& shape = ShapeOf(piece);
      const int64_t columns = modules.IsPacked(piece.module)
                                  ? shape.inputs
                                  : SourceColumns(shape, piece.inputs).count();
      total_elements_ += (piece.row_end - piece.row_begin) * columns;
    }
    for (const TablePiece& table : assembly.tables) {
      total_elements_ +=
          (table.row_end - table.row_begin) * checkpoint.Find(table.tensor)->info->dims[1];
    }
  }

  Status LoadAll() {
    for (const VectorPiece& piece : assembly_.vectors) OCTET_RETURN_IF_ERROR(LoadVector(piece));
    for (const OrderPiece& piece : assembly_.orders) {
      const std::vector<int32_t> order = OrderOf(piece);
      std::copy(order.begin(), order.end(), piece.out);
    }
    for (const TablePiece& piece : assembly_.tables) OCTET_RETURN_IF_ERROR(LoadTable(piece));
    for (const LinearPiece& piece : assembly_.linears) OCTET_RETURN_IF_ERROR(LoadLinear(piece));
    OCTET_RETURN_IF_ERROR(checkpoint_.CheckUnchanged());
    if (const std::string warning = stored_.Warning(); !warning.empty()) {
      Log(LogLevel::kWarning, warning);
    }
    if (progress_) progress_(1.0);
    return {};
  }

 private:
  // Where the rows of one linear piece come from.
  struct Source {
    const std::string& name;
    const Checkpoint::Tensor& tensor;
    DType stored;
    int64_t inputs;  // unsharded
    ColumnSpan columns;
  };
  // Rows on their way from the file to the neutral form, of one thread.
  struct Staging {
    std::vector<std::byte> stored;
    std::vector<float> floats;
  };

  const kernels::LinearShape& ShapeOf(const LinearPiece& piece) const {
    return assembly_.weights.shapes.*piece.shape;
  }

  std::vector<int32_t> OrderOf(const OrderPiece& piece) const {
    if (piece.shape == &DecoderShapes::qkv) return modules_.OrderOf(LinearKind::kQkv, piece.layer);
    if (piece.shape == &DecoderShapes::gate_up)
      return modules_.OrderOf(LinearKind::kGateUp, piece.layer);
    return modules_.RunsOf(piece.layer).LocalOrder(assembly_.weights.shapes.o);
  }

  // Reads a slice into `stored` and refuses infinity and NaN.
  Status ReadFinite(const std::string& name, const Checkpoint::Tensor& tensor,
                    const MatrixSlice& slice, std::byte* stored) const {
    OCTET_RETURN_IF_ERROR(checkpoint_.ReadRows(tensor, slice, stored));
    const DType dtype = *tensor.info->dtype();
    if (AllFinite(dtype, stored, slice.rows() * slice.cols())) return {};
    return NotFinite(name, dtype, slice, stored);
  }

  // REQUIRES: a value that is not.
  static Status NotFinite(const std::string& name, DType dtype, const MatrixSlice& slice,
                          const std::byte* stored) {
    int64_t row = slice.row_begin;
    while (AllFinite(dtype, stored, slice.cols())) {
      stored += slice.cols() * DTypeBytes(dtype);
      ++row;
    }
    return DataLoss("tensor " + Quoted(name) + ": infinity or NaN in row " + std::to_string(row));
  }

  Status LoadVector(const VectorPiece& piece) {
    const Checkpoint::Tensor& tensor = *checkpoint_.Find(piece.tensor);
    const DType stored = *tensor.info->dtype();
    // A bias goes with the outputs that it is added to, in their order.
    const std::string module = piece.tensor.substr(0, piece.tensor.rfind('.'));
    const std::vector<int32_t>* order = modules_.OutputOrder(module);
    const int64_t begin = order == nullptr ? piece.begin : 0;
    const int64_t end = order == nullptr ? piece.end : tensor.info->dims[0];
    std::vector<std::byte>& staged = staging_[0].stored;
    staged.resize((end - begin) * DTypeBytes(stored));
    OCTET_RETURN_IF_ERROR(ReadFinite(piece.tensor, tensor, {0, 1, begin, end}, staged.data()));
    if (order == nullptr) {
      ToFloats(stored, staged.data(), end - begin, piece.out);
      return {};
    }
    std::vector<float>& all = staging_[0].floats;
    all.resize(end);
    ToFloats(stored, staged.data(), end, all.data());
    for (int64_t i = piece.begin; i < piece.end; ++i) piece.out[i - piece.begin] = all[(*order)[i]];
    return {};
  }

  Status LoadTable(const TablePiece& piece) {
    const Checkpoint::Tensor& tensor = *checkpoint_.Find(piece.tensor);
    const int64_t hidden = tensor.info->dims[1];
    const int64_t row_bytes = hidden * DTypeBytes(*tensor.info->dtype());
    FirstFailure failure;
    pool_.ParallelFor(
        piece.row_end - piece.row_begin, BatchRows(hidden), [&](int64_t begin, int64_t end) {
          const MatrixSlice slice = {piece.row_begin + begin, piece.row_begin + end, 0, hidden};
          Status status = ReadFinite(piece.tensor, tensor, slice, piece.out + begin * row_bytes);
          if (!status.ok()) failure.Report(begin, std::move(status));
          Advance(slice.rows() * hidden);
        });
    return failure.status();
  }

  Status LoadLinear(const LinearPiece& piece) {
    const kernels::LinearShape& shape = ShapeOf(piece);
    if (modules_.IsPacked(piece.module)) {
      return stored_.Load(piece, shape, [this](int64_t weights) { Advance(weights); });
    }
    const std::string name = piece.weight();
    const Checkpoint::Tensor& tensor = *checkpoint_.Find(name);
    const Source source = {name, tensor, *tensor.info->dtype(), piece.inputs,
                           SourceColumns(shape, piece.inputs)};
    return packer_.Pack(piece, shape,
                        [&](int thread, int64_t begin, int64_t end, kernels::NeutralRows* rows) {
                          return Fill(source, shape, thread, begin, end, rows);
                        });
  }

  // Rows [row_begin, row_end) of the source, a batch at a time.
  Status Fill(const Source& source, const kernels::LinearShape& shape, int thread,
              int64_t row_begin, int64_t row_end, kernels::NeutralRows* rows) {
    const int64_t columns = source.columns.count();
    const int64_t batch = BatchRows(columns);
    Staging& staging = staging_[thread];
    staging.stored.resize(batch * columns * DTypeBytes(source.stored));
    staging.floats.resize(batch * columns);
    for (int64_t begin = row_begin; begin < row_end; begin += batch) {
      const MatrixSlice slice = {begin, std::min(begin + batch, row_end), source.columns.begin,
                                 source.columns.end};
      OCTET_RETURN_IF_ERROR(checkpoint_.ReadRows(source.tensor, slice, staging.stored.data()));
      if (!ToFiniteFloats(source.stored, staging.stored.data(), slice.rows() * columns,
                          staging.floats.data())) {
        return NotFinite(source.name, source.stored, slice, staging.stored.data());
      }
      for (int64_t row = begin; row < slice.row_end; ++row) {
        const float* values = staging.floats.data() + (row - begin) * columns;
        if (ToNeutral(shape, source.inputs, values, row - row_begin, rows)) continue;
        return DataLoss("tensor " + Quoted(source.name) + ": a value in row " +
                        std::to_string(row) + " is too large for the format it is to be kept in");
      }
      Advance(slice.rows() * columns);
    }
    return {};
  }

  static bool ToNeutral(const kernels::LinearShape& shape, int64_t inputs, const float* values,
                        int64_t row, kernels::NeutralRows* rows) {
    if (!kernels::IsQuantized(shape.format)) {
      const DType kept = DTypeOf(shape.format);
      auto* const out = reinterpret_cast<std::byte*>(rows->values.data());
      return FromFloats(kept, values, shape.inputs, out + row * shape.inputs * DTypeBytes(kept));
    }
    return QuantizeRow(shape, inputs, values, rows->codes.data() + row * shape.inputs,
                       rows->scales.data() + row * shape.group_count());
  }

  // After every batch: whoever waits for news may take a pause for a read that does not come back.
  void Advance(int64_t elements) {
    const int64_t done = done_elements_.fetch_add(elements) + elements;
    if (!progress_ || std::this_thread::get_id() != caller_) return;
    if (done == total_elements_) return;  // 1 is said at the end
    progress_(static_cast<double>(done) / static_cast<double>(total_elements_));
  }

  const Checkpoint& checkpoint_;
  const StoredModules& modules_;
  const WeightAssembly& assembly_;
  ThreadPool& pool_;
  const std::function<void(double)>& progress_;
  PiecePacker packer_;
  StoredPieceLoader stored_;
  std::vector<Staging> staging_;  // of each thread
  int64_t total_elements_ = 0;    // of the matrices
  const std::thread::id caller_ = std::this_thread::get_id();
  std::atomic<int64_t> done_elements_ = 0;
};

}  // namespace

Result<DecoderWeights> LoadDecoderWeights(const Checkpoint& checkpoint, const ModelSpec& spec,
                                          const ShardPlan& shard, const WeightOptions& options,
                                          ThreadPool& pool,
                                          const std::function<void(double)>& progress,
                                          Buffer memory, SharedReads* shared) {
  OCTET_ASSIGN_OR_RETURN(const StoredModules modules, StoredModules::Open(checkpoint, spec));
  const StoredTypes stored = StoredTypesOf(checkpoint, modules, spec);
  const DType embedding = stored.embedding;
  if (embedding != options.embedding) {
    return InvalidArgument("the embedding is stored as " + std::string(DTypeName(embedding)) +
                           ", but planned as " + std::string(DTypeName(options.embedding)));
  }
  if (stored.positions != embedding) {
    return Unimplemented("the position table is stored as " +
                         std::string(DTypeName(stored.positions)) + ", but the embedding as " +
                         std::string(DTypeName(embedding)) +
                         ": only one type for both is supported");
  }
  if (modules.linears() != options.stored) {
    return InvalidArgument("the checkpoint stores " +
                           (modules.any_packed() ? modules.format()->config().Describe()
                                                 : std::string("no quantized weights")) +
                           ", but was planned otherwise");
  }
  StaticKvScales kv_scales;
  if (options.static_kv) {
    OCTET_ASSIGN_OR_RETURN(kv_scales, ReadStaticKvScales(checkpoint, spec));
  }
  if (shard.rank == 0 && modules.any_packed() && modules.format()->config().static_activations) {
    Log(LogLevel::kInfo,
        "the checkpoint has static scales of activations, which are not used: int8 activations "
        "take a scale of each row for every 128 inputs");
  }
  if (memory.bytes() == 0) memory = Buffer(WeightPlan::Make(spec, shard, options).bytes());
  WeightAssembly assembly = WeightAssembly::Make(spec, shard, options, std::move(memory));
  OCTET_RETURN_IF_ERROR(Loader(checkpoint, modules, assembly, pool, progress, shared).LoadAll());
  for (size_t layer = 0; layer < assembly.key_guards.size(); ++layer) {
    FillKeyGuard(spec, shard, assembly.weights.layers[layer].qkv_bias, assembly.key_guards[layer]);
  }
  for (const auto& [q_norm, k_norm] : assembly.head_norms) {
    if (!options.static_kv) BalanceHeadNorms(spec.head_dim, q_norm, k_norm);
  }
  for (size_t layer = 0; layer < assembly.kv_scales.size(); ++layer) {
    const auto head = static_cast<int64_t>(layer) * spec.kv_heads + shard.kv_head_begin;
    std::copy_n(kv_scales.pairs.data() + head * 4, shard.kv_heads() * 4, assembly.kv_scales[layer]);
  }
  return std::move(assembly.weights);
}

}  // namespace octet::worker
