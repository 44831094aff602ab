// Attention over a sequence of which each of C ranks has s / C tokens.
//
// Q, K and V are the bytes of this rank's queries, keys and values, b (s/C) a d e and b (s/C) g d
// e. Sent by a rank forward, backward:
//   ring        (C-1) (K + V), twice that (keys and values again, their gradients)
//   all-gather  the same
//   Ulysses     (C-1)/C (2 Q + K + V), the same
// The ring exchanges blocks while it computes: C - 1 steps of max(exchange, block), then the last
// block. Its exchanges are priced as one all-gather (reduce-scatter) of the C blocks, which sends
// the same bytes to the same neighbours.
// Sources: Liu et al. 2023, arXiv:2310.01889; Dubey et al. 2024, arXiv:2407.21783, section 3.3.2;
// Jacobs et al. 2023, arXiv:2309.14509; TransformerEngine d0067d0d, context_parallel.py.
#pragma once

#include <string>

#include "model/transformer.hpp"

namespace windtunnel {

// `local` is the core on this rank's queries and all keys, as if nothing had to be exchanged.
Operation context_parallel_attention(const TransformerSlice& slice, const BlockShape& shape,
                                     Operation local);

// Why the sequence cannot be shared like this, or empty.
std::string context_slice_limits(const BlockShape& shape, std::int64_t sequence,
                                 const Slice& slice);

}  // namespace windtunnel
