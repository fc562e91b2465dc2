// Many streams at once, and the ends that calls meet at odd moments.
#include <gtest/gtest.h>

#include "coordinator/transport/generate_streams.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/coordinator/service/serving.h"

namespace octet::coordinator {
namespace {

constexpr int kStreams = 5 * transport::kCallsAwaited;

using Reader = std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>;

TEST_F(Serving, MoreStreamsThanAreAwaitedRunAtOnce) {
  StartReady();
  ranks_[0]->Pause();
  std::vector<grpc::ClientContext> contexts(kStreams);
  std::vector<Reader> readers;
  for (grpc::ClientContext& context : contexts)
    readers.push_back(stub().Generate(&context, Prompt("many", 5)));
  v1::GenerateResponse response;
  for (const Reader& reader : readers) {  // none of them has to end for another to begin
    ASSERT_TRUE(reader->Read(&response));
    EXPECT_TRUE(response.has_accepted());
  }
  ranks_[0]->Resume();
  for (const Reader& reader : readers) {
    const Answered answer = ReadAll(reader.get());
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_TRUE(answer.is_complete);
  }
  EXPECT_TRUE(WaitAllFree());
}

TEST_F(Serving, CallsCancelledAsTheyBeginLeaveNothing) {
  StartReady();
  for (int i = 0; i < kStreams; ++i) {
    grpc::ClientContext context;
    const Reader reader = stub().Generate(&context, Prompt("gone", 400));
    context.TryCancel();
    EXPECT_EQ(ReadAll(reader.get()).status.error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_TRUE(Ask(Prompt("next", 3)).status.ok());
  EXPECT_TRUE(WaitAllFree());
}

TEST_F(Serving, AStopEndsStreamsAndWatches) {
  StartReady();
  ranks_[0]->Pause();
  std::vector<grpc::ClientContext> contexts(kStreams);
  std::vector<Reader> readers;
  for (grpc::ClientContext& context : contexts)
    readers.push_back(stub().Generate(&context, Prompt("cut short", 5)));
  v1::GenerateResponse response;
  for (const Reader& reader : readers) ASSERT_TRUE(reader->Read(&response));

  using grpc::health::v1::HealthCheckResponse;
  const auto health = grpc::health::v1::Health::NewStub(channel_);
  grpc::ClientContext known, unknown;
  const auto watch = health->Watch(&known, {});
  grpc::health::v1::HealthCheckRequest other;
  other.set_service("octet.v1.Other");
  const auto other_watch = health->Watch(&unknown, other);
  HealthCheckResponse status;
  ASSERT_TRUE(watch->Read(&status));
  EXPECT_EQ(status.status(), HealthCheckResponse::SERVING);
  ASSERT_TRUE(other_watch->Read(&status));
  EXPECT_EQ(status.status(), HealthCheckResponse::SERVICE_UNKNOWN);

  service_->Stop(0);
  for (const Reader& reader : readers)
    EXPECT_EQ(ReadAll(reader.get()).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  ASSERT_TRUE(watch->Read(&status));
  EXPECT_EQ(status.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(watch->Read(&status));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(other_watch->Read(&status));
  EXPECT_EQ(other_watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace octet::coordinator
