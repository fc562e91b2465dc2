// The `octet` command: what a person types.
#include <cstdio>

#include "base/build_id.h"
#include "launch/commands.h"

namespace octet::launch {

int Fail(const Status& status) {
  std::fprintf(stderr, "octet: %s\n", status.message().c_str());
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kNotFound:
    case StatusCode::kUnimplemented:
    case StatusCode::kDataLoss:
      return 2;
    default:
      return 1;
  }
}

int FailCall(const std::string& server, int code, const std::string& message) {
  const Status status(static_cast<StatusCode>(code), message);
  if (status.code() != StatusCode::kUnavailable && status.code() != StatusCode::kDeadlineExceeded)
    return Fail(status);
  return Fail({status.code(), "the service at " + server + " is unavailable: " + message});
}

}  // namespace octet::launch

int main(int argc, char** argv) {
  CLI::App app("Octet serves large language models from several processors at once.", "octet");
  app.set_version_flag("--version", std::string(octet::BuildId()));
  app.require_subcommand(1);
  int exit_code = 0;
  octet::launch::AddServe(app, &exit_code);
  octet::launch::AddGenerate(app, &exit_code);
  octet::launch::AddPlan(app, &exit_code);
  octet::launch::AddInspect(app, &exit_code);
  octet::launch::AddBench(app, &exit_code);
  octet::launch::AddHealth(app, &exit_code);
  octet::launch::AddStats(app, &exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  return exit_code;
}
