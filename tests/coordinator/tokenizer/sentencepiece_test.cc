// tokenizer.model: what is made of its pieces, the tokens beside it, and broken files.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>

#include "coordinator/tokenizer/sentencepiece_normalizer.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "coordinator/tokenizer/vocab_files.h"
#include "tests/coordinator/tokenizer/goldens.h"

namespace octet::tokenizer {
namespace {

// Protobuf as far as a model needs it.
std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
std::string Number(uint64_t field, uint64_t value) { return Varint(field << 3) + Varint(value); }
std::string Bytes(uint64_t field, std::string_view bytes) {
  return Varint((field << 3) | 2) + Varint(bytes.size()) + std::string(bytes);
}
std::string Little(uint32_t value) {
  std::string bytes;
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(value >> shift));
  return bytes;
}
std::string Float(uint64_t field, float value) {
  return Varint((field << 3) | 5) + Little(std::bit_cast<uint32_t>(value));
}

struct Piece {
  std::string text;
  float score = 0;
  uint64_t type = 1;
};

// unk, bos and eos, the letters a to d, "ab" before "bc", and a space.
struct SmallModel {
  std::vector<Piece> pieces = {{"<unk>", 0, 2}, {"<s>", 0, 3},   {"</s>", 0, 3},   {"ab", -1},
                               {"bc", -2},      {"\u2581a", -3}, {"\u2581", -4},   {"a", -5},
                               {"b", -6},       {"c", -7},       {"\u2581ab", -8}, {"abab", -9}};
  std::string trainer = Number(3, 2);
  std::string normalizer = Number(3, 1) + Number(4, 0);
  std::string rest;

  std::string ToBytes() const {
    std::string bytes;
    for (const Piece& piece : pieces) {
      bytes += Bytes(1, Bytes(1, piece.text) + Float(2, piece.score) + Number(3, piece.type));
    }
    return bytes + Bytes(2, trainer) + Bytes(3, normalizer) + rest;
  }
};

Result<Tokenizer> Load(const SmallModel& model, const std::string& config = "",
                       const std::string& added = "") {
  const std::string bytes = model.ToBytes();
  return Tokenizer::FromSentencePiece({"tokenizer.model", bytes, config, added});
}

std::vector<int32_t> Ids(const SmallModel& model, const std::string& text, bool parse = false,
                         const std::string& config = "", const std::string& added = "") {
  const auto tokenizer = Load(model, config, added);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return *tokenizer->Encode(text, false, parse);
}

using IdList = std::vector<int32_t>;

TEST(SentencePiece, TheHigherScoreGoesFirst) {
  EXPECT_EQ(Ids({}, "ab"), (IdList{10}));      // ab, then U+2581 ab
  EXPECT_EQ(Ids({}, "abc"), (IdList{10, 9}));  // not a bc
  EXPECT_EQ(Ids({}, "bc"), (IdList{6, 4}));
  EXPECT_EQ(Ids({}, ""), (IdList{}));
  // Of equal scores the leftmost.
  SmallModel equal;
  equal.pieces[3].score = equal.pieces[4].score = -1;
  EXPECT_EQ(Ids(equal, "cabc"), (IdList{6, 9, 3, 9}));
}

TEST(SentencePiece, UnknownCharactersAreOneUnkOrBytes) {
  EXPECT_EQ(Ids({}, "axyb\u4ECA"), (IdList{5, 0, 8, 0}));
  SmallModel bytes;
  bytes.trainer += Number(35, 1);
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
    bytes.pieces.push_back({text, 0, 6});
  }
  const int32_t first = 12;
  EXPECT_EQ(Ids(bytes, "a\u20AC"), (IdList{5, first + 0xE2, first + 0x82, first + 0xAC}));
  const auto tokenizer = Load(bytes);
  EXPECT_EQ(tokenizer->Decode(IdList{5, first + 0xE2, first + 0x82, first + 0xAC}, true),
            "a\u20AC");
  // Whole characters stay in a broken run, each other byte is one U+FFFD.
  EXPECT_EQ(
      tokenizer->Decode(IdList{first + 0xC3, first + 0xA9, first + 0xE2, first + 0x82, 7}, true),
      "\u00E9\uFFFD\uFFFDa");
}

