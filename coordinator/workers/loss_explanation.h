// Why a launched group died, in one sentence, from what the link saw and what the launcher's
// process left behind. Pure text.
#pragma once

#include <string>
#include <vector>

namespace octet::workers {

struct LossEvidence {
  std::string seen;                // by the link: "rank 1 (process 77) died"
  std::string launcher;            // "mpirun"
  std::string exit;                // "exited with code 3"; empty: it did not end by itself
  std::vector<std::string> lines;  // the last ones of the output, oldest first
};

// mpirun's own account names the process that died first, which the link can not always know: it is
// put first. Its other paragraphs, set between rows of dashes, are not what a worker said last, nor
// are lines of mere information.
std::string ExplainLoss(const LossEvidence& evidence);

}  // namespace octet::workers
