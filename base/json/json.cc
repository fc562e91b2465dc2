#include "base/json/json.h"

#include <cstdio>
#include <string>
#include <unordered_set>
#include <vector>

namespace octet {
namespace {

constexpr size_t kQuotedBytesMax = 120;

// Walks the text without building it; stops at the first thing that is not allowed.
class Gate : public nlohmann::json_sax<nlohmann::json> {
 public:
  Gate(std::string what, int64_t depth_max) : what_(std::move(what)), depth_max_(depth_max) {}

  const Status& status() const { return status_; }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }

  bool start_object(std::size_t) override {
    keys_.emplace_back();
    return Descend();
  }
  bool end_object() override {
    keys_.pop_back();
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override { return Descend(); }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& name) override {
    last_key_ = name;
    if (keys_.back().insert(name).second) return true;
    status_ = InvalidArgument(what_ + ": key " + Quoted(name) + " is given twice in one object");
    return false;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    status_ = InvalidArgument(what_ + ": not valid JSON at byte " + std::to_string(position) +
                              (last_key_.empty()
                                   ? std::string()
                                   : ", in or after the value of key " + Quoted(last_key_)));
    return false;
  }

 private:
  bool Descend() {
    if (++depth_ <= depth_max_) return true;
    status_ = ResourceExhausted(what_ + ": nested deeper than the limit of " +
                                std::to_string(depth_max_) + " levels");
    return false;
  }

  std::string what_;
  int64_t depth_max_;
  int64_t depth_ = 0;
  std::string last_key_;
  std::vector<std::unordered_set<std::string>> keys_;  // of the objects that are open
  Status status_;
};

}  // namespace

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, kQuotedBytesMax)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\x%02x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  if (text.size() > kQuotedBytesMax) out += "...";
  return out + "\"";
}

Result<nlohmann::json> ParseJson(std::string_view text, const std::string& what,
                                 const JsonLimits& limits) {
  if (static_cast<int64_t>(text.size()) > limits.bytes_max) {
    return ResourceExhausted(what + ": " + std::to_string(text.size()) +
                             " bytes of JSON, the limit is " + std::to_string(limits.bytes_max));
  }
  Gate gate(what, limits.depth_max);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &gate)) return gate.status();
  nlohmann::json value = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (value.is_discarded()) return InvalidArgument(what + ": not valid JSON");
  return value;
}

}  // namespace octet
