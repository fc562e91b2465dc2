// A small good model's folder to be spoiled, and what a rank and a coordinator then say of it.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/support/temp_folder.h"

namespace octet::testing {

class BadModel {
 public:
  BadModel();  // still good
  const test::TempFolder& folder() const { return folder_; }

  // model.safetensors with this header, and the good file's data unless told otherwise.
  void WriteHeader(const std::string& header) const;
  void WriteHeader(const std::string& header, const std::string& data) const;
  // The good file and one more tensor.
  void AddTensor(const std::string& name, const std::string& type, int64_t count,
                 const std::string& bytes) const;
  // The good header with one part replaced.
  void EditHeader(const std::string& from, const std::string& to) const;
  void EditConfig(const std::function<void(nlohmann::json&)>& edit) const;
  // config.json with `from`, which must be there, replaced as text.
  void EditConfigText(const std::string& from, const std::string& to) const;
  // Two files and their index instead of one file.
  void Split() const;
  void EditIndex(const std::function<void(nlohmann::json&)>& edit) const;

  const std::string& header() const { return header_; }
  const std::string& data() const { return data_; }

 private:
  test::TempFolder folder_;
  std::string header_;
  std::string data_;
};

// What rank 1 of 2 does with a model's folder before it takes part in anything, with int4 weights.
Status LoadAsRank(const std::string& folder, const std::function<void(double)>& progress = nullptr);

struct Spoiled {
  const char* row;       // of the table of faults
  const char* injected;  // in words
  std::function<void(const BadModel&)> spoil;
  StatusCode code;
  const char* said;  // a part of the sentence: the file, tensor or key, found and expected
};

// Spoils, loads, and checks code, sentence and that no more memory was taken than `bytes_max`
// beyond the bytes of the folder's largest file; prints the table.
void ExpectRefused(const std::vector<Spoiled>& cases, int64_t bytes_max);

}  // namespace octet::testing
