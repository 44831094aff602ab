#include "model/transformer_ends.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "model/adapter.hpp"

namespace windtunnel {
namespace {

constexpr GemmNames kLogits = {"logits", "logits.input_gradient", "logits.weight_gradient"};

Operation dropout(const TransformerSlice& slice, std::string_view name) {
  const double n = slice.local_elements();
  const Work work = elementwise_kernels((2 * slice.element + 1) * n, 1);
  return elementwise_operation(name, work, work, Bytes(n));
}

// A learned embedding added to the hidden state: looked up and added (two kernels, 3 e n); its
// gradient is a sum of the hidden state's over the batch.
Operation added_embedding(const TransformerSlice& slice) {
  const double bytes = slice.local_hidden().value;
  Operation op;
  op.forward = {{"embedding.add", elementwise_kernels(3 * bytes, 2)}};
  op.backward_weight = {{"embedding.add", elementwise_kernels(bytes, 1)}};
  op.backward = op.backward_weight;
  return op;
}

// Forward: 8-byte token ids read, rows read, hidden states written. Megatron-LM with t > 1 first
// finds the ids that this rank has (3 kernels), shifts them (2), clears the others (1), and clears
// the others' rows afterwards (1).
// Backward: the gradient table is cleared (e V h / t), rows of dY are read and written to it.
Operation word_lookup(const TransformerSlice& slice, std::int64_t vocab) {
  const bool splits = slice.tensor > 1;
  const Bytes whole = slice.whole_hidden();
  const Bytes ids(8.0 * double(slice.tokens));
  const double table = slice.element * double(vocab) * double(slice.hidden) / slice.tensor;
  const Work forward = {
      .op = OpClass::Embedding, .bytes = ids + 2 * whole, .kernels = splits ? 8 : 1};
  const Work backward = {
      .op = OpClass::Embedding, .bytes = ids + 2 * whole + Bytes(table), .kernels = 2};
  Operation op;
  op.forward = {{"embedding", forward}};
  if (slice.splits_sequence) {
    op.forward = joined({op.forward, scattered(slice, "embedding.sum", whole)});
    op.backward_weight = gathered(slice, "embedding.gather", whole);
  } else if (splits) {
    op.forward.push_back(collective("embedding.sum", CollectiveKind::AllReduce, whole));
  }
  op.backward_weight.push_back({"embedding.weight_gradient", backward});
  op.backward = op.backward_weight;
  op.saved = ids;
  op.working = Bytes(table);
  return op;
}

double logits_of(const TransformerSlice& slice, std::int64_t vocab) {
  return double(slice.tokens) * double(vocab) / slice.tensor;
}

// Of a logit, to or from fp32.
double bytes_of_cast(const TransformerSlice& slice) {
  return slice.element == 4 ? 0 : slice.element + 4;
}

// One fp32 number a token.
Piece loss_sum(const TransformerSlice& slice) {
  return collective("loss.sum", CollectiveKind::AllReduce, Bytes(4.0 * double(slice.tokens)));
}

// Passes over fp32 logits, in bytes a logit besides the cast from and to the GEMM's format (e + 4);
// the kernels on b s numbers (masks, gathers, logarithm) count as launches only. Unfused: maximum
// 4, subtraction in place 8, exponential in place 8, sum 4, division in place 8; backward scaling
// in place 8, apart from the cast. Compiled: cast and maximum are one, and so are subtraction,
// exponential and sum, 8; the gradient is scaled as it is cast. Logits in fp32 are not cast, but
// read (4), and their gradients read and written (8). Sources: NVIDIA/Megatron-LM
// megatron/core/tensor_parallel/cross_entropy.py, megatron/core/fusions/fused_cross_entropy.py.
struct VocabParallelPasses {
  double maximum, exponentials, normalize, scaling;
  int maximum_kernels, exponential_kernels, normalize_kernels, backward_kernels;
  int sums;  // over the ranks, besides the maximum's
};
constexpr VocabParallelPasses kUnfusedLoss = {4, 20, 8, 8, 2, 13, 3, 7, 2},
                              kCompiledLoss = {0, 8, 8, 4, 1, 3, 1, 2, 1};

Operation vocab_parallel_cross_entropy(const TransformerSlice& slice, std::int64_t vocab,
                                       const VocabParallelPasses& passes) {
  const double logits = logits_of(slice, vocab), cast = bytes_of_cast(slice);
  const Piece reduce = loss_sum(slice);
  Operation op;
  const auto add = [&](std::string_view name, double bytes, int kernels) {
    op.forward.push_back({name, elementwise_kernels(bytes * logits, kernels)});
  };
  add("loss.maximum", std::max(cast + passes.maximum, 4.0), passes.maximum_kernels);
  if (slice.tensor > 1) op.forward.push_back(reduce);
  add("loss.exponentials", passes.exponentials, passes.exponential_kernels);
  if (slice.tensor > 1) op.forward.insert(op.forward.end(), std::size_t(passes.sums), reduce);
  add("loss.normalize", passes.normalize, passes.normalize_kernels);
  const double scaling = std::max(cast + passes.scaling, 8.0);
  op.backward = {{"loss", elementwise_kernels(scaling * logits, passes.backward_kernels)}};
  op.backward_input = op.backward;
  return op;
}

// Of a kernel that works on logits as they are: how often a pass reads or writes one, and of how
// many of them there is memory. Sources: Dao-AILab/flash-attention
// csrc/xentropy/xentropy_kernel.cu; NVIDIA/TransformerEngine
// transformer_engine/common/triton/cross_entropy.py (online_softmax_kernel reads,
// cross_entropy_kernel reads and writes, element_mul_kernel reads and writes), as of 2025; since
// @294e7507 the gradient is an fp32 tensor of its own.
struct LossPasses {
  int forward, forward_kernels, backward;
  double kept, most;
};
constexpr LossPasses kFusedLoss = {1, 1, 2, 1, 2}, kInPlaceLoss = {3, 2, 2, 1, 1};

// Ranks exchange a few numbers a token once: the softmax's statistics.
Operation fused_cross_entropy(const TransformerSlice& slice, std::int64_t vocab,
                              const LossPasses& passes) {
  const double bytes = slice.element * logits_of(slice, vocab);
  Operation op;
  op.forward = {{"loss", elementwise_kernels(passes.forward * bytes, passes.forward_kernels)}};
  if (slice.tensor > 1) op.forward.push_back(loss_sum(slice));
  op.backward = {{"loss", elementwise_kernels(passes.backward * bytes, 1)}};
  op.backward_input = op.backward;
  return op;
}

// PyTorch's: logits cast to fp32 (e + 4), log-softmax (8); what picks one of each row is small.
// They come after the backward pass, when there is memory for it, but take their time all the same.
Operation logged_losses(const TransformerSlice& slice, std::int64_t vocab) {
  const double bytes = (bytes_of_cast(slice) + 8) * logits_of(slice, vocab);
  const int losses = slice.software->logged_losses;
  Operation op;
  op.forward = {{"logged_losses", elementwise_kernels(losses * bytes, 3 * losses)}};
  return op;
}

Operation cross_entropy(const TransformerSlice& slice, std::int64_t vocab) {
  switch (slice.cross_entropy) {
    case CrossEntropy::Unfused:
      return vocab_parallel_cross_entropy(slice, vocab, kUnfusedLoss);
    case CrossEntropy::Compiled:
      return vocab_parallel_cross_entropy(slice, vocab, kCompiledLoss);
    case CrossEntropy::Fused:
      return fused_cross_entropy(slice, vocab, kFusedLoss);
    case CrossEntropy::InPlace:
      return fused_cross_entropy(slice, vocab, kInPlaceLoss);
  }
  SIM_CHECK(false, "a loss of no kind");
}

// Bytes of a logit that live from the forward to the backward pass, and at most at one time.
std::pair<double, double> logit_bytes(const TransformerSlice& slice) {
  const double e = slice.element;
  switch (slice.cross_entropy) {
    case CrossEntropy::Unfused:
    case CrossEntropy::Compiled:
      return {slice.software->logit_bytes_kept, slice.software->logit_bytes_most};
    case CrossEntropy::Fused:
      return {kFusedLoss.kept * e, kFusedLoss.most * e};
    case CrossEntropy::InPlace:
      return {kInPlaceLoss.kept * e, kInPlaceLoss.most * e};
  }
  SIM_CHECK(false, "a loss of no kind");
}

}  // namespace

LayerWork token_embedding(const TransformerSlice& slice, const EmbeddingShape& shape) {
  std::vector<Operation> operations = {word_lookup(slice, shape.vocab)};
  if (shape.frozen) {
    operations.front() = frozen(std::move(operations.front()), slice.type);
    operations.front().working = Bytes(0);  // the table's gradient
  }
  for (int i = 0; i < shape.added; ++i) operations.push_back(added_embedding(slice));
  if (shape.norm) operations.push_back(norm_operation(slice, "embedding_norm"));
  if (shape.dropout) operations.push_back(dropout(slice, "embedding_dropout"));
  return assembled_layer(operations, LayerKind::Embedding, Bytes(0), slice.local_hidden(),
                         Recompute::None);
}

std::vector<Operation> vocabulary_loss(const TransformerSlice& slice, std::int64_t vocab,
                                       bool is_frozen) {
  TransformerSlice wide = slice;
  wide.type = slice.wide_format().value_or(slice.type);
  Operation logits = column_parallel_linear(wide, kLogits, slice.hidden, vocab);
  for (std::vector<Piece>* pieces :
       {&logits.forward, &logits.backward, &logits.backward_input, &logits.backward_weight})
    for (Piece& piece : *pieces)
      if (auto* work = std::get_if<Work>(&piece.what)) work->format = slice.wide_format();
  std::vector<Operation> operations = {is_frozen ? frozen(logits, slice.type) : logits,
                                       cross_entropy(slice, vocab)};
  if (slice.software->logged_losses > 0) operations.push_back(logged_losses(slice, vocab));
  return operations;
}

void set_logits(const TransformerSlice& slice, std::int64_t vocab, LayerWork& work) {
  const Software& software = *slice.software;
  const double logits =
      double(slice.tokens) * double(vocab) / (software.gathers_logits ? 1 : slice.tensor);
  const auto [kept, most] = logit_bytes(slice);
  work.logits = Bytes(kept * logits);
  work.working = Bytes((most - kept) * logits);
}

LayerWork language_head(const TransformerSlice& slice, std::int64_t vocab, bool is_frozen) {
  std::vector<Operation> operations = {norm_operation(slice, "final_norm")};
  for (Operation& op : vocabulary_loss(slice, vocab, is_frozen))
    operations.push_back(std::move(op));
  LayerWork work =
      assembled_layer(operations, LayerKind::Head, slice.local_hidden(), Bytes(0), Recompute::None);
  set_logits(slice, vocab, work);
  return work;
}

// Source of the padding: megatron/training/tokenizer/tokenizer.py, _vocab_size_with_padding with
// --make-vocab-size-divisible-by 128.
std::string vocabulary_limit(long long vocab, int tensor) {
  const std::string why = split_limit("words of the vocabulary", vocab, tensor);
  if (why.empty()) return {};
  const long long multiple = 128LL * tensor;
  const long long padded = (vocab + multiple - 1) / multiple * multiple;
  return why + "; Megatron-LM pads it to " + std::to_string(padded);
}

}  // namespace windtunnel
