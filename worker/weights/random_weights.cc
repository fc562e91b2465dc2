// Made-up weights: a hash of (seed, tensor, row, column), cheap enough to fill 70B-size shards.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string_view>

#include "base/check.h"
#include "base/dtype.h"
#include "kernels/rounding/rounding.h"
#include "worker/weights/float_rows.h"
#include "worker/weights/key_guard.h"
#include "worker/weights/loader.h"
#include "worker/weights/piece_packer.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {
namespace {

// Standard deviations of the codes below, for unit scale.
constexpr double kInt4Deviation = 4.183300132670378;  // sqrt(2 (1 + 4 + .. + 49) / 16)
constexpr double kInt8Deviation = 73.46768;           // sqrt(2 (1 + 4 + .. + 127^2) / 256)
constexpr double kUniformDeviation = 18918.0;         // of a uniform int16: 65536 / sqrt(12)
constexpr uint64_t kScaleSalt = 0x5ca1e;

// The finalizer of splitmix64 (Steele, Lea, Flood 2014).
inline uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t KeyOf(uint64_t seed, std::string_view tensor) {
  uint64_t key = Mix(seed);
  for (const char c : tensor) key = Mix(key ^ static_cast<unsigned char>(c));
  return key;
}

// Calls use(column, bits) for columns [begin, end), as many from a hash as it has bits for.
template <int kBits, typename Use>
void ForEachColumn(uint64_t row_key, int64_t begin, int64_t end, const Use& use) {
  constexpr int64_t kPerWord = 64 / kBits;
  for (int64_t column = begin; column < end;) {
    const int64_t word = column / kPerWord;
    uint64_t bits = Mix(row_key ^ static_cast<uint64_t>(word)) >> (column % kPerWord * kBits);
    for (; column < end && column / kPerWord == word; ++column, bits >>= kBits) {
      use(column, static_cast<uint32_t>(bits & ((uint64_t{1} << kBits) - 1)));
    }
  }
}

void FillFloats(uint64_t row_key, int64_t begin, int64_t end, double deviation, DType dtype,
                std::byte* out) {
  const auto scale = static_cast<float>(deviation / kUniformDeviation);
  ForEachColumn<16>(row_key, begin, end, [&](int64_t column, uint32_t bits) {
    const float value = static_cast<float>(static_cast<int16_t>(bits)) * scale;
    std::byte* const to = out + (column - begin) * DTypeBytes(dtype);
    if (dtype == DType::kF32) {
      std::memcpy(to, &value, sizeof value);
      return;
    }
    const uint16_t half = dtype == DType::kF16 ? FloatToF16(value) : FloatToBF16(value);
    std::memcpy(to, &half, sizeof half);
  });
}

// The code of half the range, the number zero, takes the place of code 0, so that the mean is zero.
void FillCodes(const kernels::LinearShape& shape, uint64_t row_key, uint8_t* codes) {
  const int64_t begin = shape.input_begin;
  const int64_t end = begin + shape.inputs;
  if (shape.format == kernels::WeightFormat::kInt4) {
    ForEachColumn<4>(row_key, begin, end, [&](int64_t column, uint32_t bits) {
      codes[column - begin] = static_cast<uint8_t>(bits == 0 ? 8 : bits);
    });
    return;
  }
  ForEachColumn<8>(row_key, begin, end, [&](int64_t column, uint32_t bits) {
    codes[column - begin] = static_cast<uint8_t>(bits == 0 ? 128 : bits);
  });
}

// Around what gives the weights a deviation of 1 / sqrt(inputs), 0.75 to 1.25 of it.
void FillScales(const kernels::LinearShape& shape, uint64_t row_key, int64_t inputs,
                float* scales) {
  const bool int4 = shape.format == kernels::WeightFormat::kInt4;
  const double mean =
      1.0 / ((int4 ? kInt4Deviation : kInt8Deviation) * std::sqrt(static_cast<double>(inputs)));
  const uint64_t key = Mix(row_key ^ kScaleSalt);
  for (int64_t group = 0; group < shape.group_count(); ++group) {
    const uint64_t bits = Mix(key ^ static_cast<uint64_t>(shape.group_begin() + group));
    const double factor = 0.75 + 0.5 * static_cast<double>(bits >> 40) * 0x1p-24;
    scales[group] = kernels::NarrowScale(static_cast<float>(mean * factor));
  }
}

// As if every zero point were half the range, so that the mean is zero.
void FillOffsets(const kernels::LinearShape& shape, const float* scales, float* offsets) {
  const float zero = shape.format == kernels::WeightFormat::kInt4 ? 8.0f : 128.0f;
  for (int64_t group = 0; group < shape.group_count(); ++group) {
    offsets[group] = -zero * scales[group];
  }
}

void FillRow(const LinearPiece& piece, const kernels::LinearShape& shape, uint64_t row_key,
             int64_t row, kernels::NeutralRows* rows) {
  if (kernels::IsQuantized(shape.format)) {
    FillCodes(shape, row_key, rows->codes.data() + row * shape.inputs);
    float* const scales = rows->scales.data() + row * shape.group_count();
    FillScales(shape, row_key, piece.inputs, scales);
    if (shape.asymmetric)
      FillOffsets(shape, scales, rows->offsets.data() + row * shape.group_count());
    return;
  }
  const DType dtype = DTypeOf(shape.format);
  auto* const out = reinterpret_cast<std::byte*>(rows->values.data());
  FillFloats(row_key, shape.input_begin, shape.input_begin + shape.inputs,
             1.0 / std::sqrt(static_cast<double>(piece.inputs)), dtype,
             out + row * shape.inputs * DTypeBytes(dtype));
}

}  // namespace

