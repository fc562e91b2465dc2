// What a terminal and a pipe get to see of lines and of progress.
#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace octet {
namespace {

// Standard error for its life; what was written there can be read once.
class StandardError {
 public:
  enum class Kind { kPipe, kTerminal };
  explicit StandardError(Kind kind, unsigned short columns = 40) : before_(dup(STDERR_FILENO)) {
    int write_end = -1;
    if (kind == Kind::kTerminal) {
      read_end_ = posix_openpt(O_RDWR | O_NOCTTY);
      EXPECT_EQ(grantpt(read_end_), 0);
      EXPECT_EQ(unlockpt(read_end_), 0);
      write_end = open(ptsname(read_end_), O_RDWR | O_NOCTTY);
      const winsize size = {.ws_row = 24, .ws_col = columns};
      EXPECT_EQ(ioctl(write_end, TIOCSWINSZ, &size), 0);
    } else {
      int ends[2];
      EXPECT_EQ(pipe(ends), 0);
      read_end_ = ends[0];
      write_end = ends[1];
    }
    EXPECT_EQ(dup2(write_end, STDERR_FILENO), STDERR_FILENO);
    close(write_end);
    EXPECT_EQ(fcntl(read_end_, F_SETFL, O_NONBLOCK), 0);
  }
  ~StandardError() {
    dup2(before_, STDERR_FILENO);
    close(before_);
    close(read_end_);
  }

  std::string Take() const {
    char text[4096];
    const ssize_t bytes = read(read_end_, text, sizeof text);
    return {text, static_cast<size_t>(bytes < 0 ? 0 : bytes)};
  }

 private:
  const int before_;
  int read_end_ = -1;
};

TEST(Log, ATerminalsProgressIsDrawnInOnePlaceBelowAllLines) {
  const StandardError terminal(StandardError::Kind::kTerminal);
  ASSERT_TRUE(ProgressIsSeen());
  ShowProgress("");
  EXPECT_EQ(terminal.Take(), "");
  ShowProgress("10 %");
  ShowProgress("20 %");
  EXPECT_EQ(terminal.Take(), "\r\x1b[K10 %\r\x1b[K20 %");
  PassLine("workers", "a line");
  EXPECT_EQ(terminal.Take(), "\r\x1b[K[workers] a line\r\n");
  PassLine("workers", "another");
  EXPECT_EQ(terminal.Take(), "[workers] another\r\n");
  PassLine("workers", "\r30 %");
  EXPECT_EQ(terminal.Take(), "\r\x1b[K30 %");
  ShowProgress("");
  EXPECT_EQ(terminal.Take(), "\r\x1b[K");
}

TEST(Log, ProgressIsCutToTheTerminal) {
  const StandardError terminal(StandardError::Kind::kTerminal, 11);
  ShowProgress("0123456789abcdef");
  EXPECT_EQ(terminal.Take(), "\r\x1b[K0123456789");
  ShowProgress("");
}

TEST(Log, WithoutATerminalNoProgressIsShown) {
  const StandardError pipe(StandardError::Kind::kPipe);
  EXPECT_FALSE(ProgressIsSeen());
  ShowProgress("10 %");
  PassLine("workers", "\r20 %");
  EXPECT_EQ(pipe.Take(), "");
  PassLine("workers", "a line");
  EXPECT_EQ(pipe.Take(), "[workers] a line\n");
}

TEST(Log, SentProgressIsALineThatIsKnownAsSuch) {
  const StandardError pipe(StandardError::Kind::kPipe);
  SendProgress("10 %");
  const std::string line = pipe.Take();
  EXPECT_EQ(line, "\r10 %\n");
  EXPECT_TRUE(IsSentProgress(line));
  EXPECT_FALSE(IsSentProgress("10 %"));
  EXPECT_FALSE(IsSentProgress(""));
}

// Whoever reads it has stopped. Without giving up this test would not end.
TEST(Log, AFullPipeStopsNobody) {
  const StandardError pipe(StandardError::Kind::kPipe);
  const int flags = fcntl(STDERR_FILENO, F_GETFL);
  ASSERT_EQ(fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK), 0);
  const std::string filling(4096, 'x');
  while (write(STDERR_FILENO, filling.data(), filling.size()) > 0) {
  }
  ASSERT_EQ(fcntl(STDERR_FILENO, F_SETFL, flags), 0);
  Log(LogLevel::kError, "nobody reads this");
  ASSERT_EQ(pipe.Take(), filling);
  Log(LogLevel::kError, "but this");
  std::string all;
  for (std::string part = pipe.Take(); !part.empty(); part = pipe.Take()) all += part;
  EXPECT_EQ(all.find("nobody"), std::string::npos);
  EXPECT_NE(all.find("but this"), std::string::npos);
}

}  // namespace
}  // namespace octet
