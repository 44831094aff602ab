#include "backend/model/packed_samples.hpp"

#include <algorithm>

#include "backend/model/context_parallel.hpp"

namespace windtunnel {
namespace {

// A sample of l tokens has l (l - 1) / 2 pairs of different ones.
std::int64_t pairs_of(std::int64_t length) {
  return length * (length - 1) / 2;
}

// Appends samples of at most `longest` tokens that have exactly `pairs` together, the longest first
// and those of one token last; false and nothing appended if there are none.
bool append_lengths(std::int64_t tokens, std::int64_t pairs, std::int64_t longest,
                    std::vector<std::int64_t>& lengths) {
  if (pairs == 0) {
    lengths.insert(lengths.end(), std::size_t(tokens), 1);
    return true;
  }
  for (std::int64_t length = std::min(tokens, longest); length > 1; --length) {
    const std::int64_t most = tokens / length * pairs_of(length) + pairs_of(tokens % length);
    if (most < pairs) return false;
    if (pairs_of(length) > pairs) continue;
    lengths.push_back(length);
    if (append_lengths(tokens - length, pairs - pairs_of(length), length, lengths)) return true;
    lengths.pop_back();
  }
  return false;
}

}  // namespace

// The squares sum to the tokens and twice the pairs.
std::vector<std::int64_t> packed_lengths(std::int64_t sequence, std::int64_t attended) {
  if (attended > sequence) return {};
  // What is left for samples of other lengths, unless equal ones fill the sequence: of so many
  // tokens a long sample and a few short ones make up any number of pairs.
  constexpr std::int64_t kUnequal = 4;
  std::vector<std::int64_t> lengths;
  std::int64_t left = sequence;
  while (left > 0 && (left % attended == 0 || left >= kUnequal * attended)) {
    lengths.push_back(attended);
    left -= attended;
  }
  return append_lengths(left, left * (attended - 1) / 2, left, lengths)
             ? lengths
             : std::vector<std::int64_t>();
}

at::Tensor own_positions(std::int64_t tokens, const LayerContext& context) {
  const at::TensorOptions options = at::TensorOptions(at::kLong).device(context.device);
  const std::int64_t sequence = tokens * context.context_size();
  if (context.samples.empty()) return own_tokens(at::arange(sequence, options), context);
  std::vector<at::Tensor> places;
  for (const std::int64_t length : context.samples) places.push_back(at::arange(length, options));
  const at::Tensor all = at::cat(places);
  SIM_CHECK(all.size(0) == sequence, "samples of other lengths than their sequence");
  return own_tokens(all, context);
}

}  // namespace windtunnel
