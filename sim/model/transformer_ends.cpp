#include "model/transformer_ends.hpp"

#include <utility>

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

// Passes of Megatron-LM's vocab_parallel_cross_entropy over the fp32 logits, in bytes a logit.
// Forward: cast (e + 4), maximum 4, subtraction in place 8, exponential in place 8, sum 4, division
// in place 8. Backward: scaling in place 8, cast (4 + e). The kernels on b s numbers (masks,
// gathers, logarithm) count as launches only: 18 forward and 7 backward in all.
Operation cross_entropy(const TransformerSlice& slice, std::int64_t vocab) {
  const double logits = double(slice.tokens) * double(vocab) / slice.tensor;
  const double cast = slice.element == 4 ? 0 : slice.element + 4;
  const Piece reduce =
      collective("loss.sum", CollectiveKind::AllReduce, Bytes(4.0 * double(slice.tokens)));
  Operation op;
  op.forward.push_back({"loss.maximum", elementwise_kernels((cast + 4) * logits, 2)});
  if (slice.tensor > 1) op.forward.push_back(reduce);
  op.forward.push_back({"loss.exponentials", elementwise_kernels(20 * logits, 13)});
  if (slice.tensor > 1) op.forward.insert(op.forward.end(), {reduce, reduce});
  op.forward.push_back({"loss.normalize", elementwise_kernels(8 * logits, 3)});
  op.backward = {{"loss", elementwise_kernels((8 + cast) * logits, 7)}};
  op.backward_input = op.backward;
  return op;
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
  return {is_frozen ? frozen(logits, slice.type) : logits, cross_entropy(slice, vocab)};
}

void set_logits(const TransformerSlice& slice, std::int64_t vocab, LayerWork& work) {
  const Software& software = *slice.software;
  const double logits =
      double(slice.tokens) * double(vocab) / (software.gathers_logits ? 1 : slice.tensor);
  work.logits = Bytes(software.logit_bytes_kept * logits);
  work.working = Bytes((software.logit_bytes_most - software.logit_bytes_kept) * logits);
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
