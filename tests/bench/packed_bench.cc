// What loading costs: the time until one rank's weights can be used, from the checkpoint, leaving a
// file, and from that file, against each other and against the read bandwidth of the same run,
// medians of several loads; and what a step of one row costs on weights that lie in a file instead
// of ordinary memory, in the processor time of one thread, so that being interrupted does not
// count. The file is removed at the end.
//
// A virtual machine may have to ask its host for memory, which can take longer than everything
// else: the checkpoint is also loaded into memory that is at hand, and what that took is printed.
//
//   octet_packed_bench MODEL FOLDER [--weights int4] [--layout cpu] [--threads N] [--loads N]
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "comm/threads.h"
#include "kernels/roofline/roofline.h"
#include "worker/engine/engine.h"
#include "worker/engine/worker_options.h"
#include "worker/model/families/families.h"
#include "worker/weights/packed/packed_weights.h"

namespace octet::worker {
namespace {

constexpr int kSteps = 24;  // of each kind, by turns

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

double ThreadSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Timed {
  DecoderWeights weights;     // of the last load
  std::vector<double> times;  // seconds, ascending

  double median() const { return times[times.size() / 2]; }
};

// Loads `count` times, with no weights left from the time before. `prepare` is called before each
// and what it returns goes to `load`.
template <typename Prepare, typename LoadOnce>
Timed Load(int count, const Prepare& prepare, const LoadOnce& load) {
  Timed timed;
  for (int i = 0; i < count; ++i) {
    timed.weights = {};
    auto prepared = prepare();
    const auto start = std::chrono::steady_clock::now();
    auto loaded = load(std::move(prepared));
    timed.times.push_back(Seconds(start));
    if (!loaded.ok()) CheckFailed(__FILE__, __LINE__, loaded.status().message());
    if constexpr (requires { loaded->weights; }) {
      timed.weights = std::move(loaded->weights);
    } else {
      timed.weights = std::move(*loaded);
    }
  }
  std::sort(timed.times.begin(), timed.times.end());
  return timed;
}

// Zeroed memory that the system has given already.
Buffer TouchedMemory(int64_t bytes, ThreadPool& pool) {
  constexpr int64_t kPageBytes = 4096;
  constexpr int64_t kTouchedAtOnce = 1024;  // pages
  Buffer memory(bytes);
  pool.ParallelFor(bytes / kPageBytes, kTouchedAtOnce, [&](int64_t begin, int64_t end) {
    for (int64_t page = begin; page < end; ++page) {
      *static_cast<volatile char*>(static_cast<void*>(memory.data() + page * kPageBytes)) = 0;
    }
  });
  return memory;
}

// One rank that decodes one sequence.
class Decoding {
 public:
  Decoding(const EngineConfig& config, DecoderWeights weights, ThreadPool* pool)
      : group_(1, LimitsOf(config)),
        engine_(config, std::move(weights), &group_.communicator(0), pool) {
    StepPlan first;
    first.admits.push_back({.slot = 0});
    first.blocks.push_back({.slot = 0, .appended_blocks = {0}});
    first.prefills.push_back({.slot = 0, .first_position = 0, .tokens = {1, 2}, .sample = true});
    engine_.Step(first);
  }
  void Step() {
    const double start = ThreadSeconds();
    engine_.Step({.decode_slots = {0}});
    best_seconds_ = std::min(best_seconds_, ThreadSeconds() - start);
  }
  double best_seconds() const { return best_seconds_; }

