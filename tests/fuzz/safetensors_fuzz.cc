// A safetensors file from anyone: opened, its header checked, and what the header promises read.
// Input: 'F' and a whole file; or any other byte, two bytes of data length and a header, around
// which a file with the right length field is made, so that mutations of the header get past it.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "worker/weights/safetensors.h"

namespace {

std::string FileOf(std::string_view input) {
  if (input.front() == 'F') return std::string(input.substr(1));
  const std::string_view header = input.substr(3);
  uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof(length));
  file += header;
  const int data_bytes = static_cast<unsigned char>(input[1]) | static_cast<unsigned char>(input[2])
                                                                    << 8;
  file.resize(file.size() + data_bytes);
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const std::string bytes = FileOf({reinterpret_cast<const char*>(data), size});
  static const int fd = memfd_create("safetensors", MFD_CLOEXEC);
  OCTET_CHECK_EQ(ftruncate(fd, 0), 0);
  OCTET_CHECK_EQ(pwrite(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  const auto file = octet::worker::SafetensorsFile::Open(path, "fuzz.safetensors");
  if (!file.ok()) {
    OCTET_CHECK(!file.status().message().empty());
    return 0;
  }
  std::vector<std::byte> out;
  for (const octet::worker::TensorInfo& tensor : file->tensors()) {
    OCTET_CHECK(file->Find(tensor.name) == &tensor);
    OCTET_CHECK_LE(tensor.end - tensor.begin, static_cast<int64_t>(bytes.size()));
    OCTET_CHECK(!tensor.shape_text().empty());
    out.resize(tensor.end - tensor.begin);
    OCTET_CHECK(file->Read(tensor, 0, tensor.end - tensor.begin, out.data()).ok());
  }
  return 0;
}
