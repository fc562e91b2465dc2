#include "worker/weights/packed/format.h"

#include <bit>
#include <cstring>

#include "base/buffer.h"
#include "base/check.h"

namespace octet::worker {
namespace {

static_assert(std::endian::native == std::endian::little, "packed files are little-endian");

constexpr char kMagic[8] = {'O', 'C', 'T', 'E', 'T', 'P', 'K', 'W'};
constexpr int64_t kPageBytes = 4096;

struct StoredHeader {
  char magic[8];
  uint32_t version;
  uint32_t reserved;
  Checksum key;
  int64_t data_begin;
  int64_t data_bytes;
  int64_t part_count;
  int64_t chunk_bytes;
  Checksum checksum;  // of header and table, this field zero
};
static_assert(sizeof(StoredHeader) == 80);

struct StoredPart {
  char name[kPackedPartNameBytesMax + 1];  // ends with zeros
  int64_t begin;
  int64_t bytes;
  Checksum checksum;
};
static_assert(sizeof(StoredPart) == 72);

Checksum HeaderChecksum(std::string bytes) {
  const Checksum zero;
  std::memcpy(bytes.data() + offsetof(StoredHeader, checksum), &zero, sizeof zero);
  return ChecksumOf(bytes);
}

std::vector<Checksum> ReadChecksums(std::string_view bytes, size_t count) {
  std::vector<Checksum> checksums(count);
  for (size_t i = 0; i < count; ++i) {
    const char* const part = bytes.data() + sizeof(StoredHeader) + i * sizeof(StoredPart);
    std::memcpy(&checksums[i], part + offsetof(StoredPart, checksum), sizeof(Checksum));
  }
  return checksums;
}

}  // namespace

PackedLayout PackedLayout::Make(const WeightPlan& plan) {
  PackedLayout layout;
  layout.header_bytes = int64_t{sizeof(StoredHeader)} + plan.parts * int64_t{sizeof(StoredPart)};
  layout.data_begin = AlignUp(layout.header_bytes, kPackedDataAlignment);
  layout.data_bytes = plan.bytes();
  return layout;
}

int64_t PackedLayout::stored_bytes() const {
  return AlignUp(header_bytes, kPageBytes) + AlignUp(data_bytes, kPageBytes);
}

std::string EncodePackedHeader(const PackedHeader& header) {
  OCTET_CHECK_EQ(header.parts.size(), header.checksums.size());
  StoredHeader stored{};
  std::memcpy(stored.magic, kMagic, sizeof kMagic);
  stored.version = kPackedVersion;
  stored.key = header.key;
  stored.part_count = static_cast<int64_t>(header.parts.size());
  const int64_t bytes =
      int64_t{sizeof(StoredHeader)} + stored.part_count * int64_t{sizeof(StoredPart)};
  stored.data_begin = AlignUp(bytes, kPackedDataAlignment);
  stored.data_bytes = header.data_bytes;
  stored.chunk_bytes = kChecksumChunkBytes;
  std::string out(reinterpret_cast<const char*>(&stored), sizeof stored);
  for (size_t i = 0; i < header.parts.size(); ++i) {
    const WeightPart& part = header.parts[i];
    OCTET_CHECK_LE(static_cast<int64_t>(part.name.size()), kPackedPartNameBytesMax);
    StoredPart entry{.begin = part.begin, .bytes = part.bytes, .checksum = header.checksums[i]};
    std::memcpy(entry.name, part.name.data(), part.name.size());
    out.append(reinterpret_cast<const char*>(&entry), sizeof entry);
  }
  const Checksum checksum = HeaderChecksum(out);
  std::memcpy(out.data() + offsetof(StoredHeader, checksum), &checksum, sizeof checksum);
  return out;
}

Result<std::vector<Checksum>> DecodePackedHeader(std::string_view bytes,
                                                 const PackedHeader& expected) {
  StoredHeader stored;
  OCTET_CHECK_LE(sizeof stored, bytes.size());
  std::memcpy(&stored, bytes.data(), sizeof stored);
  if (std::memcmp(stored.magic, kMagic, sizeof kMagic) != 0) {
    return DataLoss("does not begin as a file of packed weights");
  }
  if (stored.version != kPackedVersion) {
    return DataLoss("has format version " + std::to_string(stored.version) + ", expected " +
                    std::to_string(kPackedVersion));
  }
  if (HeaderChecksum(std::string(bytes)) != stored.checksum) {
    return DataLoss("has a header that does not match its checksum");
  }
  if (stored.key != expected.key) {
    return DataLoss("has key " + stored.key.Hex() + ", expected " + expected.key.Hex() +
                    ": it was made from other files, with other options or by another build");
  }
  // With the same key and a sound header only a bug could tell these apart.
  PackedHeader found = expected;
  found.checksums = ReadChecksums(bytes, expected.parts.size());
  if (EncodePackedHeader(found) != bytes) {
    return DataLoss("has a table of parts that is not this model's");
  }
  return found.checksums;
}

}  // namespace octet::worker
