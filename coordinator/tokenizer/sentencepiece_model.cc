// Reads sentencepiece's tokenizer.model (sentencepiece_model.proto) through a reader of our own:
// sentencepiece 0.1.97 can be made to write beyond its buffers by a crafted file.
#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "coordinator/tokenizer/config_json.h"
#include "coordinator/tokenizer/json_reader.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/protobuf_reader.h"
#include "coordinator/tokenizer/sentencepiece_normalizer.h"
#include "coordinator/tokenizer/token_text.h"
#include "coordinator/tokenizer/utf8.h"
#include "coordinator/tokenizer/vocab_files.h"

namespace octet::tokenizer {
namespace {

using Field = ProtobufReader::Field;

enum PieceType {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};
constexpr const char* kModelTypes[] = {"", "UNIGRAM", "BPE", "WORD", "CHAR"};
constexpr int64_t kBpe = 2;

struct Piece {
  std::string text;
  float score = 0;
  int64_t type = kNormal;
};

struct TrainerSpec {
  int64_t model_type = 1;
  bool space_is_suffix = false;
  bool byte_fallback = false;
  int64_t bos_id = 1;
  int64_t eos_id = 2;
};

struct NormalizerSpec {
  std::string_view charsmap;
  bool dummy_prefix = true;
  bool remove_extra_spaces = true;
  bool escape_spaces = true;
};

struct Model {
  std::vector<Piece> pieces;
  TrainerSpec trainer;
  NormalizerSpec normalizer;
  NormalizerSpec denormalizer;
};

Result<Piece> ReadPiece(std::string_view message, const std::string& path) {
  Piece piece;
  ProtobufReader reader(message, path);
  for (;;) {
    OCTET_ASSIGN_OR_RETURN(const std::optional<Field> field, reader.Next());
    if (!field.has_value()) break;
    if (field->number == 1) {
      OCTET_ASSIGN_OR_RETURN(const std::string_view text, BytesOf(reader, *field));
      if (static_cast<int64_t>(text.size()) > kTokenBytesMax) {
        return ResourceExhausted(path + " has " + std::to_string(text.size()) +
                                 " bytes, the limit is " + std::to_string(kTokenBytesMax));
      }
      piece.text = text;
    } else if (field->number == 2) {
      OCTET_ASSIGN_OR_RETURN(piece.score, FloatOf(reader, *field));
    } else if (field->number == 3) {
      OCTET_ASSIGN_OR_RETURN(piece.type, IntOf(reader, *field));
    }
  }
  if (piece.text.empty()) return InvalidArgument(path + " is empty, expected a text");
  if (const auto at = InvalidUtf8Offset(piece.text)) {
    return InvalidArgument(path + " is not UTF-8 at byte " + std::to_string(*at));
  }
  if (piece.type < kNormal || piece.type > kByte) {
    return InvalidArgument(path + " has the type " + std::to_string(piece.type) +
                           ", expected 1 to 6");
  }
  if (std::isnan(piece.score)) return InvalidArgument(path + " has a score that is not a number");
  return piece;
}

Result<TrainerSpec> ReadTrainerSpec(std::string_view message, const std::string& path) {
  TrainerSpec spec;
  ProtobufReader reader(message, path);
  for (;;) {
    OCTET_ASSIGN_OR_RETURN(const std::optional<Field> field, reader.Next());
    if (!field.has_value()) return spec;
    switch (field->number) {
      case 3: {
        OCTET_ASSIGN_OR_RETURN(spec.model_type, IntOf(reader, *field));
        break;
      }
      case 24: {
        OCTET_ASSIGN_OR_RETURN(spec.space_is_suffix, BoolOf(reader, *field));
        break;
      }
      case 35: {
        OCTET_ASSIGN_OR_RETURN(spec.byte_fallback, BoolOf(reader, *field));
        break;
      }
      case 41: {
        OCTET_ASSIGN_OR_RETURN(spec.bos_id, IntOf(reader, *field));
        break;
      }
      case 42: {
        OCTET_ASSIGN_OR_RETURN(spec.eos_id, IntOf(reader, *field));
        break;
      }
      default:
        break;
    }
  }
}

Result<NormalizerSpec> ReadNormalizerSpec(std::string_view message, const std::string& path) {
  NormalizerSpec spec;
  ProtobufReader reader(message, path);
  for (;;) {
    OCTET_ASSIGN_OR_RETURN(const std::optional<Field> field, reader.Next());
    if (!field.has_value()) return spec;
    switch (field->number) {
      case 2: {
        OCTET_ASSIGN_OR_RETURN(spec.charsmap, BytesOf(reader, *field));
        break;
      }
      case 3: {
        OCTET_ASSIGN_OR_RETURN(spec.dummy_prefix, BoolOf(reader, *field));
        break;
      }
      case 4: {
        OCTET_ASSIGN_OR_RETURN(spec.remove_extra_spaces, BoolOf(reader, *field));
        break;
      }
      case 5: {
        OCTET_ASSIGN_OR_RETURN(spec.escape_spaces, BoolOf(reader, *field));
        break;
      }
      default:
        break;
    }
  }
}

Result<Model> ReadModel(std::string_view bytes, const std::string& file) {
  Model model;
  ProtobufReader reader(bytes, file);
  for (;;) {
    OCTET_ASSIGN_OR_RETURN(const std::optional<Field> field, reader.Next());
    if (!field.has_value()) break;
    if (field->number < 1 || field->number > 5 || field->number == 4) continue;
    OCTET_ASSIGN_OR_RETURN(const std::string_view message, BytesOf(reader, *field));
    if (field->number == 1) {
      const std::string path = file + ": pieces[" + std::to_string(model.pieces.size()) + "]";
      if (static_cast<int64_t>(model.pieces.size()) == kVocabEntriesMax) {
        return ResourceExhausted(file + ": more than " + std::to_string(kVocabEntriesMax) +
                                 " pieces, which is the limit");
      }
      OCTET_ASSIGN_OR_RETURN(Piece piece, ReadPiece(message, path));
      model.pieces.push_back(std::move(piece));
    } else if (field->number == 2) {
      OCTET_ASSIGN_OR_RETURN(model.trainer, ReadTrainerSpec(message, file + ": trainer_spec"));
    } else if (field->number == 3) {
      OCTET_ASSIGN_OR_RETURN(model.normalizer,
                             ReadNormalizerSpec(message, file + ": normalizer_spec"));
    } else {
      OCTET_ASSIGN_OR_RETURN(model.denormalizer,
                             ReadNormalizerSpec(message, file + ": denormalizer_spec"));
    }
  }
  if (model.pieces.empty()) {
    return InvalidArgument(file + ": no pieces found, expected a model of sentencepiece");
  }
  return model;
}

Status Unsupported(const std::string& file, const std::string& found,
                   const std::string& supported) {
  return Unimplemented(file + ": " + found + " is not supported; supported: " + supported);
}

Status CheckSpecs(const Model& model, const std::string& file) {
  const int64_t type = model.trainer.model_type;
  if (type != kBpe) {
    const bool is_known = type >= 1 && type <= 4;
    return Unsupported(file + ": trainer_spec.model_type",
                       is_known ? kModelTypes[type] : std::to_string(type), "BPE");
  }
  if (model.trainer.space_is_suffix) {
    return Unsupported(file + ": trainer_spec.treat_whitespace_as_suffix", "true", "false");
  }
  if (!model.normalizer.escape_spaces) {
    return Unsupported(file + ": normalizer_spec.escape_whitespaces", "false", "true");
  }
  if (!model.denormalizer.charsmap.empty()) {
    return Unsupported(file + ": denormalizer_spec.precompiled_charsmap", "a charsmap", "none");
  }
  const std::string path = file + ": normalizer_spec.precompiled_charsmap";
  const std::string_view charsmap = model.normalizer.charsmap;
  if (static_cast<int64_t>(charsmap.size()) > kCharsmapBytesMax) {
    return ResourceExhausted(path + " has " + std::to_string(charsmap.size()) +
                             " bytes, the limit is " + std::to_string(kCharsmapBytesMax));
  }
  const Status status = Charsmap::Check(charsmap);
  return status.ok() ? status : Status(status.code(), path + " " + status.message());
}

// What sentencepiece itself checks when it loads a model, and pieces of the type UNUSED, which it
// merges and then takes apart again.
Status CheckPieces(const Model& model, const std::string& file) {
  std::unordered_set<std::string_view> texts;
  int64_t unknown_count = 0;
  int64_t byte_count = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    const std::string path = file + ": pieces[" + std::to_string(id) + "]";
    if (!texts.insert(piece.text).second) {
      return InvalidArgument(path + " is " + Quoted(piece.text) + ", which an earlier piece is");
    }
    if (piece.type == kUnused) {
      return Unsupported(path, "the type UNUSED of " + Quoted(piece.text),
                         "NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE");
    }
    if (piece.type == kUnknown) ++unknown_count;
    if (piece.type != kByte) continue;
    ++byte_count;
    const auto byte = ByteOfFallbackToken(piece.text);
    if (!byte.has_value() || FallbackTokenOfByte(*byte) != piece.text) {
      return InvalidArgument(path + " is " + Quoted(piece.text) +
                             " and of the type BYTE, expected a text such as `<0x0A>`");
    }
  }
  if (unknown_count != 1) {
    return InvalidArgument(file + ": " + std::to_string(unknown_count) +
                           " pieces have the type UNKNOWN, expected one");
  }
  if (byte_count != (model.trainer.byte_fallback ? 256 : 0)) {
    return InvalidArgument(file + ": " + std::to_string(byte_count) +
                           " pieces have the type BYTE, expected " +
                           (model.trainer.byte_fallback ? "256, as byte_fallback is set"
                                                        : "none, as byte_fallback is not set"));
  }
  return {};
}

bool IsMerged(const Piece& piece) { return piece.type == kNormal || piece.type == kUserDefined; }

// The higher the score, the earlier; pieces of one score have one rank.
std::vector<int32_t> RanksOf(const std::vector<Piece>& pieces) {
  std::vector<float> scores;
  for (const Piece& piece : pieces) {
    if (IsMerged(piece)) scores.push_back(piece.score);
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  std::vector<int32_t> ranks(pieces.size(), BpeModel::kNoRank);
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (!IsMerged(pieces[id])) continue;
    const auto place =
        std::lower_bound(scores.begin(), scores.end(), pieces[id].score, std::greater<>());
    ranks[id] = static_cast<int32_t>(place - scores.begin());
  }
  return ranks;
}

void FillBpe(const Model& model, BpeModel* bpe) {
  bpe->byte_level = false;
  bpe->byte_fallback = model.trainer.byte_fallback;
  bpe->fuse_unk = true;
  bpe->byte_ids.fill(-1);
  bpe->span_ranks = RanksOf(model.pieces);
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    if (IsMerged(piece)) bpe->word_ids.push_back(static_cast<int32_t>(id));
    if (piece.type == kUnknown) bpe->unk_id = static_cast<int32_t>(id);
    if (piece.type == kByte) {
      bpe->byte_ids[*ByteOfFallbackToken(piece.text)] = static_cast<int32_t>(id);
    }
  }
}

