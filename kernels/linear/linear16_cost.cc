#include "kernels/linear/linear16_cost.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/check.h"

namespace octet::kernels {
namespace {

constexpr Linear16Machine kMachines[] = {
    {108, 11.8, 1100, 28, 1024, 128, 8, 300, 6, 2500, 1.0, 99 << 10, 164 << 10},
    {132, 18.6, 1500, 30, 2048, 128, 16, 250, 2, 2500, 2.0, 227 << 10, 228 << 10},
};

// Of linear16_few.cuh, and of linear16_stream.cuh with panels whole and shared by two warps: fitted
// to what an H200 took for the layers of a 72B model and their shards of TP = 8 (2026-11-27). Of
// 666 deals of 1, 8 and 16 rows they are 12 % off on average, but what they choose, wide tiles
// among it, is within 2 % of the best (one row of qkv: 3 %).
constexpr FewClocks kFewClocks = {895, 43.9, 181, 10.7, 6181, 4053};
constexpr FewClocks kStreamClocks = {2992, 1.8, 114, 14.4, 281, 2504};
constexpr FewClocks kStreamSidesClocks = {1406, 9, 267, 2.2, 2847, 4318};

const FewClocks& ClocksOf(Linear16TileName name) {
  if (!IsStream(name)) return kFewClocks;
  return HasSides(name) ? kStreamSidesClocks : kStreamClocks;
}

double CostOfFew(const Linear16Plan& plan, const Cuda16Layout& layout,
                 const Linear16Machine& machine) {
  const int64_t cluster = plan.parts.parts / plan.tile.split;
  const auto deal = DealFew(plan.few.needs, plan.output_tiles, cluster,
                            static_cast<int64_t>(machine.multiprocessors));
  return static_cast<double>(plan.row_tiles) *
         CostOfFew(*deal, ClocksOf(plan.tile.name), cluster, static_cast<double>(layout.blocks()),
                   static_cast<double>(layout.block_bytes()), plan.few.tokens);
}

// Clocks that one candidate takes: a rough roofline, enough to compare.
double Roofline(const LinearShape& shape, const Cuda16Layout& layout, const Linear16Plan& plan,
                int64_t rows, const Linear16Machine& machine) {
  const double weight_bytes =
      static_cast<double>(layout.block_bytes()) / (kCuda16PanelOutputs * kCuda16BlockInputs);
  const Linear16Tile& tile = plan.tile;
  const auto sms = static_cast<int64_t>(machine.multiprocessors);
  const int64_t turns = (plan.items + sms - 1) / sms;  // of the busiest multiprocessor
  const int64_t at_once = std::min<int64_t>(turns, tile.resident);
  const double inputs = static_cast<double>(shape.inputs) / plan.parts.parts;
  const double weights = static_cast<double>(tile.outputs) * inputs;
  // What a multiprocessor can ask for before the first of it comes.
  const double under_way = static_cast<double>(at_once) * (tile.stages - 1) * tile.outputs *
                           kCuda16StageInputs * weight_bytes;
  const double memory = weights * weight_bytes / static_cast<double>(plan.row_tiles) /
                        std::min(machine.memory_bytes, under_way / machine.memory_latency);
  const double l2 = (weights * weight_bytes + tile.tokens * inputs * 2) / machine.l2_bytes;
  const double products =
      weights * std::max<double>(tile.tokens, machine.least_tokens) / machine.products;
  const double lanes = weights * (2.6 + tile.tokens * 0.02) / machine.lanes;
  const double latency = inputs / kCuda16StageInputs * tile.in_turn *
                         (machine.panel_clocks + machine.token_clocks * tile.tokens);
  // What is not the bottleneck still gets in its way now and then.
  const double together = memory + l2 + products + lanes;
  const double item = std::max({memory, l2, products, lanes}) + together * 0.1;
  double clocks = std::max(item * static_cast<double>(turns),
                           latency * static_cast<double>((turns + at_once - 1) / at_once)) +
                  machine.memory_latency;
  if (plan.parts.parts > 1) {
    const double moved = 8.0 * plan.parts.rest.count * static_cast<double>(rows * shape.outputs);
    clocks += machine.reduce_clocks + moved / (machine.memory_bytes * machine.multiprocessors);
  }
  return clocks * machine.measured;
}

// Clocks of a tile of linear16_wide.cuh.
struct WideClocks {
  int32_t tokens;
  int32_t outputs;
  double begin_and_end;
  double block;     // of 128 inputs
  double add_part;  // of each part, for each item
};
// Fitted to what they took on an H200 for the layers of a 72B model and their shards of TP = 8,
// int4 (2026-11-27): in up to 4 parts within 12 % but for few of 141 cases.
constexpr WideClocks kWideClocks[] = {
    {16, 256, 5000, 1040, 900},  {32, 192, 5000, 980, 1050},  {32, 256, 6000, 1200, 1300},
    {64, 128, 6000, 1000, 1350}, {64, 192, 6000, 1350, 1650}, {128, 128, 2500, 1550, 4560},
};

double CostOfWide(const Linear16Plan& plan, const Cuda16Layout& layout,
                  const Linear16Machine& machine) {
  const auto* clocks =
      std::find_if(std::begin(kWideClocks), std::end(kWideClocks), [&plan](const WideClocks& of) {
        return of.tokens == plan.tile.tokens && of.outputs == plan.tile.outputs;
      });
  OCTET_CHECK(clocks != std::end(kWideClocks));
  const double parts = plan.parts.parts;
  const double item = static_cast<double>(layout.blocks()) / parts * clocks->block +
                      (parts > 1 ? parts * clocks->add_part : 0);
  return clocks->begin_and_end +
         std::ceil(static_cast<double>(plan.items) / machine.multiprocessors) * item;
}

}  // namespace

const Linear16Machine& Linear16MachineOf(MatrixFamily family) {
  return kMachines[static_cast<int>(family)];
}

double Linear16Clocks(const LinearShape& shape, const Cuda16Layout& layout, int64_t rows,
                      const Linear16Plan& plan, const Linear16Machine& machine) {
  if (IsWide(plan.tile.name)) return CostOfWide(plan, layout, machine);
  if (plan.tile.warps > 0) return CostOfFew(plan, layout, machine);
  return Roofline(shape, layout, plan, rows, machine);
}

}  // namespace octet::kernels
