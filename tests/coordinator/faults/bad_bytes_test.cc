// Messages whose bytes are wrong (row F11), texts that are long (F14), and answers whose bytes are
// no characters (F15).
#include <gtest/gtest.h>

#include <random>
#include <thread>
#include <vector>

#include "tests/coordinator/faults/faults.h"
#include "tests/coordinator/service/raw_client.h"

namespace octet::coordinator {
namespace {

constexpr const char* kGenerate = "/octet.v1.Generation/Generate";

std::string Repeated(const std::string& text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

class BadBytes : public Faults {
 protected:
  BadBytes() {
    std::ofstream(model_.path() + "/tokenizer_config.json")
        << R"({"chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}{{ tools }}"})";
  }
  v1::TokenIds last_prompt_;
  static v1::GenerateRequest Chat() {
    v1::GenerateRequest request = Prompt("", 4);
    v1::ChatMessage* message = request.mutable_chat()->add_messages();
    message->set_role("user");
    message->set_content("hello");
    return request;
  }
};

TEST_F(BadBytes, F11Chats) {
  ASSERT_NO_FATAL_FAILURE(StartBeside());
  const auto tools = [this](const char* injected, const std::string& json,
                            const std::string& sentence) {
    v1::GenerateRequest request = Chat();
    request.mutable_chat()->set_tools_json(json);
    ExpectInvalid("F11", injected, request, sentence);
  };
  tools("tools of depth 100000", Repeated("[", 100'000) + Repeated("]", 100'000),
        "chat.tools_json is nested 100000 levels deep; the limit is 32");
  tools("tools of depth 100000 in objects", "[" + Repeated("{\"a\":", 100'000),
        "chat.tools_json is nested 100001 levels deep; the limit is 32");
  tools("tools of 9000 values", "[{\"a\":[1" + Repeated(",1", 8997) + "]}]",
        "chat.tools_json brings the JSON values of the request to 9001; the limit is 8192");
  tools("tools with half a surrogate pair", R"([{"a":"\ud800"}])",
        "chat.tools_json is not JSON, at byte 14; it must be an array");
  tools("tools that are no array", "{}", "chat.tools_json is object; it must be an array");
  tools("tools that are no objects", "[1]", "chat.tools_json[0] is number; it must be an object");
  tools("tools with a number of 400 digits", "[{\"a\":1e400}]",
        "chat.tools_json holds a number that does not fit; it must be an array");
  tools("tools cut off", "[{\"a\":", "chat.tools_json is not JSON, at byte 7; it must be an array");

  v1::GenerateRequest calls = Chat();
  calls.mutable_chat()->mutable_messages(0)->set_tool_calls_json(R"([{"function":{"arguments":")" +
                                                                 Repeated("[", 1000) + R"("}}])");
  ExpectInvalid("F11", "arguments of depth 1000 inside a string", calls,
                "chat.messages[0].tool_calls_json[0].function.arguments is nested 1000 levels "
                "deep; the limit is 32");
  v1::GenerateRequest variables = Chat();
  variables.mutable_chat()->set_template_variables_json(R"({"tools":1})");
  ExpectInvalid("F11", "a template variable named tools", variables,
                "chat.template_variables_json has 'tools'; it must not have what the request says "
                "elsewhere");
  v1::GenerateRequest nobody = Chat();
  nobody.mutable_chat()->mutable_messages(0)->clear_role();
  ExpectInvalid("F11", "a message without a role", nobody,
                "chat.messages[0].role is empty; it must be one that the template knows, like "
                "user");
  v1::GenerateRequest large = Chat();
  large.mutable_chat()->mutable_messages(0)->set_content(std::string((1 << 20) - 3, 'x'));
  ExpectInvalid("F11", "a chat of 1 MiB and a byte", large,
                "chat has 1048577 bytes; the limit is 1048576");

  v1::GenerateRequest twice = Chat();
  twice.mutable_chat()->set_tools_json(R"([{"a":1,"a":2}])");
  ExpectAnswered("F11", "tools with the same key twice", twice, 4);
  v1::GenerateRequest zero = Chat();
  zero.mutable_chat()->set_tools_json(R"([{"a":"\u0000"}])");
  zero.mutable_chat()->mutable_messages(0)->set_content(std::string("a\0b", 3));
  ExpectAnswered("F11", "a zero byte in a chat and in its JSON", zero, 4);
  v1::GenerateRequest text = Prompt(std::string("a\0b", 3), 4);
  ExpectAnswered("F11", "a zero byte in a text", text, 4);
  ExpectUnharmed();
}