DecoderWeights MakeRandomWeights(const ModelSpec& spec, const ShardPlan& shard,
                                 const WeightOptions& options, uint64_t seed, ThreadPool& pool) {
  WeightAssembly assembly = WeightAssembly::Make(spec, shard, options);
  const double deviation = 1.0 / std::sqrt(static_cast<double>(spec.hidden));
  for (const VectorPiece& piece : assembly.vectors) {
    if (piece.kind == VectorKind::kNorm) {
      std::fill(piece.out, piece.out + (piece.end - piece.begin), 1.0f);
    } else {
      FillFloats(KeyOf(seed, piece.tensor), piece.begin, piece.end, deviation, DType::kF32,
                 reinterpret_cast<std::byte*>(piece.out));
    }
  }
  for (float* const guard : assembly.key_guards) FillKeyGuard(spec, shard, nullptr, guard);
  for (uint16_t* const pairs : assembly.kv_scales) {
    for (int64_t i = 0; i < 2 * shard.kv_heads(); ++i) pairs[2 * i] = FloatToF16(0.0625f);
  }
  for (const TablePiece& table : assembly.tables) {
    const uint64_t table_key = KeyOf(seed, table.tensor + "#table");
    pool.ParallelFor(table.row_end - table.row_begin, 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        FillFloats(Mix(table_key ^ static_cast<uint64_t>(table.row_begin + row)), 0, spec.hidden,
                   deviation, options.embedding,
                   table.out + row * spec.hidden * DTypeBytes(options.embedding));
      }
    });
  }
  for (const OrderPiece& piece : assembly.orders) {
    std::iota(piece.out, piece.out + spec.hidden, 0);
  }
  PiecePacker packer(pool);
  for (const LinearPiece& piece : assembly.linears) {
    const kernels::LinearShape& shape = assembly.weights.shapes.*piece.shape;
    const uint64_t key = KeyOf(seed, piece.weight());
    const Status status =
        packer.Pack(piece, shape, [&](int, int64_t begin, int64_t end, kernels::NeutralRows* rows) {
          for (int64_t row = begin; row < end; ++row) {
            FillRow(piece, shape, Mix(key ^ static_cast<uint64_t>(row)), row - begin, rows);
          }
          return Status();
        });
    OCTET_CHECK(status.ok());
  }
  return std::move(assembly.weights);
}

}  // namespace octet::worker
