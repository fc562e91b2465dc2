// The reader against well-formed files and against every way of being ill-formed that it names.
#include "worker/weights/safetensors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <random>

#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_folder.h"
#include "worker/weights/safetensors_header.h"

namespace octet::worker {
namespace {

using test::RawSafetensors;
using test::Safetensors;
using test::TempFolder;

Result<SafetensorsFile> OpenBytes(const std::string& bytes) {
  const TempFolder folder;
  folder.Write("m.safetensors", bytes);
  return SafetensorsFile::Open(folder.File("m.safetensors"), "m.safetensors");
}

std::string MessageOf(const std::string& bytes) {
  const auto file = OpenBytes(bytes);
  EXPECT_FALSE(file.ok());
  EXPECT_EQ(file.status().code(), StatusCode::kDataLoss) << file.status().message();
  return file.status().message();
}

// One tensor "t" with these fields and `data_bytes` of data.
std::string One(const std::string& dtype, const std::string& shape, const std::string& offsets,
                int64_t data_bytes) {
  return RawSafetensors(
      "{\"t\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}",
      std::string(data_bytes, 'x'));
}

TEST(Safetensors, ReadsTensors) {
  const TempFolder folder;
  folder.Write("m.safetensors", Safetensors({{"b", "U8", {2, 3}, "abcdef"},
                                             {"a", "F32", {}, "1234"},
                                             {"empty", "I64", {0, 5}, ""},
                                             {"c", "F8_E4M3", {2}, "yz"}}));
  const auto file = SafetensorsFile::Open(folder.File("m.safetensors"), "m.safetensors");
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_EQ(file->tensors().size(), 4u);
  const TensorInfo* b = file->Find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->shape_text(), "[2, 3]");
  EXPECT_EQ(b->dtype(), DType::kU8);
  char bytes[4] = {};
  ASSERT_TRUE(file->Read(*b, 2, 3, reinterpret_cast<std::byte*>(bytes)).ok());
  EXPECT_STREQ(bytes, "cde");
  EXPECT_EQ(file->Find("a")->rank, 0);
  EXPECT_EQ(file->Find("empty")->end, file->Find("empty")->begin);
  EXPECT_EQ(file->Find("c")->dtype(), std::nullopt);  // lies there, is not readable
  EXPECT_EQ(file->Find("c")->type_name(), "F8_E4M3");
  EXPECT_EQ(file->Find("d"), nullptr);
  EXPECT_TRUE(file->CheckUnchanged().ok());
}

TEST(Safetensors, AcceptsSpaceAroundTheHeaderAndAnEmptyTable) {
  EXPECT_TRUE(OpenBytes(RawSafetensors(" \n{}  ", "")).ok());
  EXPECT_TRUE(OpenBytes(One("\"F4\"", "[2]", "[0,1]", 1)).ok());
}

TEST(Safetensors, RefusesBadLengths) {
  EXPECT_EQ(MessageOf(""),
            "m.safetensors: 0 bytes are too few for a safetensors file, which begins with 8 bytes "
            "of header length");
  EXPECT_EQ(MessageOf(std::string("\x10\0\0\0\0\0\0", 7)).find("m.safetensors: 7 bytes"), 0u);
  EXPECT_EQ(MessageOf(RawSafetensors("", "")), "m.safetensors: the header does not begin with '{'");
  std::string huge = RawSafetensors("{}", "");
  const uint64_t beyond = 100'000'001;
  std::memcpy(huge.data(), &beyond, 8);
  EXPECT_EQ(MessageOf(huge), "m.safetensors: header of 100000001 bytes, the limit is 100000000");
  huge.replace(0, 8, 8, '\xff');
  EXPECT_EQ(MessageOf(huge),
            "m.safetensors: header of 18446744073709551615 bytes, the limit is 100000000");
  const uint64_t past_end = 3;
  std::memcpy(huge.data(), &past_end, 8);
  EXPECT_EQ(MessageOf(huge),
            "m.safetensors: header of 3 bytes does not fit into the file of 10 bytes");
}

TEST(Safetensors, RefusesBadText) {
  for (const std::string header :
       {"[]", "x", "\xef\xbb\xbf{}", "{", "{}}", "{\"a\":", "{\"\xff\":{}}", "{},",
        "{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,1e400]}}"}) {
    EXPECT_EQ(MessageOf(RawSafetensors(header, "")).find("m.safetensors: the header "), 0u)
        << header;
  }
  EXPECT_EQ(MessageOf(RawSafetensors("{\"t\":{\"dtype\":\"F32\",]}}", "")),
            "m.safetensors: the header is not valid JSON at its byte 21, in or after tensor \"t\"");
  const std::string deep = "{\"t\":{\"shape\":" + std::string(1'000'000, '[');
  EXPECT_EQ(MessageOf(RawSafetensors(deep, "")),
            "m.safetensors: tensor \"t\": shape is an array, expected a list of non-negative "
            "integers");
}

TEST(Safetensors, RefusesDuplicatesAndForeignKeys) {
  const std::string t = "\"t\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
  EXPECT_EQ(MessageOf(RawSafetensors("{" + t + "," + t + "}", "")),
            "m.safetensors: tensor \"t\" is given twice");
  EXPECT_EQ(MessageOf(RawSafetensors("{\"__metadata__\":{},\"__metadata__\":{}}", "")),
            "m.safetensors: tensor \"__metadata__\": is given twice");
  EXPECT_EQ(MessageOf(RawSafetensors("{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", "")),
            "m.safetensors: tensor \"t\": has the key \"dtype\" twice");
  EXPECT_EQ(MessageOf(RawSafetensors("{\"t\":{\"stride\":1}}", "")),
            "m.safetensors: tensor \"t\": has the unknown key \"stride\"");
  EXPECT_EQ(MessageOf(RawSafetensors("{\"t\":{\"dtype\":\"U8\",\"shape\":[0]}}", "")),
            "m.safetensors: tensor \"t\": needs dtype, shape and data_offsets");
  EXPECT_EQ(MessageOf(RawSafetensors("{\"t\":3}", "")),
            "m.safetensors: tensor \"t\": the entry is a number, expected an object");
}

TEST(Safetensors, RefusesMetadataThatIsNotText) {
  for (const std::string value : {"1", "{}", "[]", "null", "true", "-1", "1.5"}) {
    const std::string message =
        MessageOf(RawSafetensors("{\"__metadata__\":{\"a\":" + value + "}}", ""));
    EXPECT_NE(message.find("a value of __metadata__ is "), std::string::npos) << message;
  }
}

TEST(Safetensors, RefusesBadShapesAndTypes) {
  EXPECT_EQ(MessageOf(One("\"F32\"", "[3]", "[0,8]", 8)),
            "m.safetensors: tensor \"t\": data_offsets [0, 8) hold 8 bytes, but shape [3] of F32 "
            "takes 12");
  EXPECT_EQ(MessageOf(One("\"F32\"", "[4294967296,4294967296]", "[0,8]", 8)),
            "m.safetensors: tensor \"t\": the size of shape [4294967296, 4294967296] of F32 "
            "overflows 63 bits");
  // 2^58 elements of 64 bits: the product of the shape fits, that with the bits does not.
  EXPECT_NE(MessageOf(One("\"I64\"", "[288230376151711744]", "[0,0]", 0)).find("overflows"),
            std::string::npos);
  EXPECT_EQ(MessageOf(One("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]", 4)),
            "m.safetensors: tensor \"t\": its shape has more than 8 dimensions");
  EXPECT_NE(MessageOf(One("\"F32\"", "[-1]", "[0,4]", 4)).find("negative number -1"),
            std::string::npos);
  EXPECT_NE(MessageOf(One("\"F32\"", "[1.0]", "[0,4]", 4)).find("the number \"1.0\""),
            std::string::npos);
  EXPECT_NE(MessageOf(One("\"F32\"", "[9223372036854775808]", "[0,4]", 4)).find("63 bits"),
            std::string::npos);
  EXPECT_EQ(MessageOf(One("\"F4\"", "[3]", "[0,1]", 1)),
            "m.safetensors: tensor \"t\": shape [3] of F4 is not a whole number of bytes");
  EXPECT_EQ(MessageOf(One("\"F31\"", "[1]", "[0,4]", 4)),
            "m.safetensors: tensor \"t\": dtype \"F31\" is not known");
  EXPECT_NE(MessageOf(One("5", "[1]", "[0,4]", 4)).find("dtype is a number"), std::string::npos);
}

TEST(Safetensors, RefusesBadOffsets) {
  for (const char* offsets :
       {"[0]", "[0,4,4]", "[]", "[-1,3]", "[0,-4]", "[4,0]", "[1,5]", "[0,18446744073709551615]",
        "[0,9223372036854775807]", "[0,5]", "[[0],4]", "{}", "null", "\"x\""}) {
    EXPECT_EQ(MessageOf(One("\"F32\"", "[1]", offsets, 4)).find("m.safetensors: tensor \"t\": "),
              0u)
        << offsets;
  }
  EXPECT_EQ(MessageOf(One("\"F32\"", "[1]", "[0,4]", 5)),
            "m.safetensors: 5 bytes follow the header, but its tensors cover 4");
  // A hole of one byte, before the first tensor and between two.
  EXPECT_NE(MessageOf(One("\"F32\"", "[1]", "[1,5]", 5)).find("must begin at 0"),
            std::string::npos);
  const auto two = [](const std::string& a, const std::string& b, const char* data = "12345678") {
    const std::string head = "{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":";
    return RawSafetensors("{\"a\":" + head + a + "},\"b\":" + head + b + "}}", data);
  };
  EXPECT_TRUE(OpenBytes(two("[4,8]", "[0,4]")).ok());
  EXPECT_NE(MessageOf(two("[0,4]", "[0,4]")).find("must begin at 4"), std::string::npos);
  EXPECT_NE(MessageOf(two("[0,4]", "[3,7]")).find("must begin at 4"), std::string::npos);
  EXPECT_NE(MessageOf(two("[0,4]", "[5,9]")).find("must begin at 4"), std::string::npos);
  EXPECT_NE(MessageOf(two("[0,4]", "[5,9]", "123456789")).find("must begin at 4"),
            std::string::npos);
}

TEST(Safetensors, RefusesWhatIsNotAFile) {
  const TempFolder folder;
  EXPECT_EQ(SafetensorsFile::Open(folder.path(), "m").status().message(),
            "m: is not a regular file");
  EXPECT_EQ(SafetensorsFile::Open(folder.File("absent"), "m").status().code(),
            StatusCode::kNotFound);
  ASSERT_EQ(mkfifo(folder.File("fifo").c_str(), 0600), 0);
  EXPECT_EQ(SafetensorsFile::Open(folder.File("fifo"), "m").status().message(),
            "m: is not a regular file");
}

TEST(Safetensors, NoticesAFileThatIsCutOrReplacedWhileItIsOpen) {
  const TempFolder folder;
  const std::string bytes = Safetensors({{"t", "U8", {8}, "12345678"}});
  folder.Write("m.safetensors", bytes);
  const auto file = SafetensorsFile::Open(folder.File("m.safetensors"), "m.safetensors");
  ASSERT_TRUE(file.ok());
  std::filesystem::resize_file(folder.File("m.safetensors"), bytes.size() - 3);
  std::byte out[8];
  const Status status = file->Read(*file->Find("t"), 0, 8, out);
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), "m.safetensors: ends at byte " + std::to_string(bytes.size() - 3) +
                                  " while it is read; it had " + std::to_string(bytes.size()) +
                                  " bytes when it was opened (tensor \"t\")");
  EXPECT_EQ(file->CheckUnchanged().code(), StatusCode::kDataLoss);
}