TEST_F(BadBytes, F11LargeMessages) {
  ASSERT_NO_FATAL_FAILURE(StartBeside());
  const auto expect = [this](const std::string& injected, const std::string& bytes,
                             grpc::StatusCode code, const std::string& sentence) {
    ResetPeak();
    const int64_t before = StatusKib("VmRSS");
    const grpc::Status status = CallWithBytes(channel_, kGenerate, bytes);
    const int64_t grown_mib = (StatusKib("VmHWM") - before) / 1024;
    EXPECT_EQ(CodeName(status.error_code()), CodeName(code)) << status.error_message();
    EXPECT_EQ(status.error_message(), sentence);
    testing::FaultSeen("F11", injected,
                       Seen(status) + " (" + std::to_string(grown_mib) + " MiB at the peak)");
  };
  v1::GenerateRequest request = Prompt(std::string(100'000'000, 'x'), 4);
  expect("a message of 100 MB", request.SerializeAsString(), grpc::StatusCode::RESOURCE_EXHAUSTED,
         "Received message larger than max (100000014 vs. 4194304)");
  // Two bytes each on the wire.
  std::string entries = Repeated(std::string("\x0a\x00", 2), 2'000'000);
  std::string chat = "\x22";
  for (size_t size = entries.size(); size > 0; size >>= 7)
    chat += static_cast<char>((size & 0x7F) | (size >= 0x80 ? 0x80 : 0));
  expect("2 million empty chat messages", chat + entries, grpc::StatusCode::INVALID_ARGUMENT,
         "chat.messages has 2000000 entries; the limit is 1024");
  ExpectUnharmed();
}

