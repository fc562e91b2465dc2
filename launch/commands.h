// The subcommands of `octet`, one file each. A command adds itself to the app; when it was the one
// chosen, its callback sets the exit code: 0, 1 something went wrong, 2 wrong usage, config or
// model.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/status.h"

namespace octet::launch {

void AddServe(CLI::App& app, int* exit_code);
void AddGenerate(CLI::App& app, int* exit_code);
void AddPlan(CLI::App& app, int* exit_code);
void AddInspect(CLI::App& app, int* exit_code);
void AddBench(CLI::App& app, int* exit_code);
void AddHealth(CLI::App& app, int* exit_code);
void AddStats(CLI::App& app, int* exit_code);

// Prints "octet: <sentence>" on standard error and returns the exit code that fits the status.
int Fail(const Status& status);
// The same for a call to the service at `server` that ended with this gRPC code.
int FailCall(const std::string& server, int code, const std::string& message);

}  // namespace octet::launch