void FillDecoder(const Model& model, DecoderRules* rules) {
  const NormalizerSpec& spec = model.normalizer;
  rules->byte_level = false;
  rules->replacements = {{std::string(kPieceSpace), " "}};
  rules->byte_fallback = model.trainer.byte_fallback;
  rules->keep_whole_characters = true;
  rules->start = kPieceSpace;
  if (spec.remove_extra_spaces) {
    rules->start_rule = DecoderRules::Start::kFirstPieces;
  } else if (spec.dummy_prefix) {
    rules->start_rule = DecoderRules::Start::kFirstPiece;
  }
}

// Control pieces and unk are cut out of the raw text where special tokens are parsed, pieces that
// users defined out of the normalized text always.
void FillAddedTokens(const std::vector<Piece>& pieces, std::vector<AddedToken>* added) {
  for (size_t id = 0; id < pieces.size(); ++id) {
    const Piece& piece = pieces[id];
    if (piece.type == kNormal || piece.type == kByte) continue;
    AddedToken token;
    token.content = piece.text;
    token.id = static_cast<int32_t>(id);
    token.special = piece.type != kUserDefined;
    token.normalized = piece.type == kUserDefined;
    added->push_back(std::move(token));
  }
}

std::optional<int32_t> ControlAt(const std::vector<Piece>& pieces, int64_t id) {
  if (id < 0 || id >= static_cast<int64_t>(pieces.size())) return {};
  if (pieces[static_cast<size_t>(id)].type != kControl) return {};
  return static_cast<int32_t>(id);
}

