// octet-worker: one rank of a worker group. Started by `mpirun -n N octet-worker …`, it reads its
// slices of the checkpoint, dials in to the coordinator and computes the steps it is told to.
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/build_id.h"
#include "base/check.h"
#include "base/device/device.h"
#include "base/host_identity.h"
#include "base/host_limits.h"
#include "base/log.h"
#include "comm/launch_place.h"
#include "comm/mpi_communicator.h"
#include "comm/timed.h"
#include "kernels/isa.h"
#include "worker/engine/device_group.h"
#include "worker/engine/engine.h"
#include "worker/engine/rank_device.h"
#include "worker/engine/worker_flags.h"
#include "worker/link/coordinator_link.h"
#include "worker/link/run_steps.h"
#include "worker/model/families/families.h"
#include "worker/weights/checkpoint.h"
#include "worker/weights/load_report.h"
#include "worker/weights/loader.h"
#include "worker/weights/packed/key.h"
#include "worker/weights/packed/packed_weights.h"
#include "worker/weights/static_kv_scales.h"

namespace octet::worker {
namespace {

constexpr int kExitNoCoordinator = 1;
constexpr int kExitRefused = 2;  // the model, the options or the device

struct RankOptions {
  std::string model_dir;
  std::string coordinator;
  uint64_t epoch = 0;
  std::string packed_dir;
  bool send_progress = false;
  WorkerOptions worker;
};

double MiB(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

void LogMemory(const EngineConfig& config, const MemoryPlan& memory, const std::string& on) {
  char line[320];
  std::snprintf(
      line, sizeof(line),
      "rank %lld of %lld: %s weights %.1f MiB, %s KV %.1f MiB (%lld blocks), "
      "activations %.1f MiB, communication %.1f MiB, reserve %.1f MiB, %d threads, %s",
      static_cast<long long>(config.shard.rank), static_cast<long long>(config.shard.ranks),
      std::string(WeightFormatName(config.weights.layers)).c_str(), MiB(memory.weight_bytes),
      std::string(KvName(config)).c_str(), MiB(memory.kv_bytes),
      static_cast<long long>(config.kv_blocks), MiB(memory.activation_bytes()),
      MiB(memory.communication_bytes), MiB(memory.reserve.bytes()), config.threads, on.c_str());
  Log(LogLevel::kInfo, line);
  const int64_t cached = config.kv_blocks * kernels::kKvBlockTokens;
  if (config.shard.rank == 0 && cached < config.context) {
    Log(LogLevel::kWarning,
        "the KV cache holds " + std::to_string(cached) + " tokens, so no sequence may have the " +
            std::to_string(config.context) + " of the context; a larger --kv-memory allows them");
  }
}

double Now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// The coordinator hears of all ranks, a person of rank 0: a bar on the terminal, the service's or
// our own, else a sentence now and then.
std::function<void(double)> LoadProgress(const RankOptions& options, const EngineConfig& config,
                                         CoordinatorLink* link) {
  const bool sent = options.send_progress;
  const bool bar = sent || ProgressIsSeen();
  const int64_t bytes = WeightPlan::Make(config.spec, config.shard, config.weights).bytes();
  LoadReport report(bar ? LoadReport::Form::kBar : LoadReport::Form::kSentence, bytes);
  return [=, rank = config.shard.rank](double fraction) mutable {
    link->TellLoaded(fraction);
    if (rank != 0) return;
    const std::optional<std::string> text = report.At(fraction, Now());
    if (!text.has_value()) return;
    if (sent) return SendProgress(*text);
    if (bar) return ShowProgress(*text);
    Log(LogLevel::kInfo, "rank 0: " + *text);
  };
}

// What a person may compare with what files and processors could do.
void LogMade(const Checkpoint& checkpoint, double seconds) {
  const double gigabytes = static_cast<double>(checkpoint.bytes_read()) / 1e9;
  char line[128];
  std::snprintf(line, sizeof(line),
                "rank 0: weights made of the checkpoint, %.2f GB read in %.2f s, %.2f GB/s",
                gigabytes, seconds, gigabytes / seconds);
  Log(LogLevel::kInfo, line);
}

// What MPI and the ranks' exchanges take of the same shared memory, after the weights are there.
int64_t SharedReserveBytes(const EngineConfig& config) {
  constexpr int64_t kMpiBytesPerRank = int64_t{8} << 20;  // its segment is 4 MiB by default
  return config.shard.ranks * (kMpiBytesPerRank + MemoryPlan::Make(config).communication_bytes);
}

struct LoadedModel {
  EngineConfig config;
  std::string config_json;
  std::string weights_key;
  ResidentWeights weights;
};

// `gpu` is null on the CPU.
Result<LoadedModel> LoadModel(const RankOptions& options, Gpu* gpu, const comm::MpiRuntime& mpi,
                              CoordinatorLink* link) {
  const int rank = mpi.rank();
  LoadedModel model;
  OCTET_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(options.model_dir));
  OCTET_ASSIGN_OR_RETURN(const ModelSpec spec, SpecFromConfig(checkpoint.config_json(),
                                                              checkpoint.generation_config_json()));
  WorkerOptions chosen = options.worker;
  if (chosen.threads == 0) chosen.threads = ThreadsOfRank(mpi.core_sharers());
  OCTET_ASSIGN_OR_RETURN(
      const WeightOptions weights,
      ResolveWeightOptions(
          checkpoint, spec,
          {.layers = chosen.weights, .head = chosen.head, .group = chosen.group_size}));
  OCTET_ASSIGN_OR_RETURN(model.config,
                         MakeEngineConfig(chosen, spec, weights, mpi.size(), rank, Describe(gpu)));
  if (gpu != nullptr) {
    OCTET_RETURN_IF_ERROR(CheckPlanFits(MemoryPlan::Make(model.config), gpu->info(), rank));
  } else {
    OCTET_RETURN_IF_ERROR(
        CheckPlanFits(MemoryPlan::Make(model.config), HostMemoryBytes(), mpi.host_size(), rank));
  }
  const std::string unused = UnusedKvScales(checkpoint);
  if (rank == 0 && !unused.empty() && !model.config.weights.static_kv) {
    Log(LogLevel::kInfo, unused);
  }
  model.config_json = checkpoint.config_json();
  model.weights_key = PackedKeyOf(checkpoint, model.config.shard, model.config.weights).Hex();
  ThreadPool pool(model.config.threads);
  const std::function<void(double)> progress = LoadProgress(options, model.config, link);
  progress(0);
  const double start = Now();
  OCTET_ASSIGN_OR_RETURN(
      LoadedWeights loaded,
      LoadPackedWeights({options.packed_dir, SharedReserveBytes(model.config),
                         HostPlace{mpi.host_rank(), mpi.host_size()}},
                        {checkpoint, spec, model.config.shard, model.config.weights}, pool,
                        progress));
  if (rank == 0 && loaded.source == WeightSource::kCheckpoint) LogMade(checkpoint, Now() - start);
  if (gpu == nullptr) {
    model.weights = std::move(loaded.weights);
  } else {
    OCTET_ASSIGN_OR_RETURN(model.weights, UploadWeights(std::move(loaded.weights), gpu->stream()));
  }
  return model;
}

// What bits are promised within: an instruction family, or an architecture of GPUs.
std::string KindOfDevice(const Gpu* gpu) {
  if (gpu != nullptr) return KindOf(gpu->info());
  return std::string(kernels::IsaName(kernels::ActiveIsa()));
}

v1::Hello MakeHello(const RankOptions& options, const Gpu* gpu, int rank, int ranks) {
  v1::Hello hello;
  hello.set_rank(rank);
  hello.set_ranks(ranks);
  hello.set_pid(getpid());
  hello.set_epoch(options.epoch);
  const char* secret = std::getenv("OCTET_LINK_SECRET");
  hello.set_secret(secret != nullptr ? secret : "");
  hello.set_build_id(std::string(BuildId()));
  hello.set_isa(KindOfDevice(gpu));
  if (gpu != nullptr && !options.worker.share_gpu) hello.set_gpu(gpu->info().uuid);
  hello.set_host(HostIdentity());
  return hello;
}

void DescribeModel(const EngineConfig& config, v1::ModelInfo* info) {
  info->set_architecture(config.spec.architecture);
  info->set_vocab(config.spec.vocab);
  info->set_context(config.context);
  info->mutable_eos_ids()->Add(config.spec.eos_ids.begin(), config.spec.eos_ids.end());
  info->set_bos_id(config.spec.bos_id);
  info->set_kv_blocks(config.kv_blocks);
  info->set_block_tokens(kernels::kKvBlockTokens);
  info->set_slots(config.slots);
  info->set_step_rows_max(config.step_rows);
  if (config.spec.rope.depends_on_length()) {
    info->set_rope_scaled_beyond(config.spec.rope.original_context);
  }
  info->set_weights(std::string(WeightFormatName(config.weights.layers)));
  info->set_kv(std::string(KvName(config)));
  info->set_activations(std::string(ActivationFormatName(config.activations)));
  for (int64_t rank = 0; rank < config.shard.ranks; ++rank) {
    EngineConfig of_rank = config;
    of_rank.shard = ShardPlan::Make(config.spec, config.shard.ranks, rank).value();
    const MemoryPlan plan = MemoryPlan::Make(of_rank);
    v1::RankMemory* memory = info->add_memory();
    memory->set_rank(static_cast<int32_t>(rank));
    memory->set_weight_bytes(plan.weight_bytes);
    memory->set_kv_bytes(plan.kv_bytes);
    memory->set_activation_bytes(plan.activation_bytes());
    memory->set_communication_bytes(plan.communication_bytes);
    memory->set_reserve_bytes(plan.reserve.bytes());
  }
}

// All ranks go on or none: one that left alone would leave the others in a collective.
bool AllGoOn(const Status& own, const comm::MpiRuntime& mpi, CoordinatorLink& link) {
  if (!own.ok()) link.SayFailure(own);  // the coordinator prints it once for all ranks
  return mpi.AllAgree(own.ok());
}

// What a rank that has its weights still needs, and the steps until there are no more.
int Serve(LoadedModel model, Gpu* gpu, bool share_gpu, const comm::MpiRuntime& mpi,
          CoordinatorLink& link) {
  const EngineConfig config = model.config;
  const MemoryPlan plan = MemoryPlan::Make(config);
  ThreadPool pool(config.threads);
  Stream stream = gpu != nullptr ? gpu->stream() : Stream(&pool);
  Result<EngineMemory> memory = EngineMemory::Take(plan, stream);
  if (!AllGoOn(memory.status(), mpi, link)) return kExitRefused;

  const std::unique_ptr<comm::Communicator> control = comm::MakeMpiCommunicator(LimitsOf(config));
  Result<std::unique_ptr<DeviceGroup>> group = std::make_unique<DeviceGroup>();
  if (gpu != nullptr) group = DeviceGroup::Join(config, *gpu, share_gpu, control.get());
  if (!AllGoOn(group.status(), mpi, link)) return kExitRefused;
  comm::TimedCommunicator timed(gpu != nullptr ? (*group)->communicator() : control.get(),
                                link.collectives());
  Engine engine(config, std::move(model.weights), std::move(*memory), &timed, stream);
  if (gpu != nullptr && !share_gpu) {
    const ReserveFound found = MeasureReserve(plan, gpu->info(), gpu->free_bytes());
    if (!AllGoOn(CheckReserve(plan, found, gpu->info(), mpi.rank()), mpi, link)) {
      return kExitRefused;
    }
  }
  LogMemory(config, engine.memory(), gpu != nullptr ? Describe(gpu->info()) : KindOfDevice(gpu));

  v1::Ready ready;
  ready.set_config_digest(ConfigDigest(config, model.config_json));
  ready.set_weights_key(model.weights_key);
  if (mpi.rank() == 0) DescribeModel(config, ready.mutable_model());
  link.SayReady(ready);
  RunSteps({engine, *control, timed, link, (*group)->watch()});
  return 0;
}

// The coordinator hears of the process before anything that can hang or fail, the opening of its
// device aside, which the hello tells of: a rank that dies or stands still while MPI starts or
// weights are loaded is seen like any other.
int Run(const RankOptions& options, int* argc, char*** argv) {
  std::unique_ptr<comm::MpiRuntime> mpi;
  std::optional<comm::LaunchPlace> place = comm::PlaceFromLauncher();
  if (!place.has_value()) {
    mpi = std::make_unique<comm::MpiRuntime>(argc, argv);
    place = {mpi->rank(), mpi->size()};
  }
  const Result<std::unique_ptr<Gpu>> device =
      OpenRankDevice(options.worker, comm::LocalRankFromLauncher(place->rank));
  Gpu* const gpu = device.ok() ? device->get() : nullptr;
  Result<std::unique_ptr<CoordinatorLink>> connected = CoordinatorLink::Connect(
      options.coordinator, MakeHello(options, gpu, place->rank, place->size));
  if (!connected.ok()) {
    Log(LogLevel::kError, connected.status().message());
    _exit(kExitNoCoordinator);  // without a word to MPI: the launcher ends the others
  }
  CoordinatorLink& link = **connected;
  if (mpi == nullptr) mpi = std::make_unique<comm::MpiRuntime>(argc, argv);
  OCTET_CHECK_EQ(mpi->rank(), place->rank);
  OCTET_CHECK_EQ(mpi->size(), place->size);
  if (!AllGoOn(device.status(), *mpi, link)) return kExitRefused;

  Result<LoadedModel> model = LoadModel(options, gpu, *mpi, &link);
  if (!AllGoOn(model.status(), *mpi, link)) return kExitRefused;
  return Serve(std::move(*model), gpu, options.worker.share_gpu, *mpi, link);
}

}  // namespace
}  // namespace octet::worker

int main(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // never outlive mpirun
  octet::worker::RankOptions options;
  CLI::App app("One rank of an Octet worker group; started with mpirun, usually by `octet serve`.",
               "octet-worker");
  app.add_option("--model", options.model_dir, "checkpoint directory")->required();
  app.add_option("--coordinator", options.coordinator, "where to dial in: unix:PATH or HOST:PORT")
      ->required();
  app.add_option("--epoch", options.epoch, "number of this launch, said in the hello");
  app.add_option("--packed-dir", options.packed_dir,
                 "folder that keeps packed weights for the next start, best in shared memory; "
                 "empty: none");
  app.add_flag("--send-progress", options.send_progress,
               "progress goes to whoever passes our lines on to a terminal");
  octet::worker::AddWorkerFlags(app, &options.worker);
  CLI11_PARSE(app, argc, argv);
  return octet::worker::Run(options, &argc, &argv);
}
