// The scheduler's plan as the link's message, and the ranks' answer as our values, field by field.
#pragma once

#include "coordinator/schedule/step_plan.h"
#include "coordinator/schedule/step_result.h"
#include "octet/v1/worker_link.pb.h"

namespace octet::workers {

v1::StepPlan ToMessage(const schedule::StepPlan& plan);
schedule::StepResult ToValue(const v1::StepResult& message);

}  // namespace octet::workers
