// Why a launched group died, in one sentence, from what the link saw and what the launcher's
// process left behind. Pure text.
#pragma once

#include <string>
#include <vector>

namespace octet::workers {

struct LossEvidence {
  std::string seen;                // by the link: "rank 1 (process 77) died"
  bool process_ended = false;      // by itself, before anything was done to end the group
  std::string launcher;            // "mpirun"
  std::string exit;                // "exited with code 3"; empty: it did not end by itself
  std::vector<std::string> lines;  // the last ones of the output, oldest first
};

// Whether mpirun says with this line that a process was ended by a signal. It may be the first word
// of a death, and mpirun 4.1 may hang after it: a process that dies while MPI starts can do that.
bool IsDeathNotice(const std::string& line);

// mpirun's own account names the process that died first and how, which the link can not always
// know: where a process ended by itself, it is put first. Its other paragraphs, set between rows of
// dashes, are not what a worker said last, nor are lines of mere information.
std::string ExplainLoss(const LossEvidence& evidence);

}  // namespace octet::workers
