#include "worker/engine/device_weights.h"

#include "base/check.h"

namespace octet::worker {
namespace {

// Moves every pointer of a layer, or of the ends, by as much as its bytes move.
class Mover {
 public:
  // Bytes from `from` on now begin at `to`.
  Mover(const std::byte* from, const std::byte* to) : from_(from), to_(to) {}

  template <typename T>
  void Move(const T*& pointer) const {
    if (pointer == nullptr) return;
    const int64_t offset = reinterpret_cast<const std::byte*>(pointer) - from_;
    pointer = reinterpret_cast<const T*>(to_ + offset);
  }
  void MoveLayer(LayerWeights& layer) const {
    MoveNorm(layer.attention_norm);
    MoveNorm(layer.mlp_norm);
    Move(layer.qkv_order);
    Move(layer.gate_up_order);
    Move(layer.o_order);
    Move(layer.qkv);
    Move(layer.qkv_bias);
    Move(layer.key_guard);
    Move(layer.kv_scales);
    Move(layer.q_norm);
    Move(layer.k_norm);
    Move(layer.o);
    Move(layer.o_bias);
    Move(layer.gate_up);
    Move(layer.gate_up_bias);
    Move(layer.down);
    Move(layer.down_bias);
  }
  void MoveNorm(NormWeights& norm) const {
    Move(norm.weight);
    Move(norm.bias);
  }
  void MoveEnds(DecoderWeights& weights) const {
    Move(weights.embedding);
    Move(weights.positions);
    MoveNorm(weights.final_norm);
    Move(weights.head);
  }

 private:
  const std::byte* from_;
  const std::byte* to_;
};

}  // namespace

Result<ResidentWeights> UploadWeights(DecoderWeights loaded, Stream& stream) {
  ResidentWeights resident;
  OCTET_ASSIGN_OR_RETURN(resident.memory, DeviceBuffer::Allocate(loaded.arena.taken_bytes()));
  CopyToDevice(resident.memory.data(), loaded.arena.data(), resident.memory.bytes(), stream);
  Synchronize(stream);
  const Mover mover(loaded.arena.data(), resident.memory.data());
  for (LayerWeights& layer : loaded.layers) mover.MoveLayer(layer);
  mover.MoveEnds(loaded);
  loaded.arena = Arena();
  resident.weights = std::move(loaded);
  return resident;
}

Result<ResidentWeights> UploadRepeated(DecoderWeights loaded, int64_t layers, Stream& stream) {
  OCTET_CHECK_EQ(loaded.layers.size(), 1u);
  OCTET_CHECK_GE(layers, 1);
  const std::byte* const host = loaded.arena.data();
  // The arena is the layer, then the embedding and what follows it.
  const int64_t layer_bytes = loaded.embedding - host;
  const int64_t end_bytes = loaded.arena.taken_bytes() - layer_bytes;
  ResidentWeights resident;
  OCTET_ASSIGN_OR_RETURN(resident.memory, DeviceBuffer::Allocate(layers * layer_bytes + end_bytes));
  std::byte* const device = resident.memory.data();
  CopyToDevice(device, host, layer_bytes, stream);
  for (int64_t i = 1; i < layers; ++i) {
    CopyOnDevice(device + i * layer_bytes, device, layer_bytes, stream);
  }
  CopyToDevice(device + layers * layer_bytes, host + layer_bytes, end_bytes, stream);
  Synchronize(stream);
  loaded.layers.assign(static_cast<size_t>(layers), loaded.layers[0]);
  for (int64_t i = 0; i < layers; ++i) {
    Mover(host, device + i * layer_bytes).MoveLayer(loaded.layers[i]);
  }
  Mover(host + layer_bytes, device + layers * layer_bytes).MoveEnds(loaded);
  loaded.arena = Arena();
  loaded.parts.clear();
  resident.weights = std::move(loaded);
  return resident;
}

}  // namespace octet::worker