// As transformers' LlamaTokenizer and the classes made from it: a bos before a text unless
// add_bos_token says no, an eos only where add_eos_token says so, and without `legacy` the space
// before the whole text alone.
Status ApplyConfig(const VocabFiles& files, Definition* definition) {
  nlohmann::json document = nlohmann::json::object();
  if (!files.config_json.empty()) {
    OCTET_ASSIGN_OR_RETURN(document, ParseJson(files.config_json, "tokenizer_config.json"));
  }
  const JsonView config(document, "tokenizer_config.json:");
  OCTET_RETURN_IF_ERROR(ParseEnds(config, files.name, definition));
  OCTET_ASSIGN_OR_RETURN(const bool add_bos, config.Member("add_bos_token").Bool(true));
  OCTET_ASSIGN_OR_RETURN(const bool add_eos, config.Member("add_eos_token").Bool(false));
  definition->prefix_ids.clear();
  definition->suffix_ids.clear();
  if (add_bos && definition->bos_id) definition->prefix_ids.push_back(*definition->bos_id);
  if (add_eos && definition->eos_id) definition->suffix_ids.push_back(*definition->eos_id);
  OCTET_ASSIGN_OR_RETURN(const bool legacy, config.Member("legacy").Bool(true));
  definition->sentence_piece.prefix_once = !legacy;
  return {};
}

}  // namespace

