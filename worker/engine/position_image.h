// What the rows of a step bring beside their positions, where a model asks for it: the scale of
// their queries, and the frequencies by which each slot is rotated. Those follow from the request's
// rope_length, so a slot has the same ones for as long as it is admitted, and again when its
// sequence is resumed.
#pragma once

#include <cstdint>

#include "worker/engine/engine_config.h"
#include "worker/engine/step_image.h"

namespace octet::worker {

class PositionImage {
 public:
  // `tables` [slots, head_dim / 2] of the host, or null where the model has no need of them.
  PositionImage(const EngineConfig& config, float* tables);

  // Floats of `tables`, and what an image needs for `rows` rows.
  static int64_t TableFloats(const EngineConfig& config);
  static int64_t ImageBytes(const EngineConfig& config, int64_t rows);

  // The slot belongs to a request whose prompt had `rope_length` tokens at its first admission.
  void Admit(int32_t slot, int64_t rope_length);
  // Takes the parts and fills them for the step's rows, padding included.
  // REQUIRES: slots and positions of all rows are laid out.
  void Lay(const StepRows& step, StepImage* image);

  // As the decoder reads them; null where there are none.
  const float* tables() const { return image_tables_.device; }
  const float* query_scales() const { return query_scales_.device; }

 private:
  float QueryScale(int32_t position) const;

  const EngineConfig& config_;
  float* tables_;
  int64_t half_ = 0;               // floats of a table; 0: there are none
  ImagePart<float> image_tables_;  // [slots, half]: those of the step's slots
  ImagePart<float> query_scales_;  // [rows]
};

}  // namespace octet::worker
