#include "backend/model/transformer.hpp"

#include <optional>

#include "backend/model/attention.hpp"
#include "backend/model/experts.hpp"
#include "backend/model/head_projection.hpp"
#include "backend/model/operations.hpp"
#include "backend/model/packed_samples.hpp"
#include "backend/model/split_linear.hpp"
#include "backend/model/tensor_parallel.hpp"
#include "model/families.hpp"

namespace windtunnel {
namespace {

class TransformerBlock : public LayerModule {
 public:
  TransformerBlock(const LayerArguments& arguments, const BlockOptions& options)
      : context_(arguments.context), shape_(options.shape) {
    const int ranks = context_.tensor_size();
    attention_ = {shape_.causal, options.alibi, shape_.heads,
                  context_.tensor_rank() * shape_.heads / ranks};
    ParameterDraws draws(context_, arguments.seed, arguments.layer, shape_.is_frozen());
    const auto norm = [&] {
      return drawn_norm(draws, shape_.hidden, options.epsilon, shape_.biased);
    };
    const auto bias = [&](std::int64_t size, Split split) {
      return shape_.biased ? draws.constant(size, 0, split) : at::Tensor();
    };
    if (!shape_.post_norm) attention_norm_ = norm();
    heads_ = (shape_.latent.kv_rank > 0 ? make_latent_projection : make_joined_projection)(
        draws, shape_, options.epsilon, context_);
    const std::int64_t width = shape_.heads * shape_.value_size();
    projection_.weight = draws.normal({shape_.hidden, width}, Split::Second);
    projection_.bias = bias(shape_.hidden, Split::None);
    (shape_.post_norm ? attention_norm_ : mlp_norm_) = norm();
    if (shape_.moe.experts > 0) {
      experts_.emplace(draws, shape_.hidden, shape_.moe, context_);
    } else {
      mlp_in_.weight = draws.stacked(mlp_stacks(), shape_.ffn, shape_.hidden);
      mlp_in_.bias = bias(mlp_stacks() * shape_.ffn, Split::First);
      mlp_out_.weight = draws.normal({shape_.hidden, shape_.ffn}, Split::Second);
      mlp_out_.bias = bias(shape_.hidden, Split::None);
    }
    if (shape_.post_norm) mlp_norm_ = norm();
    list_parameters();
    draws.begin_trained();
    adapt(draws);
  }

  at::Tensor forward(const at::Tensor& input, const MicroBatch&) override {
    if (shape_.post_norm) {
      const at::Tensor middle = attention_norm_(input + attended(input));
      return mlp_norm_(middle + mlp(middle));
    }
    const at::Tensor middle = input + attended(attention_norm_(input));
    return middle + mlp(mlp_norm_(middle));
  }

 private:
  std::int64_t mlp_stacks() const { return shape_.is_gated() ? 2 : 1; }  // gate over up

  void list(const std::vector<at::Tensor>& tensors) {
    for (const at::Tensor& tensor : tensors)
      if (tensor.defined()) parameters_.push_back(tensor);
  }

  void list_parameters() {
    if (!shape_.post_norm) list({attention_norm_.weight, attention_norm_.bias});
    list(heads_->parameters());
    list({projection_.weight, projection_.bias});
    const Norm& middle = shape_.post_norm ? attention_norm_ : mlp_norm_;
    list({middle.weight, middle.bias});
    if (experts_) list(experts_->parameters());
    list({mlp_in_.weight, mlp_in_.bias, mlp_out_.weight, mlp_out_.bias});
    if (shape_.post_norm) list({mlp_norm_.weight, mlp_norm_.bias});
  }

  void adapt(ParameterDraws& draws) {
    const AdapterShape& adapters = shape_.adapters;
    const auto beside = [&](bool is_there, SplitLinear& linear, std::int64_t in, std::int64_t out) {
      if (!is_there) return;
      list(linear.adapter.emplace(draws, adapters.rank, in, out, linear.split, context_)
               .parameters());
    };
    list(heads_->adapt(draws));
    beside(adapters.projection, projection_, shape_.heads * shape_.head_size, shape_.hidden);
    beside(adapters.mlp_in, mlp_in_, shape_.hidden, mlp_stacks() * shape_.ffn);
    beside(adapters.mlp_out, mlp_out_, shape_.ffn, shape_.hidden);
  }

  at::Tensor attended(const at::Tensor& x) {
    return projection_(attention((*heads_)(x), attention_, context_), context_);
  }

  at::Tensor activated(const at::Tensor& x) const {
    switch (shape_.activation) {
      case MlpActivation::Gelu:
        return tanh_gelu(x);
      case MlpActivation::SwiGlu:
        return swiglu(x);
      case MlpActivation::SquaredRelu:
      case MlpActivation::FusedSquaredRelu:
        return at::pow(at::relu(x), 2);
    }
    SIM_CHECK(false, "an activation of no kind");
  }

  at::Tensor mlp(const at::Tensor& x) {
    if (experts_) return (*experts_)(x);
    return mlp_out_(activated(mlp_in_(x, context_)), context_);
  }