 private:
  comm::ThreadGroup group_;
  Engine engine_;
  double best_seconds_ = 1e9;
};

const std::map<std::string, kernels::WeightLayout> kLayouts = {
    {"cpu", kernels::WeightLayout::kCpuPanels},
    {"cuda16", kernels::WeightLayout::kCuda16},
    {"cuda8", kernels::WeightLayout::kCuda8}};

Status Measure(const std::string& model, const std::string& path, const std::string& format,
               const std::string& layout, int threads, int loads) {
  OCTET_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(model));
  OCTET_ASSIGN_OR_RETURN(const ModelSpec spec, SpecFromConfig(checkpoint.config_json()));
  OCTET_ASSIGN_OR_RETURN(WeightOptions options,
                         ResolveWeightOptions(checkpoint, spec, {.layers = format}));
  options.layout = kLayouts.at(layout);
  const WorkerOptions chosen = {.weights = format,
                                .max_model_len = 64,
                                .max_num_seqs = 1,
                                .max_num_batched_tokens = 2,
                                .threads = 1};
  OCTET_ASSIGN_OR_RETURN(const EngineConfig config, MakeEngineConfig(chosen, spec, options, 1, 0));
  const WeightsWanted wanted = {checkpoint, spec, config.shard, options};
  ThreadPool pool(threads);
  Stream stream(&pool);
  const PackedFolder folder = {path};
  const std::string file = path + "/" + PackedFileName(wanted);
  const int64_t bytes = WeightPlan::Make(spec, config.shard, options).bytes();
  const double gigabytes = static_cast<double>(bytes) / 1e9;
  double stored = 0;
  for (const auto& entry : std::filesystem::directory_iterator(model)) {
    if (entry.path().extension() == ".safetensors") {
      stored += static_cast<double>(std::filesystem::file_size(entry.path())) / 1e9;
    }
  }
  std::printf("%.3f GB of %s weights of a checkpoint of %.3f GB, %d threads\n", gigabytes,
              format.c_str(), stored, threads);
  const auto say = [&](const char* what, const Timed& timed) {
    std::printf("%-28s %8.3f s (%.3f to %.3f)", what, timed.median(), timed.times.front(),
                timed.times.back());
  };
  const auto say_rate = [&](const char* what, const Timed& timed) {
    say(what, timed);
    std::printf(": %.2f GB/s of the checkpoint a thread\n", stored / timed.median() / threads);
  };
  std::vector<double> touches;
  say_rate("checkpoint, memory at hand", Load(
                                             loads,
                                             [&] {
                                               const auto start = std::chrono::steady_clock::now();
                                               Buffer memory = TouchedMemory(bytes, pool);
                                               touches.push_back(Seconds(start));
                                               return memory;
                                             },
                                             [&](Buffer memory) {
                                               return LoadDecoderWeights(
                                                   checkpoint, spec, config.shard, options, pool,
                                                   nullptr, std::move(memory));
                                             }));
  const auto [least, most] = std::minmax_element(touches.begin(), touches.end());
  std::printf("  that memory took           %8.3f to %.3f s\n", *least, *most);
  const auto load_packed = [&](const PackedFolder& from) {
    return LoadPackedWeights(from, wanted, pool, nullptr);
  };
  const PackedFolder none;
  Timed plain = Load(
      loads, [&] { return none; }, load_packed);
  say_rate("checkpoint alone", plain);
  const auto without_file = [&] {
    std::filesystem::remove(file);
    return folder;
  };
  say_rate("checkpoint, file left", Load(loads, without_file, load_packed));
  Timed found = Load(
      loads, [&] { return folder; }, load_packed);
  say("file", found);
  const double read = kernels::MeasureReadBandwidth(stream).best / 1e9;
  std::printf(": %.1f GB/s, %.2f of %.1f GB/s read; %.0f times faster than the checkpoint\n",
              gigabytes / found.median(), gigabytes / found.median() / read, read,
              plain.median() / found.median());
  if (options.layout != kernels::WeightLayout::kCpuPanels) {
    std::filesystem::remove(file);
    return {};
  }
  ThreadPool alone(1);
  Decoding in_memory(config, std::move(plain.weights), &alone);
  Decoding in_file(config, std::move(found.weights), &alone);
  for (int i = 0; i < kSteps; ++i) {
    in_memory.Step();
    in_file.Step();
  }
  std::printf("best step of one row: ordinary memory %.3f ms, file %.3f ms, ratio %.3f\n",
              1e3 * in_memory.best_seconds(), 1e3 * in_file.best_seconds(),
              in_file.best_seconds() / in_memory.best_seconds());
  std::filesystem::remove(file);
  return {};
}

}  // namespace
}  // namespace octet::worker

int main(int argc, char** argv) {
  std::string model;
  std::string folder;
  std::string format = "int4";
  std::string layout = "cpu";
  int threads = 2;
  int loads = 5;
  CLI::App app("Measures loading from packed files.", "octet_packed_bench");
  app.add_option("model", model, "checkpoint directory")->required();
  app.add_option("folder", folder, "where the file is left")->required();
  app.add_option("--weights", format, "as of octet serve")->capture_default_str();
  app.add_option("--layout", layout, "cpu, or for a GPU cuda16 or cuda8, without the steps")
      ->capture_default_str()
      ->check(CLI::IsMember(octet::worker::kLayouts));
  app.add_option("--threads", threads, "of the rank")->capture_default_str();
  app.add_option("--loads", loads, "of each kind")->capture_default_str()->check(CLI::Range(1, 99));
  CLI11_PARSE(app, argc, argv);
  const octet::Status status =
      octet::worker::Measure(model, folder, format, layout, threads, loads);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
