// A model as a list of layers with their parameters, and the work of a layer for one micro-batch on
// one rank. A family is one file: dimensions in, layers and their kernels out.
//
// b = micro-batch (samples), s = sequence (tokens), h = hidden, a = heads, t = tensor-parallel
// degree. 1 MAC = 2 FLOPs. Parameters are counts, not bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/parameters.hpp"
#include "base/units.hpp"
#include "base/work.hpp"
#include "model/recomputation.hpp"
#include "model/software.hpp"
#include "model/token_routing.hpp"

namespace windtunnel {

// Whether a chain of elementwise operators (norms, rotary positions, SwiGLU) is one kernel written
// for it, or a kernel for each operator as in eager PyTorch; or the norms alone are one; or
// torch.compile made it, whose norms and rotary positions are slower (norm_kernels.hpp). In
// convolution nets: whether batch norm takes the ReLU and sum behind it along.
enum class Kernels { Fused, FusedNorm, Eager, Compiled };
inline constexpr std::array<std::string_view, 4> kKernelsNames = {"fused", "fused_norm", "eager",
                                                                  "compiled"};
// Whether rotary positions and SwiGLU are one kernel.
constexpr bool is_chain_fused(Kernels kernels) {
  return kernels == Kernels::Fused || kernels == Kernels::Compiled;
}
// Eager: a kernel for every operator around the softmax. Unfused: one kernel for the scaled and
// masked softmax (Megatron-LM). Flash: FlashAttention-2, which a GPU's attention curve is of;
// Flash1 its first version; Cudnn the kernels of cuDNN, which TransformerEngine picks on Hopper.
enum class AttentionKernel { Eager, Unfused, Flash, Flash1, Cudnn };
inline constexpr std::array<std::string_view, 5> kAttentionKernelNames = {
    "eager", "unfused", "flash", "flash1", "cudnn"};
// Whether scores stay inside of one kernel, so that nothing of size s x s is kept.
constexpr bool is_fused(AttentionKernel kernel) {
  return kernel != AttentionKernel::Eager && kernel != AttentionKernel::Unfused;
}

// Cross entropy of a vocabulary. Unfused: operators on fp32 logits, which Software says more of.
// Compiled: Megatron-LM's, each of its steps compiled (cross_entropy_loss_fusion).
// Fused: one kernel in each pass, on logits as the GEMM wrote them, and their gradient beside them
// (FlashAttention, apex, torch.compile). InPlace: the forward pass already writes the gradient,
// over the logits, and the backward pass scales it (Transformer Engine).
enum class CrossEntropy { Unfused, Compiled, Fused, InPlace };
inline constexpr std::array<std::string_view, 4> kCrossEntropyNames = {"unfused", "compiled",
                                                                       "fused", "in_place"};

// How attention sees the whole sequence where each of C ranks has a part of it. Ring: keys and
// values go round while the blocks at hand are computed. AllGather: they are gathered before.
// Ulysses: all-to-alls exchange the tokens of all heads for all tokens of some heads. Sources: Liu
// et al. 2023, arXiv:2310.01889; Dubey et al. 2024, arXiv:2407.21783, section 3.3.2; Jacobs et al.
// 2023, arXiv:2309.14509.
enum class ContextParallel { Ring, AllGather, Ulysses };
inline constexpr std::array<std::string_view, 3> kContextParallelNames = {"ring", "all_gather",
                                                                          "ulysses"};

// How tokens get to experts on other nodes. Direct: each copy by itself. TwoLevel: a token once to
// each node, and inside it to its experts, whose sum goes back the same way (DeepEP; HybridEP).
enum class TokenDispatch { Direct, TwoLevel };
inline constexpr std::array<std::string_view, 2> kTokenDispatchNames = {"direct", "two_level"};

struct Tensor {
  std::string name;
  std::int64_t numel = 0;
  bool split = false;  // divided by t under tensor parallelism; otherwise every rank has all of it
  // Of routed experts, stacked: how many there are and how many of them a token passes. Divided by
  // the ranks of expert x expert tensor parallelism and not by t. 0: no such tensor.
  int experts = 0, experts_per_token = 0;
  bool frozen = false;  // has no gradient and no optimizer state
  // Not split, but applied to each head: a rank of t has the gradient that its own heads give.
  bool of_heads = false;

