#include "worker/engine/position_image.h"

#include <algorithm>
#include <cmath>

namespace octet::worker {

PositionImage::PositionImage(const EngineConfig& config, float* tables)
    : config_(config), tables_(tables) {
  if (config.spec.rope.depends_on_length()) half_ = config.spec.rotary_dim() / 2;
}

int64_t PositionImage::TableFloats(const EngineConfig& config) {
  return config.spec.rope.depends_on_length() ? config.slots * config.spec.rotary_dim() / 2 : 0;
}

int64_t PositionImage::ImageBytes(const EngineConfig& config, int64_t rows) {
  const int64_t scales = config.spec.logn_context > 0 ? rows : 0;
  return AlignUp(TableFloats(config) * int64_t{sizeof(float)}) +
         AlignUp(scales * int64_t{sizeof(float)});
}

void PositionImage::Admit(int32_t slot, int64_t rope_length) {
  if (half_ == 0) return;
  config_.spec.rope.FillInverseFrequencies(2 * half_, rope_length, tables_ + slot * half_);
}

void PositionImage::Lay(const StepRows& step, StepImage* image) {
  if (half_ > 0) {
    image_tables_ = image->Take<float>(config_.slots * half_);
    std::fill_n(image_tables_.host, half_, 0.0f);  // padding reads the first
    for (int64_t row = 0; row < step.rows; ++row) {
      const int64_t slot = step.slots.host[row];
      if (slot < 0 || (row > 0 && slot == step.slots.host[row - 1])) continue;
      std::copy_n(tables_ + slot * half_, half_, image_tables_.host + slot * half_);
    }
  }
  if (config_.spec.logn_context > 0) {
    query_scales_ = image->Take<float>(step.rows);
    for (int64_t row = 0; row < step.rows; ++row) {
      query_scales_.host[row] = QueryScale(step.positions.host[row]);
    }
  }
}

// log of position + 1 to the base of the trained context, beyond it.
float PositionImage::QueryScale(int32_t position) const {
  const auto trained = static_cast<double>(config_.spec.logn_context);
  const double count = double{1} + position;
  return count > trained ? static_cast<float>(std::log(count) / std::log(trained)) : 1.0f;
}

}  // namespace octet::worker
