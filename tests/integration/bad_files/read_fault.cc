// pread as a failing disk has it: linked into a test, or preloaded into the ranks of a real
// service. What happens is in the environment, so that both ways are one:
//   OCTET_READ_FAULT=eio|stall|cut|replace  OCTET_READ_FAULT_FILE=part of the path
//   OCTET_READ_FAULT_AT=first offset that is hit  OCTET_READ_FAULT_MS=length of a stall
//   OCTET_READ_FAULT_RANK=the only MPI rank it happens on
// A stall, a cut to half and a replacement by a copy happen once in a process; EIO for ever.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

namespace {

std::string Environment(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

bool IsHere(int fd, off_t offset, std::string* path) {
  const std::string part = Environment("OCTET_READ_FAULT_FILE");
  if (part.empty() || offset < atoll(Environment("OCTET_READ_FAULT_AT").c_str())) return false;
  const std::string rank = Environment("OCTET_READ_FAULT_RANK");
  if (!rank.empty() && rank != Environment("OMPI_COMM_WORLD_RANK")) return false;
  char target[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t bytes = readlink(link.c_str(), target, sizeof(target));
  if (bytes <= 0) return false;
  path->assign(target, bytes);
  return path->find(part) != std::string::npos;
}

// Whether the read fails with EIO.
bool Happen(const std::string& kind, const std::string& path) {
  static std::atomic<int> generation = 0;
  if (kind == "eio") return true;
  const int wanted = atoi(Environment("OCTET_READ_FAULT_GENERATION").c_str()) + 1;
  if (generation.exchange(wanted) == wanted) return false;
  if (kind == "stall") {
    std::this_thread::sleep_for(
        std::chrono::milliseconds(atoll(Environment("OCTET_READ_FAULT_MS").c_str())));
  } else if (kind == "cut") {
    std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  } else if (kind == "replace") {
    std::filesystem::copy_file(path, path + ".new");
    std::filesystem::rename(path + ".new", path);
  }
  return false;
}

}  // namespace

extern "C" ssize_t pread(int fd, void* buffer, size_t count, off_t offset) {
  std::string path;
  if (IsHere(fd, offset, &path) && Happen(Environment("OCTET_READ_FAULT"), path)) {
    errno = EIO;
    return -1;
  }
  return syscall(SYS_pread64, fd, buffer, count, offset);
}
extern "C" ssize_t pread64(int fd, void* buffer, size_t count, off64_t offset) {
  return pread(fd, buffer, count, offset);
}
