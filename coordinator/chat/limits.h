// Every limit of the chat templates, by name. Templates come with a model that somebody downloaded
// and messages come from anyone: what goes beyond a limit is ResourceExhausted, never a hang, a
// stack overflow or memory without bound.
#pragma once

#include <cstdint>

namespace octet::chat {

struct ChatTemplateLimits {
  // The largest template in use has 16 kB.
  int64_t template_bytes = int64_t{256} << 10;
  // Nesting in the text: three for a parenthesis, two for a block or an elif; templates in use stay
  // below 40. Also the operators and filters in one chain.
  int32_t parse_depth = 200;
  // Evaluated nodes, and elements or 64-byte pieces that a filter, a method or an operator handles.
  // At most about two seconds of one core.
  int64_t steps = 20'000'000;
  // Macros inside macros.
  int32_t call_depth = 40;
  // Nested evaluations of any sort, which is what bounds the stack: about 1 kB each.
  int32_t evaluation_depth = 800;
  // All strings and lists made while rendering, added up: the memory in use is at most this.
  int64_t value_bytes = int64_t{256} << 20;
  // The rendered text; the tokenizer takes no more either.
  int64_t output_bytes = int64_t{16} << 20;
};

// Lists in lists, of a message or made by a template. A value is destroyed by recursion.
inline constexpr int32_t kValueDepthMax = 100;
// jinja2's sandbox has the same limit.
inline constexpr int64_t kRangeItemsMax = 100'000;
// tokenizer_config.json; the largest in use (200k added tokens) has 2 MB.
inline constexpr int64_t kConfigBytesMax = int64_t{16} << 20;
inline constexpr int32_t kConfigDepthMax = 32;

}  // namespace octet::chat
