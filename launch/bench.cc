// octet bench: how fast this machine runs a model or a shape (engine_bench.h).
#include <memory>

#include "launch/commands.h"
#include "launch/engine_bench.h"

namespace octet::launch {

void AddBench(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Measure prefill and decode on this machine");
  AddBenchFlags(*command, options.get());
  command->callback([options, exit_code] {
    const Status status = RunBench(*options);
    *exit_code = status.ok() ? 0 : Fail(status);
  });
}

}  // namespace octet::launch
