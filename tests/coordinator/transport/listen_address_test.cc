#include "coordinator/transport/listen_address.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "tests/support/temp_folder.h"

namespace octet::transport {
namespace {

TEST(CheckListenAddress, TakesWhatPeopleWrite) {
  for (const char* address : {"127.0.0.1:50051", "0.0.0.0:0", "localhost:65535", "[::1]:50051",
                              "[::]:1", "unix:/tmp/octet.sock"})
    EXPECT_TRUE(CheckListenAddress(address).ok()) << address;
}

TEST(CheckListenAddress, RefusesTheRest) {
  for (const char* address :
       {"", "127.0.0.1", ":50051", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
        "127.0.0.1:http", "127.0.0.1:5x", "::1:50051", "unix:"}) {
    const Status status = CheckListenAddress(address);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << address;
    EXPECT_EQ(status.message().rfind(std::string("gRPC can not listen on ") + address + ": ", 0),
              0u)
        << status.message();
  }
}

// gRPC would unlink the socket of whoever listens there.
TEST(CheckListenAddress, RefusesASocketThatIsInUse) {
  const octet::test::TempFolder folder;
  const std::string path = folder.File("octet.sock");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  std::copy(path.begin(), path.end(), address.sun_path);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_TRUE(CheckListenAddress("unix:" + path).ok());  // left behind
  ASSERT_EQ(listen(fd, 1), 0);
  EXPECT_EQ(CheckListenAddress("unix:" + path).message(),
            "gRPC can not listen on unix:" + path + ": another process listens there");
  close(fd);
}

TEST(ExplainListenFailure, SaysWhatTheSystemSays) {
  EXPECT_EQ(ExplainListenFailure("192.0.2.1:50051").message(),
            "gRPC can not listen on 192.0.2.1:50051: Cannot assign requested address");
  EXPECT_EQ(
      ExplainListenFailure("no.such.host.invalid:1")
          .message()
          .rfind(
              "gRPC can not listen on no.such.host.invalid:1: its host 'no.such.host.invalid' is "
              "not known",
              0),
      0u);
}

}  // namespace
}  // namespace octet::transport
