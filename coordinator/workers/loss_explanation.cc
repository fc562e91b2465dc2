#include "coordinator/workers/loss_explanation.h"

#include <string_view>

namespace octet::workers {
namespace {

constexpr size_t kRuleCharactersMin = 20;
constexpr std::string_view kNotice = "mpirun noticed that ";

bool IsRule(std::string_view line) {
  return line.size() >= kRuleCharactersMin && line.find_first_not_of('-') == std::string_view::npos;
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
  std::string noticed, said;
  bool in_paragraph = false;
  for (const std::string& line : evidence.lines) {
    if (IsRule(line))
      in_paragraph = !in_paragraph;
    else if (line.rfind(kNotice, 0) == 0)
      noticed = line.substr(kNotice.size());
    else if (!in_paragraph && line.find(" info: ") == std::string::npos)
      said = line;
  }
  std::string out = evidence.process_ended ? HowItDied(noticed, evidence.seen) : "";
  const bool is_known = !out.empty();
  if (!is_known) out = evidence.seen;
  if (!is_known && !evidence.exit.empty()) out += "; " + evidence.launcher + " " + evidence.exit;
  if (!said.empty()) out += "; the last line of output was: " + said;
  return out;
}

}  // namespace octet::workers