  std::int64_t numel_per_rank(int tensor, int expert_ranks) const;
};

enum class LayerKind { Embedding, Block, Head };
struct Layer {
  std::string name;
  LayerKind kind = LayerKind::Block;
  std::vector<Tensor> tensors;  // in registration order, as a framework lists its parameters
  std::int64_t parameters() const;
  std::int64_t parameters_per_rank(int tensor, int expert_ranks = 1) const;
  std::int64_t trained_per_rank(int tensor, int expert_ranks = 1) const;
};

// One micro-batch on one rank: what the work of a layer depends on besides the model.
struct Slice {
  int micro_batch = 1;
  int sequence = 1;  // tokens per sample; 1 for images
  int tensor = 1;
  bool sequence_parallel = false;
  DType type = DType::Bf16;
  AttentionKernel attention = AttentionKernel::Unfused;
  Recomputation recompute;
  Kernels kernels = Kernels::Fused;
  const Software* software = &bare_software();
  // Ranks over which routed experts are spread, and over which each expert's features are split.
  int expert = 1, expert_tensor = 1;
  // Ranks that share a sample: each has 1/context of its tokens, the first and the last ones alike,
  // so that all have the same part of a causal square.
  int context = 1;
  ContextParallel context_parallel = ContextParallel::Ring;
  int attended_length = 0;  // tokens that one attends to; 0: those of the sequence
  TokenDispatch expert_dispatch = TokenDispatch::Direct;
  CrossEntropy cross_entropy = CrossEntropy::Unfused;
  bool fuses_norms() const { return kernels == Kernels::Fused; }
};

// Groups of ranks inside which a layer communicates.
enum class LayerGroup { Tensor, Context, Expert, ExpertTensor };

// A collective of a group inside a layer. Size as collectives/ counts it. With `overlaps_next` it
// runs beside the compute piece that follows; both end before the piece after that.
struct LayerCollective {
  CollectiveKind kind = CollectiveKind::AllReduce;
  Bytes size;
  bool overlaps_next = false;
  LayerGroup group = LayerGroup::Tensor;
  TokenRouting routing;  // of tokens that go once to each node (TokenDispatch); none: every copy
};

struct Piece {
  std::string_view name;  // static text
  std::variant<Work, LayerCollective> what;
};

// The work of one layer for one micro-batch on one rank of the tensor-parallel group.
// `backward` is the fused order (I and W of each operation together, collectives overlapped as
// frameworks do); `backward_input` then `backward_weight` do the same work split in halves
// (zero-bubble schedules).
struct LayerWork {
  std::vector<Piece> forward, backward, backward_input, backward_weight;
  std::vector<Piece> recompute;  // what `slice.recompute` runs again before the backward pass
  Bytes activation;              // kept from forward to backward under slice.recompute
  Bytes recompute_buffer;        // activations alive while recomputing (one layer at a time), minus
                                 // `activation`
  Bytes logits;  // kept from forward to backward besides `activation`: a head's logits
  // Kept from the input half of the backward pass to the weight half: inputs and output gradients
  // of linears, 32 s b h of a GPT block. Source: Qi et al. 2024, arXiv:2401.10241, table 1 (M_W).
  Bytes held;
  Bytes working;  // most that its backward pass has besides all of these: gradients on their way
                  // from one operation to the next, gathered inputs, a table's gradient
  Bytes output;   // what the next layer gets, on this rank: the pipeline's message
  // For MFU: of the whole layer (all t x context ranks), matmuls and attention only, without
  // recomputation.
  Flops forward_flops;  // attention over the full s x s square
  Flops backward_flops;
  Flops causal_saving;  // what counting only the causal half takes off forward + backward; 0 if not
                        // causal
};

struct Model;
struct ModelFamily {
  std::string_view name;
  std::span<const ParameterSpec> parameters;
  std::string (*limits)(const Parameters& parameters);  // why the dimensions do not fit, or empty
  std::vector<Layer> (*layers)(const Parameters& parameters);
  // Its FLOPs for MFU are those of the slice's tokens: layer_work counts all of the samples'.
  LayerWork (*work)(const Model& model, int layer, const Slice& slice);
  // Why this slice is impossible (heads that t does not divide), or empty.
  std::string (*slice_limits)(const Model& model, const Slice& slice);
  bool is_sequence;  // trains on tokens (else on images or samples)
  std::string_view source;
  bool has_context_parallelism = false;
};
std::span<const ModelFamily> model_families();
const ModelFamily* find_model_family(std::string_view name);  // null if there is none
// Of a step that was recorded elsewhere: no layers, no parameters. Not a row of the table.
const ModelFamily& recorded_family();

struct Model {
  std::string name;
  std::string source;
  const ModelFamily* family = nullptr;
  Parameters parameters;
  std::vector<Layer> layers;

  // A tied head shares the embedding's tensor, which counts once.
  std::int64_t parameter_count() const;
  std::int64_t active_parameter_count() const;   // those that one token passes
  std::int64_t trained_parameter_count() const;  // those that are not frozen
  bool has_experts() const;                      // routed ones
  bool tied_embeddings() const;                  // first and last layer share a tensor
};
Model build_model(std::string name, const ModelFamily& family, Parameters parameters);
LayerWork layer_work(const Model& model, int layer, const Slice& slice);

}  // namespace windtunnel