// A character without a piece of its own can be part of one all the same.
TEST(SentencePiece, AnUnknownCharacterMergesIntoAPiece) {
  SmallModel model;
  model.pieces.push_back({"xa", -0.5});
  EXPECT_EQ(Ids(model, "xab"), (IdList{6, 12, 8}));
  EXPECT_EQ(Ids(model, "bx"), (IdList{6, 8, 0}));
}

TEST(SentencePiece, AZeroByteCanBeAPiece) {
  SmallModel model;
  model.pieces.push_back({std::string(1, '\0'), -0.5});
  EXPECT_EQ(Ids(model, std::string("a\0a", 3)), (IdList{5, 12, 7}));
  EXPECT_EQ(Load(model)->Decode(IdList{5, 12, 7}, true), std::string("a\0a", 3));
}

TEST(SentencePiece, UserDefinedPiecesAreTakenWhole) {
  SmallModel model;
  model.pieces.push_back({"bc", 0, 4});
  model.pieces.erase(model.pieces.begin() + 4);  // the normal "bc"
  EXPECT_EQ(Ids(model, "abc"), (IdList{4, 11}));
}

TEST(SentencePiece, ControlPiecesAreTextUnlessParsed) {
  EXPECT_EQ(Ids({}, "a</s>b", true), (IdList{5, 2, 6, 8}));
  const auto plain = Ids({}, "a</s>b", false);
  EXPECT_EQ(std::count(plain.begin(), plain.end(), 2), 0);
}

TEST(SentencePiece, TheConfigSaysWhatIsAdded) {
  const auto with = [](const std::string& config) {
    const auto tokenizer = Load({}, config);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    return *tokenizer->Encode("a<s>a", true, true);
  };
  EXPECT_EQ(with(""), (IdList{1, 5, 1, 5})) << "LlamaTokenizer's defaults";
  EXPECT_EQ(with(R"({"add_bos_token": false, "add_eos_token": true})"), (IdList{5, 1, 5, 2}));
  EXPECT_EQ(with(R"({"legacy": false})"), (IdList{1, 5, 1, 7})) << "one space, before the text";
  EXPECT_EQ(with(R"({"bos_token": "</s>"})"), (IdList{2, 5, 1, 5}));
  EXPECT_EQ(Load({}, R"({"bos_token": "<x>"})").status().message(),
            "tokenizer_config.json: bos_token is `<x>`, which tokenizer.model does not have");
}

TEST(SentencePiece, AddedTokensTakeTheirPlace) {
  const std::string config = R"({"added_tokens_decoder": {
      "3": {"content": "<|im_end|>", "special": true},
      "14": {"content": "<pad>", "lstrip": true}}})";
  const auto tokenizer = Load({}, config, R"({"<more>": 20, "<pad>": 14})");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(tokenizer->vocab_size(), 21);
  EXPECT_EQ(*tokenizer->Encode("a <pad>c<more><|im_end|>", false), (IdList{5, 14, 6, 9, 20, 3}));
  // The piece that had the id is made no more, and plain text cannot make the token.
  EXPECT_EQ(Ids({}, "cab"), (IdList{6, 9, 3}));
  EXPECT_EQ(*tokenizer->Encode("cab", false), (IdList{6, 9, 7, 8}));
  const auto plain = *tokenizer->Encode("<|im_end|>", false, false);
  EXPECT_EQ(std::count(plain.begin(), plain.end(), 3), 0);
  EXPECT_EQ(tokenizer->Decode(IdList{3, 14, 16}, false), "<|im_end|><pad>");
  EXPECT_EQ(tokenizer->Decode(IdList{3, 14, 16}, true), "<pad>");
  EXPECT_EQ(Load({}, "", R"({"ab": 20})").status().message(),
            "added_tokens.json: `ab` gives `ab` the id 20, and 3 is its id already");
  EXPECT_EQ(Load({}, "", R"({"x": 20, "y": 20})").status().message(),
            "added_tokens.json: `y` gives the id 20 to a second added token, `y`");
  EXPECT_EQ(Load({}, "", R"({"x": -1})").status().message(),
            "added_tokens.json: `x` is -1, expected a token id in [0, 1048576)");
}

