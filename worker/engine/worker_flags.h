// The command line flags behind WorkerOptions.
#pragma once

#include <CLI/CLI.hpp>

#include "worker/engine/worker_options.h"

namespace octet::worker {

inline void AddWorkerFlags(CLI::App& app, WorkerOptions* options) {
  app.add_option("--device", options->device, "auto (a GPU if one can be used), cpu or cuda")
      ->capture_default_str();
  app.add_option("--weights", options->weights,
                 "how weights are kept: auto (as stored), bf16, int8 or int4")
      ->capture_default_str();
  app.add_option("--head", options->head,
                 "the vocabulary head: auto (int8 with int4 weights), bf16, int8 or int4")
      ->capture_default_str();
  app.add_option(
         "--kv,--kv-cache-dtype", options->kv,
         "the KV cache: int8 or int4 with a scale for every token and head, int8-static with "
         "the checkpoint's own scales, or bf16")
      ->capture_default_str();
  app.add_option("--activations", options->activations,
                 "auto (int8 on the CPU, bf16 on CUDA), f32, bf16 or int8")
      ->capture_default_str();
  app.add_option("--group-size", options->group_size,
                 "inputs that share a scale when weights are quantized on load; 0: 128, or 32 for "
                 "narrow models")
      ->capture_default_str();
  app.add_option("--max-model-len", options->max_model_len,
                 "tokens a sequence may have; 0: the model's context")
      ->capture_default_str();
  app.add_option("--max-num-seqs", options->max_num_seqs,
                 "sequences that can run at once; 0: 64 on the CPU, 256 on CUDA")
      ->capture_default_str();
  app.add_option("--max-num-batched-tokens", options->max_num_batched_tokens,
                 "tokens one step may compute; 0: 512 on the CPU, 2048 on CUDA")
      ->capture_default_str();
  app.add_option("--kv-memory", options->kv_memory,
                 "bytes of KV cache on each rank, like 8GiB; auto: enough for the limits above, at "
                 "most 4GiB on the CPU and what the rest leaves on a GPU")
      ->capture_default_str();
  app.add_option(
         "--threads", options->threads,
         "threads of each rank; 0: a host's cores (of a container: its share) dealt to its ranks")
      ->capture_default_str();
  app.add_flag("--share-gpu", options->share_gpu,
               "let several ranks compute on one GPU: for tests, it is slow");
}

}  // namespace octet::worker
