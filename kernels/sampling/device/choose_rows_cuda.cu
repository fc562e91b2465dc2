#include "kernels/sampling/device/choose_rows.h"
#include "kernels/sampling/device/choose_token.cuh"
#include "kernels/sampling/device/gathered_row.cuh"
#include "kernels/sampling/device/tell_row.cuh"

namespace octet::kernels::cuda {
namespace {

OCTET_DEVICE int32_t Choose(ChooseShared& shared, const GatheredRow& gathered,
                            const SlotState& state) {
  const SamplingRow& row = gathered.row();
  const SamplingParams params = state.records[row.slot].sampling;
  if (row.share.logits) {
    const RowAdjuster adjust(state, row.slot, row.position);
    return ChooseFrom(shared, RowSource{&gathered, &adjust}, params, row.position);
  }
  if (ChoosesBestScore(params)) return ChooseBestScore(shared, gathered);
  return ChooseFrom(shared, CandidateSource{&gathered}, params, row.position);
}

// grid (rows).
__global__ void __launch_bounds__(kChooseThreads, 1) ChooseAll(ChooseRowsArgs args) {
  OCTET_SHARED(ChooseShared, shared);
  OCTET_SHARED(TellShared, telling);
  OCTET_SHARED(int64_t[kCutRanksMax], part_begins);
  const SamplingRow& row = args.rows[blockIdx.x];
  if (row.slot < 0) {
    if (threadIdx.x == 0) args.tokens[blockIdx.x] = -1;
    return;
  }
  GatheredRow::FindParts(args, part_begins);
  __syncthreads();
  const GatheredRow gathered(args, row, part_begins);
  int32_t token = row.next_token;
  if (token < 0) {
    token = Choose(shared, gathered, args.state);
    if (threadIdx.x == 0) {
      args.tokens[blockIdx.x] = token;
      args.state.last_tokens[row.slot] = token < 0 ? 0 : token;  // -1: the request will fail
    }
  }
  if (row.told >= 0) TellRow(telling, gathered, token, &args.told[row.told]);
}

}  // namespace

void ChooseRows(const ChooseRowsArgs& args, Stream& stream) {
  OCTET_LAUNCH(ChooseAll, dim3(static_cast<unsigned>(args.rows_max)), dim3(kChooseThreads), 0,
               stream, args);
}

}  // namespace octet::kernels::cuda