TEST(SentencePiece, ASpaceGoesFromTheFirstPieceAlone) {
  const auto one = Load({});
  EXPECT_EQ(one->Decode(IdList{6, 6, 5}, true), "  a");
  EXPECT_EQ(one->Decode(IdList{1, 6, 6, 5}, true), "  a");
  EXPECT_EQ(one->Decode(IdList{1, 5}, false), "<s> a");
  SmallModel all;
  all.normalizer = Number(3, 1) + Number(4, 1);
  EXPECT_EQ(Load(all)->Decode(IdList{6, 6, 5}, true), "a");
  SmallModel none;
  none.normalizer = Number(3, 0) + Number(4, 0);
  EXPECT_EQ(Load(none)->Decode(IdList{6, 6, 5}, true), "   a");
}

struct Broken {
  const char* what;
  std::function<void(SmallModel&)> change;
  StatusCode code;
  const char* sentence;
};

void ExpectRefused(const std::vector<Broken>& cases) {
  for (const Broken& c : cases) {
    SmallModel model;
    c.change(model);
    const auto tokenizer = Load(model);
    EXPECT_EQ(tokenizer.status().code(), c.code) << c.what;
    EXPECT_EQ(tokenizer.status().message(), c.sentence) << c.what;
  }
}

TEST(SentencePiece, RefusesBrokenPieces) {
  ExpectRefused({
      {"none", [](SmallModel& m) { m.pieces.clear(); }, kBad,
       "tokenizer.model: no pieces found, expected a model of sentencepiece"},
      {"an empty one", [](SmallModel& m) { m.pieces[4].text = ""; }, kBad,
       "tokenizer.model: pieces[4] is empty, expected a text"},
      {"not UTF-8", [](SmallModel& m) { m.pieces[4].text = "b\xC3"; }, kBad,
       "tokenizer.model: pieces[4] is not UTF-8 at byte 1"},
      {"long", [](SmallModel& m) { m.pieces[4].text = std::string(2000, 'x'); }, kTooMuch,
       "tokenizer.model: pieces[4] has 2000 bytes, the limit is 1024"},
      {"twice", [](SmallModel& m) { m.pieces[4].text = "ab"; }, kBad,
       "tokenizer.model: pieces[4] is `ab`, which an earlier piece is"},
      {"a score that is no number",
       [](SmallModel& m) { m.pieces[4].score = std::numeric_limits<float>::quiet_NaN(); }, kBad,
       "tokenizer.model: pieces[4] has a score that is not a number"},
      {"a strange type", [](SmallModel& m) { m.pieces[4].type = 7; }, kBad,
       "tokenizer.model: pieces[4] has the type 7, expected 1 to 6"},
      {"unused", [](SmallModel& m) { m.pieces[4].type = 5; }, kForeign,
       "tokenizer.model: pieces[4]: the type UNUSED of `bc` is not supported; supported: NORMAL, "
       "UNKNOWN, CONTROL, USER_DEFINED, BYTE"},
      {"no unk", [](SmallModel& m) { m.pieces[0].type = 1; }, kBad,
       "tokenizer.model: 0 pieces have the type UNKNOWN, expected one"},
      {"two unk", [](SmallModel& m) { m.pieces[1].type = 2; }, kBad,
       "tokenizer.model: 2 pieces have the type UNKNOWN, expected one"},
      {"a byte that is none", [](SmallModel& m) { m.pieces[4].type = 6; }, kBad,
       "tokenizer.model: pieces[4] is `bc` and of the type BYTE, expected a text such as `<0x0A>`"},
      {"one byte",
       [](SmallModel& m) {
         m.pieces[4] = {"<0x0A>", 0, 6};
       },
       kBad,
       "tokenizer.model: 1 pieces have the type BYTE, expected none, as byte_fallback is not "
       "set"},
      {"no bytes", [](SmallModel& m) { m.trainer += Number(35, 1); }, kBad,
       "tokenizer.model: 0 pieces have the type BYTE, expected 256, as byte_fallback is set"},
  });
}

