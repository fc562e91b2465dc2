#include "tests/integration/bad_files/bad_model.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/integration/bad_files/counted_memory.h"
#include "tests/support/fault_table.h"
#include "tests/worker/weights/made_checkpoint.h"
#include "worker/weights/loader.h"

namespace octet::testing {
namespace {

namespace fs = std::filesystem;

constexpr char kFile[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

const worker::MadeCheckpoint& Good() {
  static const worker::MadeCheckpoint good(worker::SmallConfig(false), DType::kBF16);
  return good;
}

void Replace(std::string* text, const std::string& from, const std::string& to) {
  const size_t at = text->find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text->replace(at, from.size(), to);
}

int64_t LargestFileBytes(const std::string& folder) {
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::error_code error;  // a link to itself
    if (entry.is_regular_file(error)) bytes = std::max<int64_t>(bytes, entry.file_size());
  }
  return bytes;
}

}  // namespace

BadModel::BadModel() {
  for (const char* name : {"config.json", kFile}) {
    fs::copy_file(Good().folder.File(name), folder_.File(name));
  }
  const std::string file = Contents(folder_.File(kFile));
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  header_ = file.substr(8, length);
  data_ = file.substr(8 + length);
}

void BadModel::WriteHeader(const std::string& header) const { WriteHeader(header, data_); }

void BadModel::WriteHeader(const std::string& header, const std::string& data) const {
  folder_.Write(kFile, test::RawSafetensors(header, data));
}

void BadModel::AddTensor(const std::string& name, const std::string& type, int64_t count,
                         const std::string& bytes) const {
  const auto end = static_cast<int64_t>(data_.size());
  const nlohmann::json entry = {{"dtype", type},
                                {"shape", {count}},
                                {"data_offsets", {end, end + static_cast<int64_t>(bytes.size())}}};
  const std::string header = header_.substr(0, header_.rfind('}'));
  WriteHeader(header + ",\"" + name + "\":" + entry.dump() + "}", data_ + bytes);
}

void BadModel::EditHeader(const std::string& from, const std::string& to) const {
  std::string header = header_;
  Replace(&header, from, to);
  WriteHeader(header);
}

void BadModel::EditConfig(const std::function<void(nlohmann::json&)>& edit) const {
  nlohmann::json config = nlohmann::json::parse(Contents(folder_.File("config.json")));
  edit(config);
  folder_.Write("config.json", config.dump());
}

void BadModel::EditConfigText(const std::string& from, const std::string& to) const {
  std::string text = Contents(folder_.File("config.json"));
  Replace(&text, from, to);
  folder_.Write("config.json", text);
}

void BadModel::Split() const {
  fs::remove(folder_.File(kFile));
  nlohmann::json index;
  std::vector<test::StoredTensor> parts[2];
  for (size_t i = 0; i < Good().tensors.size(); ++i) {
    test::StoredTensor tensor = Good().tensors[i];
    tensor.bytes = test::StoredBytes(DType::kBF16, Good().values.at(tensor.name));
    index["weight_map"][tensor.name] = i % 2 == 0 ? "a.safetensors" : "b.safetensors";
    parts[i % 2].push_back(std::move(tensor));
  }
  folder_.Write("a.safetensors", test::Safetensors(parts[0]));
  folder_.Write("b.safetensors", test::Safetensors(parts[1]));
  folder_.Write(kIndex, index.dump());
}

void BadModel::EditIndex(const std::function<void(nlohmann::json&)>& edit) const {
  nlohmann::json index = nlohmann::json::parse(Contents(folder_.File(kIndex)));
  edit(index);
  folder_.Write(kIndex, index.dump());
}

Status LoadAsRank(const std::string& folder, const std::function<void(double)>& progress) {
  OCTET_ASSIGN_OR_RETURN(const worker::Checkpoint checkpoint, worker::Checkpoint::Open(folder));
  OCTET_ASSIGN_OR_RETURN(
      const worker::ModelSpec spec,
      worker::SpecFromConfig(checkpoint.config_json(), checkpoint.generation_config_json()));
  OCTET_ASSIGN_OR_RETURN(const worker::WeightOptions options,
                         worker::ResolveWeightOptions(checkpoint, spec, {.layers = "int4"}));
  OCTET_ASSIGN_OR_RETURN(const worker::ShardPlan shard, worker::ShardPlan::Make(spec, 2, 1));
  ThreadPool pool(1);
  return worker::LoadDecoderWeights(checkpoint, spec, shard, options, pool, progress).status();
}

void ExpectRefused(const std::vector<Spoiled>& cases, int64_t bytes_max) {
  for (const Spoiled& c : cases) {
    const BadModel model;
    c.spoil(model);
    const int64_t file_bytes = LargestFileBytes(model.folder().path());
    const CountedMemory memory;
    const Status status = LoadAsRank(model.folder().path());
    const int64_t peak_bytes = memory.peak_bytes();
    EXPECT_EQ(status.code(), c.code) << c.injected << ": " << status.message();
    EXPECT_NE(status.message().find(c.said), std::string::npos)
        << c.injected << ": " << status.message();
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
    EXPECT_LE(status.message().size(), 600u) << c.injected;
    EXPECT_LE(peak_bytes, file_bytes + bytes_max) << c.injected;
    FaultSeen(c.row, c.injected,
              status.message() + " [" + std::to_string((peak_bytes + 1023) / 1024) +
                  " KiB taken, largest file " + std::to_string(file_bytes / 1024) + " KiB]");
  }
}

}  // namespace octet::testing
