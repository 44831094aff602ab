// The memory-bound operators of a biased transformer block, each a kernel or several of its own, as
// software runs them that fuses less than transformer.hpp says, or other things. One table a
// software, counted from its code; GEMMs are the same everywhere.
#pragma once

#include <span>
#include <string_view>

#include "base/work.hpp"

namespace windtunnel {

// Where operators run, and over how many elements; n = b s h.
enum class BlockPart {
  Qkv,     // queries, keys and values: 3 n
  Scores,  // b a s^2, from one GEMM of attention to the next
  Core,    // n: beside attention, once a block
  Branch,  // n: what attention and MLP each add to the residual stream
  Norm,    // n: each of the two norms
  Mlp,     // 4 n: the width of the MLP
};
enum class Pass { Forward, Backward };

struct BlockOperator {
  std::string_view name;
  BlockPart part;
  Pass pass;
  int kernels;
  // Bytes that it reads and writes for an element of its part; `mixed`: where GEMMs are in 16 bits
  // and the software decides what else is.
  double fp32, mixed;
  double bytes(DType type) const { return bytes_of(type) < 4 ? mixed : fp32; }
};

// An optimizer of separate operators, run tensor by tensor: kernels of a tensor, bytes of a
// parameter. What prepares the gradients belongs to it: unscaling, clipping, weight decay.
struct UpdateOperators {
  int kernels = 0, kernels_mixed = 0;  // 0: one kernel updates all parameters
  double fp32 = 0, mixed = 0;
  // The process waits for each reduction of gradients before it issues them; false: it has issued
  // them when the last reduction ends.
  bool wait_for_reductions = false;
};

struct OperatorSet {
  std::span<const BlockOperator> operators;
  UpdateOperators adam;
  std::string_view source;
};

extern const OperatorSet kTensorFlow1Operators;
extern const OperatorSet kXlaOperators;
extern const OperatorSet kOneFlowOperators;
extern const OperatorSet kPaddleOperators;
extern const OperatorSet kApexOperators;

}  // namespace windtunnel
