// Clients that do not keep to the protocol: bytes as a gRPC message, and bytes as a connection.
#pragma once

#include <arpa/inet.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"

namespace octet::coordinator {

// The status of a call with these bytes as its one message, and the bytes of the answer.
inline grpc::Status CallWithBytes(const std::shared_ptr<grpc::Channel>& channel,
                                  const std::string& method, const std::string& bytes,
                                  std::string* answer = nullptr) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  grpc::CompletionQueue queue;
  const grpc::Slice slice(bytes);
  const auto call = stub.PrepareUnaryCall(&context, method, {&slice, 1}, &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  std::vector<grpc::Slice> slices;
  if (answer != nullptr && status.ok() && response.Dump(&slices).ok()) {
    for (const grpc::Slice& part : slices)
      answer->append(reinterpret_cast<const char*>(part.begin()), part.size());
  }
  return status;
}

// What the server on `port` says to these bytes until it ends the connection or is silent for
// `seconds_max`.
struct Exchange {
  std::string received;
  bool ended = false;
};
inline Exchange SendBytes(int port, const std::string& bytes, double seconds_max) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  OCTET_CHECK_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  [[maybe_unused]] const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  Exchange out;
  pollfd ready{fd, POLLIN, 0};
  while (poll(&ready, 1, static_cast<int>(seconds_max * 1000)) > 0) {
    char buffer[4096];
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    out.ended = count <= 0;
    if (out.ended) break;
    out.received.append(buffer, static_cast<size_t>(count));
  }
  close(fd);
  return out;
}

// An HTTP/2 connection that asks for `path` with this content type and no body.
inline std::string Http2Request(const std::string& path, const std::string& content_type) {
  const auto field = [](const std::string& name, const std::string& value) {
    std::string out(1, '\0');  // a literal without indexing, its name spelled out
    for (const std::string& text : {name, value})
      out += std::string(1, static_cast<char>(text.size())) + text;
    return out;
  };
  const std::string headers = field(":method", "POST") + field(":scheme", "http") +
                              field(":path", path) + field(":authority", "localhost") +
                              field("te", "trailers") + field("content-type", content_type);
  const auto frame = [](char type, char flags, char stream, const std::string& payload) {
    const std::string head = {static_cast<char>(payload.size() >> 16),
                              static_cast<char>(payload.size() >> 8),
                              static_cast<char>(payload.size()),
                              type,
                              flags,
                              0,
                              0,
                              0,
                              stream};
    return head + payload;
  };
  constexpr char kHeaders = 1, kSettings = 4, kEndStreamAndHeaders = 5;
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(kSettings, 0, 0, "") +
         frame(kHeaders, kEndStreamAndHeaders, 1, headers);
}

}  // namespace octet::coordinator
