#include "coordinator/workers/loss_explanation.h"

#include <string_view>

namespace octet::workers {
namespace {

constexpr size_t kRuleCharactersMin = 20;

bool IsRule(std::string_view line) {
  return line.size() >= kRuleCharactersMin && line.find_first_not_of('-') == std::string_view::npos;
}

}  // namespace

std::string ExplainLoss(const LossEvidence& evidence) {
  constexpr std::string_view kNotice = "mpirun noticed that ";
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
  if (!noticed.empty() && noticed.back() == '.') noticed.pop_back();
  std::string out = noticed.empty() ? evidence.seen : noticed;
  if (noticed.empty() && !evidence.exit.empty())
    out += "; " + evidence.launcher + " " + evidence.exit;
  if (!said.empty()) out += "; the last line of output was: " + said;
  return out;
}

}  // namespace octet::workers
