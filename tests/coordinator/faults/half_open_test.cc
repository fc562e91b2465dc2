// A connection that is half open: the client's machine is gone and nobody says so (row F18). The
// service's own keepalive finds it; that takes its time.
#include "tests/coordinator/faults/bad_clients.h"

namespace octet::coordinator {
namespace {

constexpr double kFoundSecondsMax = 40;

TEST_F(BadClients, F18AHalfOpenConnectionIsFound) {
  rank_options_.model.set_slots(1);
  ASSERT_NO_FATAL_FAILURE(StartReady());
  ranks_[0]->Pause();
  TcpProxy proxy(service_->grpc_port());
  const auto stub_over = StubOver(proxy);
  grpc::ClientContext context;
  const Reader reader = stub_over->Generate(&context, Prompt("whoever asked is gone", 100));
  ExpectAccepted(reader);
  EXPECT_TRUE(WaitRunning(1));
  proxy.FallSilent();
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  while (seconds() < kFoundSecondsMax + 20 && service_->step_loop().stats().scheduler.running > 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const double found = seconds();
  EXPECT_LT(found, kFoundSecondsMax);
  testing::FaultSeen(
      "F18", "half-open connection",
      "the request is ended after " + std::to_string(static_cast<int>(found)) + " s");
  ranks_[0]->Resume();
  context.TryCancel();
  proxy.Cut();
  ReadAll(reader.get());
  ExpectUnharmed();
}

}  // namespace
}  // namespace octet::coordinator
