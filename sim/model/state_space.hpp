// The selective state space of Mamba-2 by chunks (state space duality), with the short convolution
// in front of it and the gate behind it: what lies between the two linears and the norm of a mixer.
//
// T tokens, H heads of P features, G groups of B and C with N features of state, chunks of Q
// tokens, k taps of the convolution; all of one tensor-parallel rank, which has H/t heads and G/t
// groups. x has T H P elements, B and C T G N each, the states of all chunks S = T/Q H P N, e bytes
// each but where fp32 is said. Every kernel is one of mamba_ssm:
//   conv1d          x, B and C read and written
//   chunk_cumsum    dt read, dt and its sums over a chunk written in fp32
//   chunk_state     of each head P x N x Q: x, B -> S in fp32
//   state_passing   S in fp32 -> S
//   chunk_bmm       of each group Q x Q x N: C B^T in fp32
//   chunk_scan      of each head Q x P x (N + Q/2), for the square is causal: C B^T, x, C, S and
//   the
//                   gate z -> y, gated and not
// Backward: the convolution and the first four again, then the gate's gradient, those of the
// states, their passing, x, B, C, C B^T (twice: for itself and for dt), B and C by it, and of the
// convolution. MFU counts 7 T H P N forward and twice that backward, whatever runs.
// Sources: Dao and Gu 2024, arXiv:2405.21060, section 6; state-spaces/mamba @d757aef
// mamba_ssm/ops/triton/ssd_combined.py (MambaSplitConv1dScanCombinedFn), Dao-AILab/causal-conv1d;
// FLOPs for MFU as NVIDIA/Megatron-LM megatron/training/training.py, mamba_layer_flops (from
// memory).
#pragma once

#include "model/transformer.hpp"

namespace windtunnel {

struct MambaShape {
  std::int64_t heads = 0, head_size = 0;
  std::int64_t groups = 1;  // heads of one share B and C
  std::int64_t state = 0;   // features of B and C
  std::int64_t taps = 4;    // of the convolution
  std::int64_t chunk = 128;

  std::int64_t width() const { return heads * head_size; }
  std::int64_t convolved() const { return width() + 2 * groups * state; }   // x, B, C
  std::int64_t projected() const { return width() + convolved() + heads; }  // z, x, B, C, dt
};

// Keeps its input, which is the linear's output, and y before the gate.
Operation state_space(const TransformerSlice& slice, const MambaShape& shape);

}  // namespace windtunnel