TEST(SentencePiece, NamesWhatIsForeign) {
  ExpectRefused({
      {"unigram", [](SmallModel& m) { m.trainer = Number(3, 1); }, kForeign,
       "tokenizer.model: trainer_spec.model_type: UNIGRAM is not supported; supported: BPE"},
      {"word", [](SmallModel& m) { m.trainer = Number(3, 3); }, kForeign,
       "tokenizer.model: trainer_spec.model_type: WORD is not supported; supported: BPE"},
      {"nothing", [](SmallModel& m) { m.trainer = Number(3, 77); }, kForeign,
       "tokenizer.model: trainer_spec.model_type: 77 is not supported; supported: BPE"},
      {"suffix", [](SmallModel& m) { m.trainer += Number(24, 1); }, kForeign,
       "tokenizer.model: trainer_spec.treat_whitespace_as_suffix: true is not supported; "
       "supported: false"},
      {"plain spaces", [](SmallModel& m) { m.normalizer += Number(5, 0); }, kForeign,
       "tokenizer.model: normalizer_spec.escape_whitespaces: false is not supported; supported: "
       "true"},
      {"denormalizer", [](SmallModel& m) { m.rest = Bytes(5, Bytes(2, "x")); }, kForeign,
       "tokenizer.model: denormalizer_spec.precompiled_charsmap: a charsmap is not supported; "
       "supported: none"},
  });
}

std::string WithCharsmap(const std::string& charsmap) {
  SmallModel model;
  model.normalizer += Bytes(2, charsmap);
  return Load(model).status().message();
}

TEST(SentencePiece, RefusesBrokenCharsmaps) {
  const std::string at = "tokenizer.model: normalizer_spec.precompiled_charsmap ";
  EXPECT_EQ(WithCharsmap("abc"),
            at + "has 3 bytes, expected a length of four bytes and what follows it");
  EXPECT_EQ(WithCharsmap(Little(6) + "123456789"),
            at + "says that its double array has 6 bytes, expected a positive multiple of four "
                 "below the 9 that follow");
  EXPECT_EQ(WithCharsmap(Little(0xFFFFFFFC) + "123456789"),
            at + "says that its double array has 4294967292 bytes, expected a positive multiple "
                 "of four below the 9 that follow");
  EXPECT_EQ(WithCharsmap(Little(4) + Little(0) + "x"), at + "does not end in a zero byte");
  EXPECT_EQ(WithCharsmap(Little(4) + Little(0) + std::string("\xFF\0", 2)),
            at + "has texts that are not UTF-8, at byte 8");
  EXPECT_EQ(WithCharsmap(Little(4) + Little((1u << 8) | (500u << 10)) + std::string(1, '\0')),
            at + "has a double array whose unit 0 leads to 500 of 1");
  EXPECT_EQ(WithCharsmap(Little(8) + Little((1u << 8) | (1u << 10)) + Little(0x80000005) +
                         std::string("\u00E9\0", 3)),
            at + "has a rule whose text begins at byte 5 of 3, where no character begins");
  EXPECT_EQ(WithCharsmap(Little(8) + Little((1u << 8) | (1u << 10)) + Little(0x80000001) +
                         std::string("\u00E9\0", 3)),
            at + "has a rule whose text begins at byte 1 of 3, where no character begins");
  EXPECT_EQ(WithCharsmap(std::string(5 << 20, '\0')),
            at + "has 5242880 bytes, the limit is 4194304");
}

