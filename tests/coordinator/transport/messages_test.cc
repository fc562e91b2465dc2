#include "coordinator/transport/messages.h"

#include <gtest/gtest.h>

namespace octet::transport {
namespace {

TEST(ToRequest, UnsetStaysUnsetAndZeroStaysZero) {
  v1::GenerateRequest message;
  const intake::Request unset = ToRequest(message);
  EXPECT_FALSE(unset.n || unset.min_tokens || unset.logprobs || unset.prompt_logprobs ||
               unset.repetition_penalty || unset.presence_penalty || unset.frequency_penalty ||
               unset.priority || unset.echo || unset.include_stop_str_in_output);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(unset.prompt));
  v1::SamplingParams* sampling = message.mutable_sampling_params();
  sampling->set_n(0);
  sampling->set_logprobs(0);
  sampling->set_prompt_logprobs(0);
  sampling->set_min_tokens(0);
  sampling->set_repetition_penalty(0);
  sampling->set_presence_penalty(0);
  sampling->set_frequency_penalty(0);
  message.set_priority(0);
  const intake::Request zero = ToRequest(message);
  EXPECT_EQ(zero.n, 0);
  EXPECT_EQ(zero.logprobs, 0);
  EXPECT_EQ(zero.prompt_logprobs, 0);
  EXPECT_EQ(zero.min_tokens, 0);
  EXPECT_EQ(zero.repetition_penalty, 0.0f);
  EXPECT_EQ(zero.presence_penalty, 0.0f);
  EXPECT_EQ(zero.frequency_penalty, 0.0f);
  EXPECT_EQ(zero.priority, 0);
}

TEST(ToRequest, EveryFieldArrives) {
  v1::GenerateRequest message;
  message.set_echo(true);
  message.set_priority(-3);
  v1::SamplingParams* sampling = message.mutable_sampling_params();
  sampling->set_repetition_penalty(1.5f);
  sampling->set_presence_penalty(0.25f);
  sampling->set_frequency_penalty(-0.25f);
  (*sampling->mutable_logit_bias())[9] = 1.0f;
  (*sampling->mutable_logit_bias())[2] = -1.0f;
  sampling->set_min_tokens(4);
  sampling->add_stop("END");
  sampling->set_include_stop_str_in_output(true);
  sampling->set_n(3);
  sampling->set_logprobs(5);
  sampling->set_prompt_logprobs(6);
  v1::ChatMessages* chat = message.mutable_chat();
  v1::ChatMessage* said = chat->add_messages();
  said->set_role("tool");
  said->set_content("42");
  said->set_name("f");
  said->set_tool_call_id("id");
  said->set_tool_calls_json("[]");
  chat->set_tools_json("[{}]");
  chat->set_add_generation_prompt(false);
  chat->set_template_variables_json("{}");

  const intake::Request request = ToRequest(message);
  EXPECT_TRUE(request.echo);
  EXPECT_EQ(request.priority, -3);
  EXPECT_EQ(request.repetition_penalty, 1.5f);
  EXPECT_EQ(request.presence_penalty, 0.25f);
  EXPECT_EQ(request.frequency_penalty, -0.25f);
  EXPECT_EQ(request.logit_bias, (std::map<int32_t, float>{{2, -1.0f}, {9, 1.0f}}));
  EXPECT_EQ(request.min_tokens, 4);
  EXPECT_EQ(request.stop, std::vector<std::string>{"END"});
  EXPECT_TRUE(request.include_stop_str_in_output);
  EXPECT_EQ(request.n, 3);
  EXPECT_EQ(request.logprobs, 5);
  EXPECT_EQ(request.prompt_logprobs, 6);
  const auto& conversation = std::get<intake::ChatRequest>(request.prompt);
  ASSERT_EQ(conversation.messages.size(), 1u);
  EXPECT_EQ(conversation.messages[0].role, "tool");
  EXPECT_EQ(conversation.messages[0].content, "42");
  EXPECT_EQ(conversation.messages[0].name, "f");
  EXPECT_EQ(conversation.messages[0].tool_call_id, "id");
  EXPECT_EQ(conversation.messages[0].tool_calls_json, "[]");
  EXPECT_EQ(conversation.tools_json, "[{}]");
  EXPECT_FALSE(conversation.add_generation_prompt);
  EXPECT_EQ(conversation.template_variables_json, "{}");
}

TEST(ToRequest, EntriesBeyondALimitAreCountedAndNotCopied) {
  v1::GenerateRequest message;
  for (int i = 0; i < 2000; ++i) {
    message.mutable_chat()->add_messages()->set_role(std::string("user"));
    message.mutable_sampling_params()->add_stop(std::string(1, 's'));
    (*message.mutable_sampling_params()->mutable_logit_bias())[i] = 1;
  }
  const intake::Request request = ToRequest(message);
  const auto& chat = std::get<intake::ChatRequest>(request.prompt);
  EXPECT_EQ(chat.messages.size(), 1024u);
  EXPECT_EQ(chat.messages_left_out, 976);
  EXPECT_EQ(request.stop.size(), 16u);
  EXPECT_EQ(request.stop_left_out, 1984);
  EXPECT_EQ(request.logit_bias.size(), 512u);
  EXPECT_EQ(request.logit_bias_left_out, 1488);
}

TEST(ToGrpc, ALongMessageIsCutBetweenCharacters) {
  const auto sent = [](const std::string& message) {
    return ToGrpc(InvalidArgument(message)).error_message();
  };
  EXPECT_EQ(sent(std::string(3000, 'x')), std::string(2048, 'x'));
  EXPECT_EQ(sent(std::string(2047, 'x').append("\u00e9")), std::string(2047, 'x'));
  EXPECT_EQ(sent(std::string(2046, 'x').append("\u00e9")), std::string(2046, 'x').append("\u00e9"));
}

TEST(Append, ChunksOfOneSampleGrowIntoOneMessage) {
  v1::GenerateResponse::Chunk chunk;
  Append({2, 65, 7, "A", schedule::TokenLogprobs{-0.5f, {65, 66}, {-0.5f, -1.0f}}}, &chunk);
  Append({2, 66, 8, "B", schedule::TokenLogprobs{-1.5f, {}, {}}}, &chunk);
  EXPECT_EQ(chunk.index(), 2);
  EXPECT_EQ(chunk.first_position(), 7);
  EXPECT_EQ(chunk.text(), "AB");
  ASSERT_EQ(chunk.token_ids_size(), 2);
  ASSERT_EQ(chunk.logprobs_size(), 2);
  EXPECT_EQ(chunk.logprobs(0).top_tokens(1), 66);
  EXPECT_EQ(chunk.logprobs(0).top_logprobs(1), -1.0f);
  EXPECT_EQ(chunk.logprobs(1).logprob(), -1.5f);
}

TEST(SetComplete, TheReasonIsWhatEndedIt) {
  v1::GenerateResponse::Complete length;
  SetComplete({1, {}, {}, 3, 4, 2}, &length);
  EXPECT_EQ(length.finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(length.index(), 1);
  EXPECT_EQ(length.usage().prompt_tokens(), 3);
  EXPECT_EQ(length.usage().completion_tokens(), 4);
  EXPECT_EQ(length.usage().cached_tokens(), 2);
  v1::GenerateResponse::Complete token;
  SetComplete({0, 0, {}, 3, 4, 0}, &token);  // token 0 is a token
  EXPECT_EQ(token.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_TRUE(token.has_stop_token_id());
  v1::GenerateResponse::Complete string;
  SetComplete({0, {}, "END", 3, 4, 0}, &string);
  EXPECT_EQ(string.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(string.stop_string(), "END");
}

}  // namespace
}  // namespace octet::transport
