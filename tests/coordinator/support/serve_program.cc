// A program that is nothing but Serve, for tests that send it signals:
//   octet_serve_program MODEL ADDRESS RANKS WORKER [LAUNCHER]
#include <cstdio>
#include <cstdlib>

#include "coordinator/serve.h"

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: octet_serve_program MODEL ADDRESS RANKS WORKER [LAUNCHER]\n");
    return 2;
  }
  octet::coordinator::ServeOptions options;
  options.model_dir = argv[1];
  options.grpc_address = argv[2];
  options.ranks = std::atoi(argv[3]);
  options.worker_binary = argv[4];
  if (argc > 5) options.launcher = argv[5];
  options.grace_seconds = 20;
  if (const char* seconds = std::getenv("OCTET_TEST_HEARTBEAT_SECONDS"))
    options.heartbeat_seconds_max = std::atof(seconds);
  if (const char* seconds = std::getenv("OCTET_TEST_STALL_SECONDS"))
    options.step_stall_seconds_max = std::atof(seconds);
  if (const char* tokens = std::getenv("OCTET_TEST_STREAM_INTERVAL"))
    options.stream_interval = std::atoi(tokens);
  return octet::coordinator::Serve(options);
}
