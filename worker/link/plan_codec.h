// Between the wire form of a plan (octet.v1) and the engine's own.
#pragma once

#include <string>

#include "base/status.h"
#include "octet/v1/worker_link.pb.h"
#include "worker/engine/step_plan.h"

namespace octet::worker {

Result<StepPlan> DecodePlan(const std::string& serialized);
v1::StepResult EncodeResult(const StepResult& result, int64_t compute_us);

}  // namespace octet::worker
