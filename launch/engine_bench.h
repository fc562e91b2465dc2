// What `octet bench` does, as a library: runs the engine on a checkpoint or a shape, with ranks as
// threads of this process, beside what the machine could do at best, measured in the same run. It
// links neither gRPC nor MPI, so that a program for a machine with a GPU can consist of it alone.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "launch/bench_machine.h"
#include "worker/engine/engine_config.h"
#include "worker/engine/memory_plan.h"
#include "worker/engine/rank_device.h"
#include "worker/engine/worker_options.h"

namespace octet::launch {

struct BenchOptions {
  std::string model;  // a checkpoint directory, or empty
  std::string shape;  // a known shape or a config.json, or empty
  std::vector<int64_t> batches = {1, 8, 32};
  int64_t prompt = 128;
  int64_t generate = 32;
  int64_t ranks = 1;
  bool json = false;
  worker::WorkerOptions worker;
};

void AddBenchFlags(CLI::App& app, BenchOptions* options);

// Measures and prints the report on standard output.
Status RunBench(const BenchOptions& options);

struct BatchResult {
  int64_t batch = 0;
  double prefill_s = 0;
  std::vector<double> step_s;
  double device_step_s = 0;  // of a decode step on a GPU that has no wait before it; else 0
};

struct Measured {
  worker::MemoryPlan memory;
  worker::ReserveFound reserve;  // on a GPU
  MachineSpeed machine;
  std::vector<BatchResult> results;
};

// The report as one JSON object, and the same as a table on standard output.
nlohmann::ordered_json BenchReport(const BenchOptions& options, const worker::EngineConfig& config,
                                   const std::string& name, const Measured& measured);
void PrintBenchTable(const nlohmann::ordered_json& report);

}  // namespace octet::launch
