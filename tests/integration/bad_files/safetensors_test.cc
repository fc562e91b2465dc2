// F1 and F2: safetensors files that lie. Refused before memory is taken for what they claim.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/integration/bad_files/bad_model.h"
#include "worker/weights/safetensors.h"

namespace octet::testing {
namespace {

constexpr auto kLoss = StatusCode::kDataLoss;
constexpr int64_t kSmall = 256 << 10;
constexpr char kFile[] = "model.safetensors";

void WriteLength(const BadModel& model, uint64_t length) {
  std::fstream file(model.folder().File(kFile), std::ios::in | std::ios::out | std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
}

// A header of the largest size that is allowed, beginning with `start`, then the same byte.
void WriteLargestHeader(const BadModel& model, const std::string& start, char rest) {
  std::string header = start;
  header.resize(worker::kHeaderBytesMax, rest);
  model.WriteHeader(header, "");
}

// One tensor, and data for it.
void WriteOne(const BadModel& model, const std::string& entry, int64_t data_bytes) {
  model.WriteHeader("{\"t\":" + entry + "}", std::string(data_bytes, 'x'));
}

std::string Entry(const std::string& type, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

TEST(BadFiles, F1HeadersThatAreNone) {
  ExpectRefused(
      {{"F1", "header length 0", [](const BadModel& m) { WriteLength(m, 0); }, kLoss,
        "model.safetensors: the header does not begin with '{'"},
       {"F1", "header length 100,000,001", [](const BadModel& m) { WriteLength(m, 100'000'001); },
        kLoss, "model.safetensors: header of 100000001 bytes, the limit is 100000000"},
       {"F1", "header length 2^64 - 1", [](const BadModel& m) { WriteLength(m, UINT64_MAX); },
        kLoss, "header of 18446744073709551615 bytes, the limit is 100000000"},
       {"F1", "header length beyond the file",
        [](const BadModel& m) { WriteLength(m, 90'000'000); }, kLoss,
        "model.safetensors: header of 90000000 bytes does not fit into the file of"},
       {"F1", "a file of 7 bytes", [](const BadModel& m) { m.folder().Write(kFile, "1234567"); },
        kLoss, "model.safetensors: 7 bytes are too few for a safetensors file"},
       {"F1", "a header cut in the middle",
        [](const BadModel& m) { m.WriteHeader(m.header().substr(0, m.header().size() / 2)); },
        kLoss, "model.safetensors: the header is not valid JSON at its byte"},
       {"F1", "a header that is not UTF-8",
        [](const BadModel& m) { m.EditHeader("model.norm", "model.n\xFFrm"); }, kLoss,
        "model.safetensors: the header is not valid JSON at its byte"},
       {"F1", "a header that is not JSON", [](const BadModel& m) { m.WriteHeader("{x"); }, kLoss,
        "model.safetensors: the header is not valid JSON at its byte 2"},
       {"F1", "a tensor named twice",
        [](const BadModel& m) {
          m.EditHeader("{\"__metadata__\"", "{\"model.norm.weight\":" +
                                                Entry("U8", "[0]", "[0,0]") + ",\"__metadata__\"");
        },
        kLoss, "model.safetensors: tensor \"model.norm.weight\" is given twice"},
       {"F1", "a key given twice in a tensor",
        [](const BadModel& m) { m.EditHeader("\"dtype\":", "\"dtype\":\"F32\",\"dtype\":"); },
        kLoss, "has the key \"dtype\" twice"},
       {"F1", "__metadata__ with a number", [](const BadModel& m) { m.EditHeader("\"pt\"", "7"); },
        kLoss,
        "model.safetensors: tensor \"__metadata__\": a value of __metadata__ is a number, expected "
        "a text"}},
      kSmall);
}

TEST(BadFiles, F1LargestHeadersStayWithinTwiceTheLimit) {
  const std::string deep(300'000, '[');
  ExpectRefused(
      {{"F1", "100 MB of zeros for a header",
        [](const BadModel& m) { WriteLargestHeader(m, "", '\0'); }, kLoss,
        "the header does not begin with '{'"},
       {"F1", "100 MB header that is one name",
        [](const BadModel& m) { WriteLargestHeader(m, "{\"", 'a'); }, kLoss,
        "the header has a string of more than 8388608 bytes, which is the limit"},
       {"F1", "100 MB header that is one number",
        [](const BadModel& m) { WriteLargestHeader(m, "{\"t\":{\"shape\":[1", '1'); }, kLoss,
        "the header has a number or gap of more than 8388608 bytes, which is the limit"},
       {"F1", "100 MB header of spaces after a brace",
        [](const BadModel& m) { WriteLargestHeader(m, "{", ' '); }, kLoss,
        "the header has a number or gap of more than 8388608 bytes, which is the limit"},
       {"F1", "100 MB header of pieces of 4 MB",
        [](const BadModel& m) {
          std::string header = "{\"__metadata__\":{";
          for (int i = 0; i < 23; ++i) {
            header += (i == 0 ? "\"" : ",\"") + std::to_string(i) + std::string(2 << 20, 'k') +
                      "\":\"" + std::string(2 << 20, 'v') + "\"";
          }
          m.WriteHeader(header + "}", "");
        },
        kLoss, "the header is not valid JSON at its byte"},
       {"F1", "300,000 brackets in one another",
        [&](const BadModel& m) { m.WriteHeader("{\"t\":{\"shape\":" + deep); }, kLoss,
        "tensor \"t\": shape is an array"}},
      worker::kHeaderBytesMax);
}

TEST(BadFiles, F2OffsetsThatLie) {
  ExpectRefused(
      {{"F2", "two tensors that overlap",
        [](const BadModel& m) {
          m.WriteHeader("{\"a\":" + Entry("U8", "[4]", "[0,4]") +
                            ",\"b\":" + Entry("U8", "[4]", "[2,6]") + "}",
                        "123456");
        },
        kLoss, "tensor \"b\": data_offsets [2, 6) must begin at 4, where the tensor before ends"},
       {"F2", "a hole between two tensors",
        [](const BadModel& m) {
          m.WriteHeader("{\"a\":" + Entry("U8", "[4]", "[0,4]") +
                            ",\"b\":" + Entry("U8", "[1]", "[5,6]") + "}",
                        "123456");
        },
        kLoss, "tensor \"b\": data_offsets [5, 6) must begin at 4"},
       {"F2", "a negative offset",
        [](const BadModel& m) { WriteOne(m, Entry("U8", "[1]", "[-1,0]"), 1); }, kLoss,
        "tensor \"t\": data_offsets is the negative number -1, expected a list of non-negative"},
       {"F2", "an offset of 2^64 - 1",
        [](const BadModel& m) { WriteOne(m, Entry("U8", "[1]", "[0,18446744073709551615]"), 1); },
        kLoss, "tensor \"t\": data_offsets is the number 18446744073709551615, more than fits"},
       {"F2", "an offset of 2^64",
        [](const BadModel& m) { WriteOne(m, Entry("U8", "[1]", "[0,18446744073709551616]"), 1); },
        kLoss, "tensor \"t\": data_offsets is the number \"18446744073709551616\""},
       {"F2", "an offset past the end of the file",
        [](const BadModel& m) { WriteOne(m, Entry("U8", "[100]", "[0,100]"), 99); }, kLoss,
        "tensor \"t\": data_offsets [0, 100) must begin at 0, where the tensor before ends, and "
        "end inside the 99 bytes"},
       {"F2", "an end before its begin",
        [](const BadModel& m) { WriteOne(m, Entry("U8", "[1]", "[1,0]"), 1); }, kLoss,
        "tensor \"t\": data_offsets [1, 0) must begin at 0"},
       {"F2", "3 bytes after the last tensor",
        [](const BadModel& m) { m.WriteHeader(m.header(), m.data() + "xyz"); }, kLoss,
        "bytes follow the header, but its tensors cover"},
       {"F2", "a product of dimensions that overflows",
        [](const BadModel& m) { WriteOne(m, Entry("F32", "[4294967296,4294967296]", "[0,0]"), 0); },
        kLoss, "the size of shape [4294967296, 4294967296] of F32 overflows 63 bits"},
       {"F2", "2^61 bytes in a file of a few",
        [](const BadModel& m) {
          WriteOne(m, Entry("U8", "[2305843009213693952]", "[0,2305843009213693952]"), 9);
        },
        kLoss, "end inside the 9 bytes of data"},
       {"F2", "three values of 4 bits",
        [](const BadModel& m) { WriteOne(m, Entry("F4", "[3]", "[0,1]"), 1); }, kLoss,
        "tensor \"t\": shape [3] of F4 is not a whole number of bytes"},
       {"F2", "a needed tensor of a type that is not read",
        [](const BadModel& m) { m.EditHeader("\"BF16\"", "\"I16\""); }, StatusCode::kUnimplemented,
        "type I16, supported are F32, F16 and BF16"},
       {"F2", "a rank of 1000",
        [](const BadModel& m) {
          std::string shape = "[1";
          for (int i = 1; i < 1000; ++i) shape += ",1";
          WriteOne(m, Entry("U8", shape + "]", "[0,1]"), 1);
        },
        kLoss, "tensor \"t\": its shape has more than 8 dimensions"}},
      kSmall);
}

}  // namespace
}  // namespace octet::testing
