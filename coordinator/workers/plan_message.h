// The scheduler's plan as the link's message, field by field.
#pragma once

#include "coordinator/schedule/step_plan.h"
#include "octet/v1/worker_link.pb.h"

namespace octet::workers {

v1::StepPlan ToMessage(const schedule::StepPlan& plan);

}  // namespace octet::workers
