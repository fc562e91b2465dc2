#include "coordinator/workers/loss_explanation.h"

#include <string_view>

namespace octet::workers {
namespace {

constexpr size_t kRuleCharactersMin = 20;
constexpr std::string_view kNotice = "mpirun noticed that ";
constexpr std::string_view kCheckFailed = "CHECK failed at ";  // base/check.cc

bool IsRule(std::string_view line) {
  return line.size() >= kRuleCharactersMin && line.find_first_not_of('-') == std::string_view::npos;
}

// A line of Open MPI's account of a signal, such as "[host:77] *** End of error message ***".
bool IsTrace(std::string_view line) {
  const size_t colon = line.find(':'), end = line.find(']');
  return line.rfind('[', 0) == 0 && colon != std::string_view::npos && colon + 1 < end &&
         end != std::string_view::npos &&
         line.substr(colon + 1, end - colon - 1).find_first_not_of("0123456789") ==
             std::string_view::npos;
}

// "process rank 1 with PID 7 on node a exited on signal 9 (Killed)." as "rank 1 (process 77) was
// ended by signal 9 (Killed)", with what the link knows of the rank it saw die, else with the node.
// Empty when mpirun says something else.
std::string HowItDied(const std::string& noticed, const std::string& seen) {
  constexpr std::string_view kProcess = "process ", kPid = " with PID ", kNode = " on node ";
  constexpr std::string_view kSignal = " exited on signal ";
  const size_t pid = noticed.find(kPid), node = noticed.find(kNode), signal = noticed.find(kSignal);
  if (noticed.rfind(kProcess, 0) != 0 || pid == std::string::npos || node == std::string::npos ||
      signal == std::string::npos || !(pid < node && node < signal))
    return "";
  const std::string rank = noticed.substr(kProcess.size(), pid - kProcess.size());
  std::string out =
      rank + " on " + noticed.substr(node + kNode.size(), signal - node - kNode.size());
  if (seen.rfind(rank + " (process ", 0) == 0) out = seen.substr(0, seen.find(')') + 1);
  std::string how = noticed.substr(signal + kSignal.size());
  if (!how.empty() && how.back() == '.') how.pop_back();
  return out + " was ended by signal " + how;
}

}  // namespace

bool IsDeathNotice(const std::string& line) {
  return line.rfind(kNotice, 0) == 0 && line.find(" on signal ") != std::string::npos;
}

std::string ExplainLoss(const LossEvidence& evidence) {
  std::string noticed, said, failed;
  bool in_paragraph = false;
  for (const std::string& line : evidence.lines) {
    if (IsRule(line))
      in_paragraph = !in_paragraph;
    else if (line.rfind(kNotice, 0) == 0)
      noticed = line.substr(kNotice.size());
    else if (line.find(kCheckFailed) != std::string::npos)
      failed = line;
    else if (!in_paragraph && !IsTrace(line) && line.find(" info: ") == std::string::npos)
      said = line;
  }
  std::string out = evidence.process_ended ? HowItDied(noticed, evidence.seen) : "";
  const bool is_known = !out.empty();
  if (!is_known) out = evidence.seen;
  if (!is_known && !evidence.exit.empty()) out += "; " + evidence.launcher + " " + evidence.exit;
  if (!failed.empty())
    out += "; it said: " + failed;
  else if (!said.empty())
    out += "; the last line of output was: " + said;
  return out;
}

}  // namespace octet::workers
