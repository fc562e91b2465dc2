// octet health: whether a running service can answer, for scripts and probes.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"
#include "launch/commands.h"

namespace octet::launch {
namespace {

constexpr int kTimeoutMs = 1000;

int Health(const std::string& server) {
  const auto stub = grpc::health::v1::Health::NewStub(
      grpc::CreateChannel(server, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(kTimeoutMs));
  grpc::health::v1::HealthCheckResponse response;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("octet.v1.Generation");
  const grpc::Status status = stub->Check(&context, request, &response);
  if (!status.ok()) {
    std::printf("UNREACHABLE\n");
    return 1;
  }
  const bool serving = response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  std::printf("%s\n", serving ? "SERVING" : "NOT_SERVING");
  return serving ? 0 : 1;
}

}  // namespace

void AddHealth(CLI::App& app, int* exit_code) {
  auto server = std::make_shared<std::string>("127.0.0.1:50051");
  CLI::App* command =
      app.add_subcommand("health", "Say whether a running service can answer; exit 0 if it can");
  command->add_option("--server", *server, "address of the service")->capture_default_str();
  command->callback([server, exit_code] { *exit_code = Health(*server); });
}

}  // namespace octet::launch
