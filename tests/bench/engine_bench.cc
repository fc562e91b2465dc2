// `octet bench` alone: the engine on a GPU, in a program that needs neither gRPC nor MPI.
#include <cstdio>

#include "launch/engine_bench.h"

int main(int argc, char** argv) {
  octet::launch::BenchOptions options;
  CLI::App app("Measures prefill and decode of the engine, like `octet bench`.", "engine_bench");
  octet::launch::AddBenchFlags(app, &options);
  CLI11_PARSE(app, argc, argv);
  const octet::Status status = octet::launch::RunBench(options);
  if (!status.ok()) std::fprintf(stderr, "engine_bench: %s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