// No unit leads out of the array, whatever it says.
TEST(SentencePiece, AnyDoubleArrayIsSearchedWithinBounds) {
  uint32_t state = 12345;
  const auto next = [&] { return state = state * 1664525u + 1013904223u; };
  int taken = 0;
  for (int round = 0; round < 400; ++round) {
    std::string units;
    for (int i = 0; i < 300; ++i) {
      // A unit that leads to a neighbour, labelled with what leads to it, at times with a leaf.
      const uint32_t offset = next() % 256;
      const uint32_t leaf = next() % 40 == 0 ? 1u << 8 : 0;
      units += Little((offset << 10) | leaf | (next() % 128));
    }
    const std::string blob = Little(static_cast<uint32_t>(units.size())) + units +
                             std::string(1 << 20, 'x') + std::string(1, '\0');
    if (!Charsmap::Check(blob).ok()) continue;
    ++taken;
    const Charsmap charsmap(blob);
    for (char c = 0; c < 127; ++c) charsmap.Find(std::string(20, c));
  }
  EXPECT_GT(taken, 4);
}

TEST(SentencePiece, EveryCutOfAModelIsRefused) {
  const SmallModel model;
  const std::string whole = model.ToBytes();
  const size_t without_normalizer = whole.size() - Bytes(3, model.normalizer).size();
  for (size_t cut = 0; cut < whole.size(); ++cut) {
    const auto tokenizer =
        Tokenizer::FromSentencePiece({"tokenizer.model", whole.substr(0, cut), {}, {}});
    EXPECT_EQ(tokenizer.ok(), cut == without_normalizer) << cut;
  }
}

TEST(SentencePiece, RefusesBrokenProtobuf) {
  const auto refusal = [](const std::string& bytes) {
    return Tokenizer::FromSentencePiece({"tokenizer.model", bytes, {}, {}}).status().message();
  };
  EXPECT_EQ(refusal(std::string(11, '\xFF')),
            "tokenizer.model: a number has more than 10 bytes, before byte 10 of 11");
  EXPECT_EQ(refusal("\x08\x80"), "tokenizer.model: a number is cut short, before byte 2 of 2");
  EXPECT_EQ(refusal(std::string("\x02\x00", 2)),
            "tokenizer.model: found the field number 0, expected 1 to 536870911, before byte 1 of "
            "2");
  EXPECT_EQ(refusal("\x0B"),
            "tokenizer.model: field 1 has wire type 3, expected 0, 1, 2 or 5, before byte 1 of 1");
  EXPECT_EQ(refusal("\x08\x01"),
            "tokenizer.model: field 1 has wire type 0, expected 2, before byte 2 of 2");
  EXPECT_EQ(refusal(Varint(10) + Varint(UINT64_MAX) + "x"),
            "tokenizer.model: field 1 says it has 18446744073709551615 bytes where 1 are left, "
            "before byte 11 of 12");
  EXPECT_EQ(refusal(Bytes(1, Bytes(1, "a") + Bytes(2, "x"))),
            "tokenizer.model: pieces[0]: field 2 has wire type 2, expected 5, before byte 6 of 6");
}

TEST(SentencePiece, AFolderWithoutTokenizerJson) {
  namespace fs = std::filesystem;
  const fs::path dir = fs::path(testing::TempDir()) / "octet_sentencepiece_test";
  fs::create_directories(dir);
  std::ofstream(dir / "tokenizer.model", std::ios::binary) << ReadGoldenModel("sp_llama");
  std::ofstream(dir / "added_tokens.json") << R"({"<pad>": 1000})";
  std::ofstream(dir / "tokenizer_config.json") << R"({"pad_token": "<pad>", "legacy": false})";
  const auto tokenizer = Tokenizer::Load(dir.string());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(tokenizer->TokenId("<pad>"), 1000);
  EXPECT_TRUE(tokenizer->IsSpecial(1000));
  EXPECT_EQ(tokenizer->bos_id(), 1);
  std::ofstream(dir / "tokenizer.model") << "\x08";
  EXPECT_EQ(Tokenizer::Load(dir.string()).status().message(),
            dir.string() + ": tokenizer.model: a number is cut short, before byte 1 of 1");
  fs::remove_all(dir);
}

}  // namespace
}  // namespace octet::tokenizer
