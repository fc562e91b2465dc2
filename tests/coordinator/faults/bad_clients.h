// Clients that reach the service over a network which the test can spoil.
#pragma once

#include <memory>
#include <string>

#include "tests/coordinator/faults/faults.h"
#include "tests/coordinator/service/tcp_proxy.h"

namespace octet::coordinator {

using Reader = std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>;

class BadClients : public Faults {
 protected:
  std::unique_ptr<v1::Generation::Stub> StubOver(const TcpProxy& proxy) {
    return v1::Generation::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(proxy.port()),
                                                       grpc::InsecureChannelCredentials()));
  }
  static v1::GenerateRequest Named(const std::string& name, const std::string& text,
                                   int64_t max_tokens) {
    v1::GenerateRequest request = Prompt(text, max_tokens);
    request.set_request_id(name);
    return request;
  }
  static void ExpectAccepted(const Reader& reader) {
    v1::GenerateResponse response;
    ASSERT_TRUE(reader->Read(&response));
    EXPECT_TRUE(response.has_accepted());
  }
  static void ReadTokens(const Reader& reader, int64_t tokens) {
    v1::GenerateResponse response;
    for (int64_t read = 0; read < tokens; read += response.chunk().token_ids_size())
      ASSERT_TRUE(reader->Read(&response));
  }
  // Of a stream that was read in part.
  static grpc::Status EndOf(const Reader& reader) {
    v1::GenerateResponse response;
    while (reader->Read(&response)) EXPECT_FALSE(response.has_complete());
    return reader->Finish();
  }
  grpc::Status Cancel(const std::string& name) {
    grpc::ClientContext context;
    v1::CancelRequest message;
    message.set_request_id(name);
    v1::CancelResponse response;
    return stub().Cancel(&context, message, &response);
  }
  bool WaitRunning(int64_t running) {
    return WaitCounters([running](const auto& now) { return now.running == running; });
  }
};

}  // namespace octet::coordinator
