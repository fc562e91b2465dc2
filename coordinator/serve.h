// The one entry of the coordinator: serve a model over gRPC until told to stop. Everything else of
// this folder is behind it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace octet::coordinator {

struct ServeOptions {
  std::string model_dir;          // its tokenizer is read here, its weights by the ranks
  std::string served_model_name;  // empty: the last part of model_dir
  std::string grpc_address = "127.0.0.1:50051";  // port 0: one that is free, told when ready
  int ranks = 1;
  std::string worker_binary;             // octet-worker, by path or name
  std::vector<std::string> worker_args;  // after --coordinator and --epoch
  // Where ranks keep packed weights, so that a group that is started again need not make them:
  // "auto", in shared memory for as long as the service runs; "none"; or a folder, which outlives
  // it.
  std::string weight_cache = "auto";
  // mpirun, by path or name. "external": nothing is launched; ranks are started by someone else and
  // dial in at link_address with epoch 0.
  std::string launcher = "mpirun";
  std::vector<std::string> launcher_args;  // behind ours, which they override
  // Empty: a socket in a private folder. For ranks on other hosts an address of this one that they
  // reach, with a port. That needs a network that is trusted: the link is neither encrypted nor,
  // beyond the secret in OCTET_LINK_SECRET, protected.
  std::string link_address;

  // Limits.
  int64_t max_waiting = 256;  // sequences that wait on top of those that run; a request has n
  int64_t max_prompt_bytes = int64_t{1} << 20;
  // Of one gRPC message. A context of a million token ids has 3 MiB; what is made of a message
  // while it is read can be forty times as large.
  int64_t max_message_bytes = int64_t{4} << 20;
  // Tokens of an answer that go out in one message: fewer messages, later ones. The first token is
  // sent at once, and the last with whatever waits.
  int64_t stream_interval = 1;
  double grace_seconds = 30;  // running answers may take to end after SIGTERM
  // Workers may take from their launch until they have said hello; be silent; not get on with
  // loading; not get on with a step. Then the group is ended, and another started.
  double hello_seconds_max = 60;
  double heartbeat_seconds_max = 10;
  double load_stall_seconds_max = 120;
  double step_stall_seconds_max = 60;
  double self_test_seconds = 10;  // without a step, then one is made; 0: never
  // Workers that died are started again after these waits; when there were as many restarts within
  // ten minutes, the next loss is the end.
  std::vector<double> restart_delays_seconds = {0, 1, 2, 4};
};

// Runs until SIGTERM or SIGINT; a second one ends it fast. Returns the exit code: 0 after a drain,
// 1 when something failed while running (the port, the workers), 2 when options, model or workers'
// configuration are wrong. What was wrong is one sentence on standard error.
//
// REQUIRES: called from the main thread, before other threads are started (it decides which thread
// takes the signals).
int Serve(const ServeOptions& options);

}  // namespace octet::coordinator
