// BERT with its heads of pre-training: sim/model/bert.cpp. All tokens are of type 0, and the
// masked-language-model loss counts all positions. Next sentence: the data have
// no sentences, so the class is the first position's target modulo 2. The loss is the sum of both.
#include "backend/model/operations.hpp"
#include "backend/model/tensor_parallel.hpp"
#include "backend/model/transformer.hpp"

namespace windtunnel {
namespace {

// Source: google-research/bert, modeling.py; layer_norm_eps of its config.json.
constexpr double kEpsilon = 1e-12;
constexpr std::int64_t kNextSentenceClasses = 2;

class PretrainingHead : public LayerModule {
 public:
  explicit PretrainingHead(const LayerArguments& arguments) : context_(arguments.context) {
    const std::int64_t hidden = arguments.parameters().count("hidden");
    ParameterDraws draws(context_, arguments.seed, arguments.layer);
    pooler_ = draws.normal({hidden, hidden});
    pooler_bias_ = draws.constant(hidden, 0);
    transform_ = draws.normal({hidden, hidden});
    transform_bias_ = draws.constant(hidden, 0);
    norm_ = drawn_norm(draws, hidden, kEpsilon);
    words_ = drawn_words(arguments);
    decoder_bias_ = draws.constant(arguments.parameters().count("vocab"), 0, Split::First);
    next_sentence_ = draws.normal({kNextSentenceClasses, hidden});
    next_sentence_bias_ = draws.constant(kNextSentenceClasses, 0);
    parameters_ = {pooler_, pooler_bias_, transform_, transform_bias_, norm_.weight, norm_.bias};
    if (!arguments.tied_words.defined()) parameters_.push_back(words_);
    parameters_.insert(parameters_.end(), {decoder_bias_, next_sentence_, next_sentence_bias_});
  }

  at::Tensor forward(const at::Tensor& input, const MicroBatch& batch) override {
    const at::Tensor pooled =
        at::tanh(linear(first_token(input, context_), pooler_, pooler_bias_, context_));
    const at::Tensor sentence =
        class_loss(linear(pooled, next_sentence_, next_sentence_bias_, context_),
                   batch.target.select(1, 0).remainder(kNextSentenceClasses));
    const at::Tensor transformed =
        norm_(tanh_gelu(linear(input, transform_, transform_bias_, context_)));
    const at::Tensor logits = column_parallel_linear(transformed, words_, decoder_bias_, context_);
    return split_cross_entropy(logits, batch.target.t(), context_) +
           shared_loss(sentence, context_);
  }

 private:
  LayerContext& context_;
  at::Tensor pooler_, pooler_bias_, transform_, transform_bias_;
  Norm norm_;
  at::Tensor words_, decoder_bias_, next_sentence_, next_sentence_bias_;
};

std::unique_ptr<LayerModule> make(const LayerArguments& arguments) {
  const Parameters& parameters = arguments.parameters();
  switch (arguments.kind()) {
    case LayerKind::Embedding:
      return make_token_embedding(arguments, {.positions = parameters.count("max_sequence"),
                                              .types = parameters.count("token_types"),
                                              .epsilon = kEpsilon});
    case LayerKind::Block: {
      BlockOptions options = {.shape = block_sizes(parameters), .epsilon = kEpsilon};
      options.shape.post_norm = true;
      return make_block(arguments, options);
    }
    case LayerKind::Head:
      return std::make_unique<PretrainingHead>(arguments);
  }
  SIM_CHECK(false, "a layer of no kind");
}

std::vector<std::int64_t> output(const Job& job, int) {
  return hidden_shape(job, job.batch.sequence);
}

std::string complaint(const Model& model) {
  if (!model.parameters.flag("mlm_head"))
    return "without mlm_head the model has no loss to train on";
  if (model.parameters.number("masked") < 1)
    return "masked is not executed: the heads see all positions";
  return {};
}

}  // namespace

FamilyModules bert_modules() {
  return {.name = "bert", .make = make, .output_shape = output, .complaint = complaint};
}

}  // namespace windtunnel
