// The rank's end of the link, beside a coordinator that only says welcome.
#include "worker/link/coordinator_link.h"

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <memory>
#include <string>

#include "octet/v1/worker_link.grpc.pb.h"

namespace octet::worker {
namespace {

class Coordinator final : public v1::WorkerLink::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::RankMessage>;
  grpc::Status Connect(grpc::ServerContext*, Stream* stream) override {
    v1::RankMessage heard;
    v1::CoordinatorMessage welcome;
    welcome.mutable_welcome();
    if (!stream->Read(&heard) || !stream->Write(welcome)) return grpc::Status::CANCELLED;
    while (stream->Read(&heard)) continue;
    return grpc::Status::OK;
  }
};

// Of this process's connection to a port; -1: there is none.
int UserTimeoutMs(int port) {
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in6 peer{};  // which has the port where sockaddr_in has it
    socklen_t bytes = sizeof(peer);
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &bytes) != 0) continue;
    const bool is_tcp = peer.sin6_family == AF_INET || peer.sin6_family == AF_INET6;
    if (!is_tcp || ntohs(peer.sin6_port) != port) continue;
    unsigned milliseconds = 0;
    bytes = sizeof(milliseconds);
    if (getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, &bytes) != 0) return -1;
    return static_cast<int>(milliseconds);
  }
  return -1;
}

// What the kernel does about a host that is gone can not be seen on one host; that it will, can.
TEST(CoordinatorLink, IsNotKeptForAHostThatIsGone) {
  Coordinator coordinator;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&coordinator);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  {
    const auto link = CoordinatorLink::Connect("ipv4:127.0.0.1:" + std::to_string(port), {});
    ASSERT_TRUE(link.ok()) << link.status().message();
    EXPECT_EQ(UserTimeoutMs(port), 30'000);
  }
  server->Shutdown();
}

}  // namespace
}  // namespace octet::worker
