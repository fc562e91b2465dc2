// Builds a Tokenizer from its definition.
#include "coordinator/tokenizer/json_reader.h"
#include "coordinator/tokenizer/token_text.h"
#include "coordinator/tokenizer/tokenizer_state.h"

namespace octet::tokenizer {
namespace {

// In the form in which added tokens are searched for and decoded.
std::vector<AddedToken> TokensOfStage(const Definition& definition, bool normalized,
                                      const std::vector<std::string>& searched_forms) {
  std::vector<AddedToken> tokens;
  for (size_t i = 0; i < definition.added_tokens.size(); ++i) {
    if (definition.added_tokens[i].normalized != normalized) continue;
    tokens.push_back(definition.added_tokens[i]);
    tokens.back().content = searched_forms[i];
  }
  return tokens;
}

std::unordered_map<int32_t, std::string> ChangedForms(const Definition& definition,
                                                      const std::vector<std::string>& forms) {
  std::unordered_map<int32_t, std::string> changed;
  for (size_t i = 0; i < forms.size(); ++i) {
    const int32_t id = definition.added_tokens[i].id;
    if (forms[i] != definition.tokens[static_cast<size_t>(id)]) changed.emplace(id, forms[i]);
  }
  return changed;
}

Result<std::vector<std::string>> SearchedForms(const Definition& definition) {
  const Normalizer normalizer(definition);
  std::vector<std::string> forms;
  for (const AddedToken& token : definition.added_tokens) {
    if (!token.normalized) {
      forms.push_back(token.content);
      continue;
    }
    OCTET_ASSIGN_OR_RETURN(std::string form, normalizer.ApplyToToken(token.content));
    if (form.empty()) {
      return InvalidArgument("tokenizer.json: added_tokens " + Quoted(token.content) +
                             " is empty after normalization, expected a text to search for");
    }
    forms.push_back(std::move(form));
  }
  return forms;
}

// Two added tokens that differ only before normalization would be one in the search.
Status CheckSearchedFormsDiffer(const Definition& definition,
                                const std::vector<std::string>& searched_forms) {
  std::unordered_map<std::string_view, size_t> index_of_form;
  for (size_t i = 0; i < searched_forms.size(); ++i) {
    if (!definition.added_tokens[i].normalized) continue;
    const auto [other, fresh] = index_of_form.emplace(searched_forms[i], i);
    if (!fresh) {
      return InvalidArgument("tokenizer.json: added_tokens " +
                             Quoted(definition.added_tokens[other->second].content) + " and " +
                             Quoted(definition.added_tokens[i].content) +
                             " are the same after normalization");
    }
  }
  return {};
}

}  // namespace

Tokenizer::State::State(Definition checked, std::vector<SplitPattern> compiled,
                        const std::vector<std::string>& forms)
    : definition(std::move(checked)),
      searched_forms(ChangedForms(definition, forms)),
      is_special(definition.tokens.size(), false),
      raw_tokens(TokensOfStage(definition, false, forms)),
      normalized_tokens(TokensOfStage(definition, true, forms)),
      normalizer(definition),
      patterns(std::move(compiled)) {
  std::vector<bool> as_written(definition.tokens.size(), false);
  for (const AddedToken& token : definition.added_tokens) {
    as_written[static_cast<size_t>(token.id)] = definition.decoder.added_as_written;
  }
  std::vector<size_t> ends;
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    const std::string& spelling = SpellingOf(static_cast<int32_t>(id));
    const TokenText text =
        as_written[id] ? TokenText{spelling} : TextOfToken(definition.decoder, spelling);
    byte_arena += text.bytes;
    ends.push_back(byte_arena.size());
    is_byte.push_back(text.is_byte);
  }
  byte_arena.shrink_to_fit();
  token_bytes.reserve(ends.size());
  size_t begin = 0;
  for (const size_t end : ends) {
    token_bytes.push_back(std::string_view(byte_arena).substr(begin, end - begin));
    begin = end;
  }
  word_forms = definition.bpe.byte_level ? token_bytes
                                         : std::vector<std::string_view>(definition.tokens.begin(),
                                                                         definition.tokens.end());
  bpe.emplace(definition.bpe, word_forms);
  for (const AddedToken& token : definition.added_tokens) {
    if (token.special) is_special[static_cast<size_t>(token.id)] = true;
  }
  id_of_token.reserve(definition.tokens.size());
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    if (definition.tokens[id].empty()) continue;
    id_of_token.emplace(definition.tokens[id], static_cast<int32_t>(id));
  }
}

const std::string& Tokenizer::State::SpellingOf(int32_t id) const {
  const auto form = searched_forms.find(id);
  return form == searched_forms.end() ? definition.tokens[static_cast<size_t>(id)] : form->second;
}

Result<Tokenizer> Tokenizer::FromDefinition(Definition definition) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<std::string> forms, SearchedForms(definition));
  OCTET_RETURN_IF_ERROR(CheckSearchedFormsDiffer(definition, forms));
  std::vector<SplitPattern> patterns;
  for (const PreTokenizerStep& step : definition.steps) {
    if (step.kind != PreTokenizerStep::Kind::kSplit) continue;
    OCTET_ASSIGN_OR_RETURN(SplitPattern pattern, SplitPattern::Compile(step.text));
    patterns.push_back(std::move(pattern));
  }
  return Tokenizer(std::make_unique<State>(std::move(definition), std::move(patterns), forms));
}

}  // namespace octet::tokenizer
