// Layers that families of transformers share. Hidden states are [s, b, h]; see tensor_parallel.hpp.
//
// Under sequence parallelism the gradients of unsplit tensors of blocks and heads are a rank's
// share of a sum over the tensor group (the plan's ReplicatedReduction); those of the embedding and
// of routed experts, which the plan leaves out, are whole.
// Dropout, where a family's work has it, does not run: the backend's losses and gradients are
// compared with one process's to the last digits that floating point leaves.
#pragma once

#include <memory>

#include "backend/model/families.hpp"
#include "backend/model/norm.hpp"
#include "model/transformer.hpp"

namespace windtunnel {

// [s, b, h]; [s/c, b, h] under context parallelism, and 1/t of these tokens under sequence
// parallelism.
std::vector<std::int64_t> hidden_shape(const Job& job, std::int64_t sequence);

struct BlockOptions {
  BlockShape shape;
  double epsilon = 1e-5;
  bool alibi = false;
};
// Of blocks with as many keys as queries: sizes of the family's parameters, no flags.
BlockShape block_sizes(const Parameters& parameters);
std::unique_ptr<LayerModule> make_block(const LayerArguments& arguments,
                                        const BlockOptions& options);

struct TokenEmbeddingOptions {
  std::int64_t positions = 0, types = 0;  // rows of learned embeddings; 0: none
  double epsilon = 0;                     // of a norm at the end; 0: none
};
// Words, split over the vocabulary, learned positions, and types: all tokens are of type 0.
std::unique_ptr<LayerModule> make_token_embedding(const LayerArguments& arguments,
                                                  const TokenEmbeddingOptions& options);
// This rank's words [V/t, h], drawn as the embedding draws them; or the ones that are shared.
at::Tensor drawn_words(const LayerArguments& arguments);

// Final norm, linear onto the split vocabulary, loss. The words are a layer's own when not tied.
std::unique_ptr<LayerModule> make_language_head(const LayerArguments& arguments, double epsilon,
                                                bool biased, bool tied);

}  // namespace windtunnel