// Any header gives a table or a status; what the table says lies inside the data.
TEST(Safetensors, SurvivesMutatedHeaders) {
  std::mt19937 random(7);
  const std::string file =
      Safetensors({{"model.a", "F32", {2, 2}, std::string(16, 'a')}, {"b", "BF16", {3}, "123456"}});
  const int64_t data_bytes = 22;
  const std::string good = file.substr(8, file.size() - 8 - data_bytes);
  int parsed = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string header = good;
    for (int edit = 0; edit <= i % 3; ++edit) {
      const char interesting[] = "\"{}[]:,0123459-. \\\xff";
      header[random() % header.size()] = interesting[random() % (sizeof(interesting) - 1)];
    }
    if (i % 7 == 0) header.resize(random() % header.size());
    const auto tensors = ParseSafetensorsHeader(header, data_bytes, "m.safetensors");
    if (!tensors.ok()) {
      EXPECT_EQ(tensors.status().message().find("m.safetensors: "), 0u);
      continue;
    }
    ++parsed;
    for (const TensorInfo& tensor : *tensors) {
      EXPECT_LE(0, tensor.begin);
      EXPECT_LE(tensor.begin, tensor.end);
      EXPECT_LE(tensor.end, data_bytes);
    }
  }
  EXPECT_GT(parsed, 500);
}

TEST(Safetensors, AHeaderFullOfTensorsStaysWithinTwiceItsBytes) {
  std::string header = "{";
  for (int i = 0; i <= kTensorsMax; ++i) {
    header.append(1, '"').append(std::to_string(i));
    header += "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},";
  }
  header.back() = '}';
  const TempFolder folder;
  folder.Write("m.safetensors", RawSafetensors(header, ""));
  rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  const auto file = SafetensorsFile::Open(folder.File("m.safetensors"), "m.safetensors");
  getrusage(RUSAGE_SELF, &after);
  EXPECT_EQ(file.status().message(),
            "m.safetensors: tensor \"500000\": is one too many: the limit is 500000 tensors");
#if !defined(__SANITIZE_THREAD__)  // which keeps a shadow of all memory
  EXPECT_LT((after.ru_maxrss - before.ru_maxrss) * 1024, 2 * kHeaderBytesMax);
#endif
}

}  // namespace
}  // namespace octet::worker
