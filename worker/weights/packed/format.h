// The file of one rank's packed weights:
//
//   header   magic, version, key, sizes, checksum of header and table
//   table    of each part: name, place, bytes, checksum
//   (a hole up to the next 2 MiB, so that data can lie in huge pages)
//   data     the arena, byte for byte as the kernels read it
//
// Little-endian. The key is the checksum of everything that decides the data's bytes (see key.h).
// The header is written last. Knows nothing of folders.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "worker/weights/packed/checksum.h"

namespace octet::worker {

inline constexpr uint32_t kPackedVersion = 1;
inline constexpr int64_t kPackedDataAlignment = int64_t{2} << 20;
inline constexpr int64_t kPackedPartNameBytesMax = 39;

struct PackedHeader {
  Checksum key;
  int64_t data_bytes = 0;
  std::vector<WeightPart> parts;
  std::vector<Checksum> checksums;  // [parts]
};

// Where things lie, a function of the plan alone.
struct PackedLayout {
  int64_t header_bytes = 0;  // with the table
  int64_t data_begin = 0;
  int64_t data_bytes = 0;
  int64_t file_bytes() const { return data_begin + data_bytes; }
  int64_t stored_bytes() const;  // whole pages of header and data, without the hole
  static PackedLayout Make(const WeightPlan& plan);
};

std::string EncodePackedHeader(const PackedHeader& header);

// The checksums of `bytes` (PackedLayout::header_bytes of them) when it is the header of a file
// with this key and these parts; else what is wrong with it.
Result<std::vector<Checksum>> DecodePackedHeader(std::string_view bytes,
                                                 const PackedHeader& expected);

}  // namespace octet::worker
