// The public request, from the bytes that a client sends to what the scheduler takes: parsing,
// ToRequest, intake's checks, the chat template, the tokenizer, the checks that need the tokens.
// Bytes that begin with '#' are the text form of a GenerateRequest (a comment there), so that seeds
// can be read and the fuzzer finds field names; all others are the wire form. There is no engine.
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/text_format.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "base/check.h"
#include "coordinator/chat/chat_template.h"
#include "coordinator/intake/intake.h"
#include "coordinator/tokenizer/utf8.h"
#include "coordinator/transport/messages.h"

namespace octet {
namespace {

constexpr const char* kSource = OCTET_SOURCE_DIR "/tests/coordinator/";

class NoErrors final : public google::protobuf::io::ErrorCollector {
  void AddError(int, int, const std::string&) override {}
};

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  OCTET_CHECK(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

// What a request meets, made once.
class Door {
 public:
  Door()
      : tokenizer_(Tokenizer()),
        template_(Template()),
        intake_(
            &tokenizer_, limits_, [](intake::Submission) {},
            [this](const intake::Conversation& conversation) { return Render(conversation); }) {
    model_.vocab = tokenizer_.vocab_size();
    model_.context = 4096;
    model_.slots = 4;
    model_.eos_ids = {0};
  }

  void Take(const v1::GenerateRequest& message) const {
    const intake::Request request = transport::ToRequest(message);
    if (const Status status = intake::CheckRequest(request, limits_, model_); !status.ok())
      return ExpectSentence(status);
    Result<std::vector<int32_t>> tokens =
        intake_.Encode(request.prompt, request.add_special_tokens, request.parse_special_tokens);
    if (!tokens.ok()) return ExpectSentence(tokens.status());
    const auto sequences = intake::MakeSequences(request, 1, std::move(*tokens), 7, model_);
    if (!sequences.ok()) return ExpectSentence(sequences.status());
    for (const schedule::NewSequence& sequence : *sequences) ExpectSound(sequence);
    const std::string text =
        tokenizer_.Decode(sequences->front().prompt, request.skip_special_tokens);
    OCTET_CHECK(!tokenizer::InvalidUtf8Offset(text).has_value());
  }

 private:
  static tokenizer::Tokenizer Tokenizer() {
    auto made = tokenizer::Tokenizer::FromJson(
        ReadFile(std::string(kSource) + "tokenizer/goldens/qwen2.tokenizer.json"));
    OCTET_CHECK(made.ok());
    return std::move(*made);
  }
  static chat::ChatTemplate Template() {
    chat::ChatTemplateLimits limits;
    limits.steps = 200'000;  // a slow machine under a sanitizer: about a second
    auto made = chat::ChatTemplate::Parse(
        ReadFile(std::string(kSource) + "chat/templates/llama31.jinja"), limits);
    OCTET_CHECK(made.ok());
    return std::move(*made);
  }

  Result<intake::RenderedChat> Render(const intake::Conversation& conversation) const {
    OCTET_ASSIGN_OR_RETURN(
        chat::MarkedText prompt,
        template_.Render({.messages = conversation.messages,
                          .tools = conversation.tools,
                          .add_generation_prompt = conversation.add_generation_prompt,
                          .extra = conversation.variables}));
    return intake::RenderedChat{std::move(prompt.text), std::move(prompt.given)};
  }

  // A refusal says why, in one line, and gRPC can carry it.
  static void ExpectSentence(const Status& status) {
    OCTET_CHECK(!status.message().empty());
    const grpc::Status sent = transport::ToGrpc(status);
    OCTET_CHECK_LE(static_cast<int64_t>(sent.error_message().size()), 2048);
  }

  void ExpectSound(const schedule::NewSequence& sequence) const {
    const auto prompt_tokens = static_cast<int64_t>(sequence.prompt.size());
    OCTET_CHECK_GE(prompt_tokens, 1);
    OCTET_CHECK_GE(sequence.max_tokens, 1);
    OCTET_CHECK_LE(prompt_tokens + sequence.max_tokens, model_.context);
    OCTET_CHECK_LE(sequence.sampling.min_tokens, sequence.max_tokens);
    for (const int32_t id : sequence.prompt) OCTET_CHECK(id >= 0 && id < model_.vocab);
    for (const int32_t id : sequence.stop_tokens) OCTET_CHECK(id >= 0 && id < model_.vocab);
    for (const auto& bias : sequence.sampling.logit_bias) {
      OCTET_CHECK(bias.token >= 0 && bias.token < model_.vocab);
      OCTET_CHECK(std::isfinite(bias.bias));
    }
    const schedule::SamplingSpec& sampling = sequence.sampling;
    for (const float value :
         {sampling.temperature, sampling.top_p, sampling.min_p, sampling.repetition_penalty,
          sampling.presence_penalty, sampling.frequency_penalty})
      OCTET_CHECK(std::isfinite(value));
  }

  const intake::IntakeLimits limits_;
  intake::ModelLimits model_;
  const tokenizer::Tokenizer tokenizer_;
  const chat::ChatTemplate template_;
  const intake::Intake intake_;
};

}  // namespace
}  // namespace octet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const octet::Door* door = [] {
    google::protobuf::SetLogHandler(nullptr);
    return new octet::Door;
  }();
  octet::v1::GenerateRequest message;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  if (!bytes.empty() && bytes[0] == '#') {
    octet::NoErrors none;
    google::protobuf::TextFormat::Parser parser;
    parser.RecordErrorsTo(&none);
    if (!parser.ParseFromString(bytes, &message)) return 0;
  } else if (!message.ParseFromString(bytes)) {
    return 0;
  }
  door->Take(message);
  return 0;
}
