// The two ends of a language model: the embedding of words, and the head with its loss.
#pragma once

#include <string>
#include <vector>

#include "model/transformer.hpp"

namespace windtunnel {

struct EmbeddingShape {
  std::int64_t vocab = 0;
  int added = 0;  // learned embeddings added to the word's: positions, token types
  bool norm = false;
  bool dropout = false;
  bool frozen = false;
};
// Vocabulary split over the ranks: each looks up the words it has, and the sum over ranks is the
// embedding (all-reduce, or reduce-scatter under sequence parallelism; backward gathers dY then).
LayerWork token_embedding(const TransformerSlice& slice, const EmbeddingShape& shape);

// The linear onto the split vocabulary, and cross entropy on logits that stay split: the maximum,
// the target's logit and the sum of exponentials are all-reduced, b s fp32 each.
// Source: megatron/core/tensor_parallel/cross_entropy.py.
std::vector<Operation> vocabulary_loss(const TransformerSlice& slice, std::int64_t vocab,
                                       bool is_frozen = false);
// Sets the logits that a head keeps, and what its loss needs at most: b s V / t logits, or b s V
// where the software gathers them, of the software's bytes each.
void set_logits(const TransformerSlice& slice, std::int64_t vocab, LayerWork& work);
// The end of a decoder: norm, logits, loss.
LayerWork language_head(const TransformerSlice& slice, std::int64_t vocab, bool is_frozen = false);

// Same for the vocabulary, with the value that Megatron-LM would pad it to.
std::string vocabulary_limit(long long vocab, int tensor);

}  // namespace windtunnel
