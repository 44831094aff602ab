// Samples that share a sequence, one after another: each attends to itself alone and counts its
// positions from its own first token. A job says how long they are by one figure
// (Batch::attended_length); all its sequences are filled alike.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/model/layer_module.hpp"

namespace windtunnel {

// Lengths of samples that fill `sequence` tokens, of which a token attends to `attended` on
// average: the sum of the squares of the lengths is attended x sequence (one less where the parity
// forbids it). All are of `attended` tokens where these divide the sequence, else all but the last
// few. Empty: there are none such.
std::vector<std::int64_t> packed_lengths(std::int64_t sequence, std::int64_t attended);

// Of each of the `tokens` of a sequence that this rank has (context_parallel.hpp), its place in its
// sample: int64 [tokens] on the context's device.
at::Tensor own_positions(std::int64_t tokens, const LayerContext& context);

}  // namespace windtunnel
