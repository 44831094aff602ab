// One operation of a layer, said once: what it runs in each pass, what it keeps for the backward
// pass and what it counts for MFU. A layer is a list of operations in forward order.
//
// Bytes: every operand is read or written once; what stays in cache from one kernel to the next is
// not modelled. Biases ride in the GEMMs or the next kernel (forward); their gradients are sums
// over dY, a kernel each. Statistics of norms and gradients of their scales are too small to count.
// Kernels: the launches of an eager framework with the usual fusions, named at each operation.
#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

#include "model/model.hpp"

namespace windtunnel {

struct Operation {
  std::vector<Piece> forward, backward, backward_input, backward_weight;
  Bytes saved;      // kept from its forward to its backward
  Bytes droppable;  // part of `saved` that Recompute::Selective drops, to run forward again
  Bytes held;       // kept for its weight gradient alone: inputs and output gradients of a linear
  Bytes working;    // of its backward pass: gradients of output and input at the same time
  Bytes input;      // of a linear, as activations; of attention: queries, keys and values
  std::vector<Bytes> outputs;                          // of linears beside each other
  Flops forward_flops, backward_flops, causal_saving;  // as LayerWork counts them
  RecomputeModules modules;                            // that it is part of
  // The module that returned a part of `saved`, and how much it is.
  std::optional<RecomputeModule> made_by;
  Bytes made;
  bool keeps_gathered = false;  // its weight gradient takes the input that its forward gathered
  bool needs_output = true;     // false: no backward pass reads it, and torch.compile sees that
};

// Names of a linear's or convolution's kernels; static text.
struct GemmNames {
  std::string_view forward, input_gradient, weight_gradient;
};

// Bytes of an activation element. TransformerEngine keeps the residual stream, attention and sums
// over ranks in bf16 where operands of linears are in fp8 or fp4, and so do we.
constexpr double activation_bytes(DType type) {
  return is_of_operands(type) ? bytes_of(DType::Bf16) : bytes_of(type);
}

using Pieces = std::vector<Piece>;
void append(Pieces& to, const Pieces& pieces);
Pieces joined(std::initializer_list<Pieces> parts);
Work elementwise_kernels(double bytes, int kernels);
Piece collective(std::string_view name, CollectiveKind kind, Bytes size,
                 bool overlaps_next = false);

// No parameters worth a pass of their own: the whole backward belongs to the input half, as zero
// bubble splits only linears and convolutions. Source: Qi et al. 2024, arXiv:2401.10241.
Operation elementwise_operation(std::string_view name, Work forward, Work backward, Bytes saved);

// Operands are multiplied along rows of both, so that the weight gradient needs input and gradient
// the other way round: they are read in bf16 and written both ways. Fp4: once more read before, for
// the scale of the whole tensor, and once more after, for the transposed copy is rotated (random
// Hadamard transform). Source: TransformerEngine, transformer_engine/pytorch/tensor/
// {float8,nvfp4}_tensor.py.
Piece conversion_both_ways(std::string_view name, double elements, DType type);
// Without the transposed copy; of fp8 that may be made from the other later.
Piece conversion(std::string_view name, double elements, DType type);
Piece transposition(std::string_view name, double elements);
// Copies that put parts of a sequence in the order of a collective or of the batch (Software::
// batch_first).
inline constexpr std::string_view kArrangeGathered = "arrange_gathered",
                                  kArrangeScattered = "arrange_scattered";
// What conversions of a linear's operands are called; the latter two both ways.
inline constexpr std::string_view kCastInput = "cast_input", kCastGradient = "cast_gradient",
                                  kCastTransposeInput = "cast_transpose_input",
                                  kCastTransposeGradient = "cast_transpose_gradient";
// Leaves the transposed copies out where there is no weight gradient.
void cast_one_way(std::vector<Piece>& pieces, DType type);

// y[rows, out] = x[rows, in] w[in, out], all of it on this rank. Without an input gradient it is
// the first operation of a network. Fp8, fp4: input and gradient are cast both ways and kept so;
// the weights' cast, once a step, is not counted. Source: TransformerEngine
// transformer_engine/pytorch/module/linear.py, class _Linear (delayed scaling).
Operation linear_operation(const GemmNames& names, std::int64_t rows, std::int64_t in,
                           std::int64_t out, DType type, bool has_input_gradient = true);

// A square convolution with bias or without, on `in_size` x `in_size` images. Reads image and
// weights, writes the output; gradients likewise.
struct Convolution {
  std::int64_t samples = 1, in_channels = 0, out_channels = 0, kernel = 1, in_size = 0,
               out_size = 0;
};
Operation convolution_operation(const GemmNames& names, const Convolution& shape, DType type,
                                bool has_input_gradient = true);

// ReLU in place: forward reads and writes; backward reads its output and dY, and writes dX. Its
// output is the next operation's input, which counts it as kept.
Operation relu_operation(std::string_view name, double elements, DType type);

// Softmax cross entropy on fp32 logits: log-softmax reads and writes them, the loss picks one of
// each row. Backward: the loss writes a gradient, log-softmax reads it and its output and writes
// another.
Operation classification_loss(std::int64_t samples, std::int64_t classes);

// The operations in forward order, their backwards in reverse order, and what `recompute` runs
// again: full recomputation keeps the layer's `input` alone and runs the whole forward again,
// collectives included; selective recomputation the operations that have something droppable;
// recomputation per operation keeps the outputs of attention, of reduce-scatters and of every
// second linear that needs it, but not what linears gathered; recomputation of modules all but what
// they give up (RecomputeModule). Only blocks recompute.
LayerWork assembled_layer(const std::vector<Operation>& operations, LayerKind kind, Bytes input,
                          Bytes output, const Recomputation& recompute);

}  // namespace windtunnel