// What is no request of ours is refused by a sentence; what is not even a call of ours, by gRPC.
TEST_F(BadBytes, F11BytesThatAreNoRequest) {
  ASSERT_NO_FATAL_FAILURE(StartBeside());
  const auto expect = [this](const std::string& injected, const std::string& method,
                             const std::string& bytes) {
    const grpc::Status status = CallWithBytes(channel_, method, bytes);
    EXPECT_EQ(CodeName(status.error_code()),
              CodeName(method == kGenerate ? grpc::StatusCode::INVALID_ARGUMENT
                                           : grpc::StatusCode::UNIMPLEMENTED))
        << injected;
    if (method == kGenerate) {
      EXPECT_EQ(status.error_message(),
                "the message can not be read as octet.v1.GenerateRequest: it is damaged, or a text "
                "in it is not UTF-8");
    }
    testing::FaultSeen("F11", injected, Seen(status));
  };
  expect("a text that is not UTF-8", kGenerate, "\x12\x03\x61\xFF\xFE");
  expect("a request_id that is not UTF-8", kGenerate, "\x0a\x02\xC3\x28\x12\x01x");
  expect("a text cut inside a character", kGenerate, "\x12\x02\x61\xC3");
  expect("bytes that are no message", kGenerate, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF");
  expect("a length beyond the message", kGenerate, "\x12\x7F\x61");
  expect("groups 100000 deep", kGenerate, Repeated("\x7B", 100'000));
  expect("a method that is none", "/octet.v1.Generation/Nothing", "");
  expect("a service that is none", "/other.Service/Generate", "");

  const int port = service_->grpc_port();
  const auto raw = [&](const std::string& injected, const std::string& bytes) {
    const Exchange exchange = SendBytes(port, bytes, 0.5);
    testing::FaultSeen("F11", injected,
                       (exchange.ended ? "the connection ends after " : "open after ") +
                           std::to_string(exchange.received.size()) + " bytes");
    return exchange;
  };
  EXPECT_FALSE(
      raw("content type application/json, no body", Http2Request(kGenerate, "application/json"))
          .received.empty());
  EXPECT_TRUE(raw("an HTTP/1.1 request", "POST /v1/chat/completions HTTP/1.1\r\n\r\n").ended);
  EXPECT_TRUE(raw("random bytes as a connection", Repeated("\x16\x03\x01\x02", 5000)).ended);
  ExpectUnharmed();
}

TEST_F(BadBytes, F14LongTextsAtOnce) {
  ASSERT_NO_FATAL_FAILURE(StartBeside());
  const char* units[] = {"a", " ", "\u0301", "7", "\n", "<|"};
  std::vector<std::thread> clients;
  std::vector<grpc::Status> ends(std::size(units));
  for (size_t i = 0; i < std::size(units); ++i)
    clients.emplace_back([&, i] {
      const std::string text = Repeated(units[i], (1 << 20) / std::string(units[i]).size());
      ends[i] = Ask(Prompt(text, 4)).status;
    });
  for (int i = 0; i < 10; ++i) ExpectGood(Ask(Prompt("beside", 5)), "beside", 5);
  for (std::thread& client : clients) client.join();
  for (const grpc::Status& end : ends)
    EXPECT_EQ(end.error_message(),
              "prompt has 1048576 tokens; the context of 512 leaves room for at most 511");
  testing::FaultSeen("F14", "6 texts of 1 MiB at once (a, spaces, marks, digits, line ends, <|)",
                     "each " + Seen(ends[0]) + "; short prompts beside are answered meanwhile");
  ExpectUnharmed();
}

// The engine's tokens are bytes at random: hardly any is a character.
TEST_F(BadBytes, F15StreamsAreValidText) {
  ASSERT_NO_FATAL_FAILURE(StartBeside());
  std::mt19937_64 random(7);
  int64_t stopped = 0;
  int64_t messages = 0;
  std::string last_text;
  for (int i = 0; i < 24; ++i) {
    v1::GenerateRequest request = Prompt("", 60);
    // A prompt that ends inside a character, told back.
    for (const int id : {0x61, 0xE2, 0x82}) request.mutable_token_ids()->add_ids(id);
    request.mutable_token_ids()->add_ids(static_cast<int>(random() % 256));
    request.set_echo(true);
    if (i % 2 == 1) {  // a stop that spans tokens, out of the answer before
      size_t from = random() % last_text.size();
      while ((last_text[from] & 0xC0) == 0x80) --from;
      size_t to = std::min(from + 6, last_text.size());
      while (to < last_text.size() && (last_text[to] & 0xC0) == 0x80) ++to;
      *request.mutable_token_ids() = last_prompt_;
      request.mutable_sampling_params()->add_stop(last_text.substr(from, to - from));
    }
    grpc::ClientContext context;
    const auto reader = stub().Generate(&context, request);
    v1::GenerateResponse response;
    v1::DetokenizeRequest all, prompt;
    std::string text, prompt_text;
    while (reader->Read(&response)) {
      ++messages;
      EXPECT_FALSE(tokenizer::InvalidUtf8Offset(response.chunk().text()).has_value());
      EXPECT_FALSE(tokenizer::InvalidUtf8Offset(response.prompt().text()).has_value());
      text += response.chunk().text();
      prompt_text += response.prompt().text();
      all.mutable_token_ids()->MergeFrom(response.chunk().token_ids());
      if (response.complete().has_stop_string()) ++stopped;
    }
    ASSERT_TRUE(reader->Finish().ok());
    const auto detokenized = [this](const v1::DetokenizeRequest& ids) {
      grpc::ClientContext call;
      v1::DetokenizeResponse out;
      EXPECT_TRUE(stub().Detokenize(&call, ids, &out).ok());
      return out.text();
    };
    prompt.mutable_token_ids()->MergeFrom(request.token_ids().ids());
    EXPECT_EQ(prompt_text, detokenized(prompt));
    if (i % 2 == 0) {
      EXPECT_EQ(text, detokenized(all));
      last_text = text;
      last_prompt_ = request.token_ids();
    } else {
      EXPECT_EQ(text, last_text.substr(0, last_text.find(request.sampling_params().stop(0))));
    }
  }
  EXPECT_EQ(stopped, 12);
  testing::FaultSeen(
      "F15",
      "24 answers of random bytes, half of them with a stop split over tokens, "
      "prompts cut inside a character",
      std::to_string(messages) +
          " messages, each valid UTF-8; together the detokenized ids up to the stop");
  ExpectUnharmed();
}

}  // namespace
}  // namespace octet::coordinator