Result<Definition> ParseSentencePiece(const VocabFiles& files) {
  OCTET_ASSIGN_OR_RETURN(const Model model, ReadModel(files.vocab, files.name));
  OCTET_RETURN_IF_ERROR(CheckSpecs(model, files.name));
  OCTET_RETURN_IF_ERROR(CheckPieces(model, files.name));
  Definition definition;
  for (const Piece& piece : model.pieces) definition.tokens.push_back(piece.text);
  FillBpe(model, &definition.bpe);
  FillDecoder(model, &definition.decoder);
  FillAddedTokens(model.pieces, &definition.added_tokens);
  definition.normalizer = {{NormalizerStep::Kind::kSentencePiece}};
  definition.sentence_piece.charsmap = model.normalizer.charsmap;
  definition.sentence_piece.dummy_prefix = model.normalizer.dummy_prefix;
  definition.sentence_piece.remove_extra_spaces = model.normalizer.remove_extra_spaces;
  definition.bos_id = ControlAt(model.pieces, model.trainer.bos_id);
  definition.eos_id = ControlAt(model.pieces, model.trainer.eos_id);
  OCTET_RETURN_IF_ERROR(AddTokensOfFiles(files, &definition));
  for (const AddedToken& token : definition.added_tokens) {
    if (token.normalized) definition.sentence_piece.user_defined.push_back(token.content);
  }
  OCTET_RETURN_IF_ERROR(ApplyConfig(files, &definition));
  return definition;
}

}  // namespace octet::tokenizer