  LayerContext& context_;
  BlockShape shape_;
  AttentionOptions attention_;
  Norm attention_norm_, mlp_norm_;
  std::unique_ptr<HeadProjection> heads_;
  SplitLinear projection_{LinearSplit::Rows};
  std::optional<MixtureOfExperts>
      experts_;  // in place of the MLP, whose tensors are undefined then
  SplitLinear mlp_in_{LinearSplit::Columns}, mlp_out_{LinearSplit::Rows};
};

class TokenEmbedding : public LayerModule {
 public:
  TokenEmbedding(const LayerArguments& arguments, const TokenEmbeddingOptions& options)
      : context_(arguments.context) {
    const std::int64_t hidden = arguments.parameters().count("hidden");
    ParameterDraws draws(context_, arguments.seed, arguments.layer, arguments.frozen());
    words_ = draws.normal({arguments.parameters().count("vocab"), hidden}, Split::First);
    parameters_ = {words_};
    if (options.positions > 0)
      parameters_.push_back(positions_ = draws.normal({options.positions, hidden}));
    if (options.types > 0) parameters_.push_back(types_ = draws.normal({options.types, hidden}));
    if (options.epsilon > 0) {
      norm_ = drawn_norm(draws, hidden, options.epsilon);
      parameters_.insert(parameters_.end(), {norm_.weight, norm_.bias});
    }
  }

  at::Tensor forward(const at::Tensor&, const MicroBatch& batch) override {
    const at::Tensor ids = batch.input.t();
    at::Tensor x = split_embedding(ids, words_, context_);
    if (positions_.defined()) {
      const at::Tensor own = at::embedding(positions_, own_positions(ids.size(0), context_));
      x = x + entering_once(own.unsqueeze(1), context_);
    }
    if (types_.defined()) x = x + entering_once(types_.select(0, 0), context_);
    x = sum_over_ranks(x, context_);
    return norm_.weight.defined()
               ? embedding_norm(x, norm_.weight, norm_.bias, norm_.epsilon, context_)
               : x;
  }

 private:
  LayerContext& context_;
  at::Tensor words_, positions_, types_;
  Norm norm_;
};

class LanguageHead : public LayerModule {
 public:
  LanguageHead(const LayerArguments& arguments, double epsilon, bool biased, bool tied)
      : context_(arguments.context) {
    const std::int64_t hidden = arguments.parameters().count("hidden");
    ParameterDraws draws(context_, arguments.seed, arguments.layer, arguments.frozen());
    norm_ = drawn_norm(draws, hidden, epsilon, biased);
    words_ = tied ? drawn_words(arguments)
                  : draws.normal({arguments.parameters().count("vocab"), hidden}, Split::First);
    parameters_ = {norm_.weight};
    if (biased) parameters_.push_back(norm_.bias);
    if (!arguments.tied_words.defined()) parameters_.push_back(words_);
  }

  at::Tensor forward(const at::Tensor& input, const MicroBatch& batch) override {
    const at::Tensor logits = column_parallel_linear(norm_(input), words_, {}, context_);
    return split_cross_entropy(logits, batch.target.t(), context_);
  }

 private:
  LayerContext& context_;
  Norm norm_;
  at::Tensor words_;
};

}  // namespace

std::vector<std::int64_t> hidden_shape(const Job& job, std::int64_t sequence) {
  const bool splits = job.parallel.sequence_parallel && job.parallel.tensor > 1;
  const int ranks = job.parallel.context * (splits ? job.parallel.tensor : 1);
  return {sequence / ranks, job.batch.micro, job.model.parameters.count("hidden")};
}

BlockShape block_sizes(const Parameters& parameters) {
  BlockShape shape;
  shape.hidden = parameters.count("hidden");
  shape.heads = shape.kv_heads = parameters.count("heads");
  shape.head_size = shape.hidden / shape.heads;
  shape.ffn = count_or(parameters, "ffn", 4 * shape.hidden);
  return shape;
}

std::unique_ptr<LayerModule> make_block(const LayerArguments& arguments,
                                        const BlockOptions& options) {
  return std::make_unique<TransformerBlock>(arguments, options);
}

std::unique_ptr<LayerModule> make_token_embedding(const LayerArguments& arguments,
                                                  const TokenEmbeddingOptions& options) {
  return std::make_unique<TokenEmbedding>(arguments, options);
}

at::Tensor drawn_words(const LayerArguments& arguments) {
  if (arguments.tied_words.defined()) return arguments.tied_words;
  ParameterDraws embedding(arguments.context, arguments.seed, 0, arguments.frozen());
  return embedding.normal(
      {arguments.parameters().count("vocab"), arguments.parameters().count("hidden")},
      Split::First);
}

std::unique_ptr<LayerModule> make_language_head(const LayerArguments& arguments, double epsilon,
                                                bool biased, bool tied) {
  return std::make_unique<LanguageHead>(arguments, epsilon, biased, tied);
}

}  // namespace windtunnel
