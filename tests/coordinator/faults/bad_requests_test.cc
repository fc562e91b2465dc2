// Requests whose values are wrong (rows F9 and F10 of the table of faults): each is refused with
// one sentence that names the field, what was found and what was expected.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/coordinator/faults/faults.h"

namespace octet::coordinator {
namespace {

struct Wrong {
  const char* injected;
  const char* sentence;
  std::function<void(v1::GenerateRequest*, v1::SamplingParams*)> change;
};

const float kNan = std::nanf("");
const float kInfinity = std::numeric_limits<float>::infinity();

class BadRequests : public Faults {
 protected:
  void ExpectAllInvalid(const std::string& row, const std::vector<Wrong>& wrongs) {
    ASSERT_NO_FATAL_FAILURE(StartBeside());
    for (const Wrong& wrong : wrongs) {
      v1::GenerateRequest request = Prompt("x", 4);
      wrong.change(&request, request.mutable_sampling_params());
      ExpectInvalid(row, wrong.injected, request, wrong.sentence);
    }
    ExpectUnharmed();
  }
};

TEST_F(BadRequests, F9PromptsAndLengths) {
  ExpectAllInvalid(
      "F9",
      {{"empty text", "prompt has 0 tokens; it must have at least 1",
        [](auto* r, auto*) { r->set_text(""); }},
       {"empty token_ids", "prompt has 0 tokens; it must have at least 1",
        [](auto* r, auto*) { r->mutable_token_ids(); }},
       {"empty chat", "chat.messages has 0 entries; it must have at least 1",
        [](auto* r, auto*) { r->mutable_chat(); }},
       {"no prompt", "prompt is missing; it must be one of text, token_ids and chat",
        [](auto* r, auto*) { r->clear_prompt(); }},
       {"text longer than the context",
        "prompt has 600 tokens; the context of 512 leaves room for at most 511",
        [](auto* r, auto*) { r->set_text(std::string(600, 'x')); }},
       {"token_ids longer than the context",
        "token_ids has 512 tokens; the context of 512 leaves room for at most 511",
        [](auto* r, auto*) { r->mutable_token_ids()->mutable_ids()->Resize(512, 1); }},
       {"text of 1 MiB and a byte", "text has 1048577 bytes; the limit is 1048576",
        [](auto* r, auto*) { r->set_text(std::string((1 << 20) + 1, 'x')); }},
       {"prompt + max_tokens beyond the context",
        "max_tokens is 512; a prompt of 1 tokens leaves 511 of the context of 512",
        [](auto*, auto* s) { s->set_max_tokens(512); }},
       {"token id of the vocabulary's size", "token_ids[1] is 257; the model's tokens are 0 to 256",
        [](auto* r, auto*) {
          for (const int id : {1, 257}) r->mutable_token_ids()->add_ids(id);
        }},
       {"token id 2^31-1", "token_ids[0] is 2147483647; the model's tokens are 0 to 256",
        [](auto* r, auto*) { r->mutable_token_ids()->add_ids(INT32_MAX); }},
       {"token id -1", "token_ids[0] is -1; the model's tokens are 0 to 256",
        [](auto* r, auto*) { r->mutable_token_ids()->add_ids(-1); }},
       {"max_tokens 0", "max_tokens is 0; it must be at least 1",
        [](auto*, auto* s) { s->set_max_tokens(0); }},
       {"max_tokens -1", "max_tokens is -1; it must be at least 1",
        [](auto*, auto* s) { s->set_max_tokens(-1); }},
       {"max_tokens 1e18",
        "max_tokens is 1000000000000000000; a prompt of 1 tokens leaves 511 of the context of 512",
        [](auto*, auto* s) { s->set_max_tokens(1'000'000'000'000'000'000); }},
       {"max_tokens 2^63-1",
        "max_tokens is 9223372036854775807; a prompt of 1 tokens leaves 511 of the context of 512",
        [](auto*, auto* s) { s->set_max_tokens(INT64_MAX); }}});
}

TEST_F(BadRequests, F10CountsAndNames) {
  ExpectAllInvalid(
      "F10",
      {{"n 1000000", "n is 1000000; it must be between 1 and 128",
        [](auto*, auto* s) { s->set_n(1'000'000); }},
       {"n 0", "n is 0; it must be between 1 and 128", [](auto*, auto* s) { s->set_n(0); }},
       {"n -1", "n is -1; it must be between 1 and 128", [](auto*, auto* s) { s->set_n(-1); }},
       {"logprobs 1000000", "logprobs is 1000000; it must be between 0 and 20",
        [](auto*, auto* s) { s->set_logprobs(1'000'000); }},
       {"logprobs -1", "logprobs is -1; it must be between 0 and 20",
        [](auto*, auto* s) { s->set_logprobs(-1); }},
       {"prompt_logprobs 1000000", "prompt_logprobs is 1000000; it must be between 0 and 20",
        [](auto*, auto* s) { s->set_prompt_logprobs(1'000'000); }},
       {"100000 stop strings", "stop has 100000 entries; the limit is 16",
        [](auto*, auto* s) {
          for (int i = 0; i < 100'000; ++i) s->add_stop(std::string(1, 's'));
        }},
       {"stop \"\"", "stop[1] has 0 bytes; it must have between 1 and 256",
        [](auto*, auto* s) {
          s->add_stop("fine");
          s->add_stop("");
        }},
       {"stop of 1 MB", "stop[0] has 1000000 bytes; it must have between 1 and 256",
        [](auto*, auto* s) { s->add_stop(std::string(1'000'000, 's')); }},
       {"100000 stop_token_ids", "stop_token_ids has 100000 entries; the limit is 256",
        [](auto*, auto* s) { s->mutable_stop_token_ids()->Resize(100'000, 1); }},
       {"stop_token_ids -1", "stop_token_ids[0] is -1; the model's tokens are 0 to 256",
        [](auto*, auto* s) { s->add_stop_token_ids(-1); }},
       {"logit_bias of 300000 keys", "logit_bias has 300000 entries; the limit is 512",
        [](auto*, auto* s) {
          for (int i = 0; i < 300'000; ++i) (*s->mutable_logit_bias())[i] = 1;
        }},
       {"logit_bias of token -1", "a token of logit_bias is -1; the model's tokens are 0 to 256",
        [](auto*, auto* s) { (*s->mutable_logit_bias())[-1] = 1; }},
       {"logit_bias NaN", "logit_bias[3] is not a finite number; it must be between -100 and 100",
        [](auto*, auto* s) { (*s->mutable_logit_bias())[3] = kNan; }},
       {"logit_bias 1e9", "logit_bias[3] is 1e+09; it must be between -100 and 100",
        [](auto*, auto* s) { (*s->mutable_logit_bias())[3] = 1e9f; }},
       {"min_tokens above max_tokens", "min_tokens is 5; it must be at most max_tokens, which is 4",
        [](auto*, auto* s) { s->set_min_tokens(5); }},
       {"min_tokens 2^63-1",
        "min_tokens is 9223372036854775807; it must be at most max_tokens, which is 4",
        [](auto*, auto* s) { s->set_min_tokens(INT64_MAX); }},
       {"min_tokens -1", "min_tokens is -1; it must be at least 0",
        [](auto*, auto* s) { s->set_min_tokens(-1); }},
       {"priority 2^31-1", "priority is 2147483647; it must be between -100 and 100",
        [](auto* r, auto*) { r->set_priority(INT32_MAX); }},
       {"priority -2^31", "priority is -2147483648; it must be between -100 and 100",
        [](auto* r, auto*) { r->set_priority(INT32_MIN); }},
       {"request_id of 1 MB", "request_id has 1000000 bytes; the limit is 128",
        [](auto* r, auto*) { r->set_request_id(std::string(1'000'000, 'i')); }},
       {"request_id of two lines",
        "request_id has a control character (byte 0x0A) at byte 1; it must have none",
        [](auto* r, auto*) { r->set_request_id("a\n12:00:00.000 error: forged"); }},
       {"request_id with a terminal's escape",
        "request_id has a control character (byte 0x1B) at byte 0; it must have none",
        [](auto* r, auto*) { r->set_request_id("\x1b[2J"); }},
       {"request_id with a zero byte",
        "request_id has a control character (byte 0x00) at byte 1; it must have none",
        [](auto* r, auto*) { r->set_request_id(std::string("a\0b", 3)); }},
       {"request_id with U+0085",
        "request_id has a control character (byte 0xC2) at byte 2; it must have none",
        [](auto* r, auto*) { r->set_request_id("ab\u0085"); }}});
}

TEST_F(BadRequests, F10Numbers) {
  const char* temperature = "0 (greedy) or between 0.001 and 100";
  const auto sentence = [](const std::string& field, const std::string& found,
                           const std::string& expected) {
    return field + " is " + found + "; it must be " + expected;
  };
  using Set = void (v1::SamplingParams::*)(float);
  struct Field {
    const char* name;
    Set set;
    const char* expected;
    std::vector<std::pair<float, const char*>> wrong;
  };
  const char* none = "not a finite number";
  const std::vector<Field> fields = {
      {"temperature",
       &v1::SamplingParams::set_temperature,
       temperature,
       {{kNan, none},
        {kInfinity, none},
        {-kInfinity, none},
        {-1, "-1"},
        {1e-30f, "1e-30"},
        {3e38f, "3e+38"}}},
      {"top_p",
       &v1::SamplingParams::set_top_p,
       "above 0 and at most 1 (off)",
       {{0, "0"}, {2, "2"}, {-1, "-1"}, {kNan, none}, {kInfinity, none}}},
      {"min_p",
       &v1::SamplingParams::set_min_p,
       "at least 0 (off) and below 1",
       {{1, "1"}, {-0.5f, "-0.5"}, {kNan, none}, {kInfinity, none}}},
      {"repetition_penalty",
       &v1::SamplingParams::set_repetition_penalty,
       "above 0 and at most 2",
       {{0, "0"}, {-1, "-1"}, {3, "3"}, {kNan, none}, {kInfinity, none}}},
      {"presence_penalty",
       &v1::SamplingParams::set_presence_penalty,
       "between -2 and 2",
       {{3, "3"}, {-3, "-3"}, {kNan, none}, {-kInfinity, none}}},
      {"frequency_penalty",
       &v1::SamplingParams::set_frequency_penalty,
       "between -2 and 2",
       {{3, "3"}, {-3, "-3"}, {kNan, none}, {kInfinity, none}}}};
  ASSERT_NO_FATAL_FAILURE(StartBeside());
  for (const Field& field : fields) {
    for (const auto& [value, found] : field.wrong) {
      v1::GenerateRequest request = Prompt("x", 4);
      (request.mutable_sampling_params()->*field.set)(value);
      ExpectInvalid("F10", field.name + std::string(" ") + std::to_string(value), request,
                    sentence(field.name, found, field.expected));
    }
  }
  v1::GenerateRequest request = Prompt("x", 4);
  request.mutable_sampling_params()->set_top_k(-2);
  ExpectInvalid("F10", "top_k -2", request, "top_k is -2; it must be at least 1, or 0 or -1 (off)");
  ExpectUnharmed();
}

TEST_F(BadRequests, F10MoreThanAMessageHolds) {
  ASSERT_NO_FATAL_FAILURE(StartBeside());
  v1::GenerateRequest request = Prompt("x", 4);
  auto* bias = request.mutable_sampling_params()->mutable_logit_bias();
  for (int i = 0; i < 1'000'000; ++i) (*bias)[i] = 1;
  ExpectRefused("F10", "logit_bias of 1000000 keys", request, grpc::StatusCode::RESOURCE_EXHAUSTED,
                "Received message larger than max (" + std::to_string(request.ByteSizeLong()) +
                    " vs. 4194304)");
  ExpectUnharmed();
}

// What looks odd and has a meaning is answered.
TEST_F(BadRequests, F10EdgesThatHaveAMeaning) {
  ASSERT_NO_FATAL_FAILURE(StartBeside());
  const auto with = [](auto change) {
    v1::GenerateRequest request = Prompt("x", 4);
    change(&request, request.mutable_sampling_params());
    return request;
  };
  ExpectAnswered("F10", "seed 2^63", with([](auto*, auto* s) { s->set_seed(uint64_t{1} << 63); }),
                 4);
  ExpectAnswered("F10", "seed 2^64-1", with([](auto*, auto* s) { s->set_seed(UINT64_MAX); }), 4);
  ExpectAnswered("F10", "temperature -0.0", with([](auto*, auto* s) { s->set_temperature(-0.0f); }),
                 4);
  ExpectAnswered("F10", "top_k 2^31-1", with([](auto*, auto* s) { s->set_top_k(INT32_MAX); }), 4);
  ExpectAnswered("F10", "top_p 1e-30", with([](auto*, auto* s) { s->set_top_p(1e-30f); }), 4);
  ExpectAnswered("F10", "the same stop token 256 times",
                 with([](auto*, auto* s) { s->mutable_stop_token_ids()->Resize(256, 256); }), 4);
  ExpectUnharmed();
}

}  // namespace
}  // namespace octet::coordinator
