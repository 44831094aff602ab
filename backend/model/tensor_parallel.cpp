#include "backend/model/tensor_parallel.hpp"

#include <utility>

#include "backend/model/communication.hpp"

namespace windtunnel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Tokens are the first dimension; other ranks' come in their order.
at::Tensor empty_whole(const at::Tensor& part, const LayerContext& context) {
  std::vector<std::int64_t> shape = part.sizes().vec();
  shape.front() *= context.tensor_size();
  return at::empty(shape, part.options());
}
at::Tensor empty_part(const at::Tensor& whole, const LayerContext& context) {
  std::vector<std::int64_t> shape = whole.sizes().vec();
  shape.front() /= context.tensor_size();
  return at::empty(shape, whole.options());
}

at::Tensor gathered(const at::Tensor& part, LayerContext& context) {
  at::Tensor whole = empty_whole(part, context);
  communicate(context, [&] { context.tensor->all_gather(whole, part.contiguous()); });
  return whole;
}

// [rows, features] of anything.
at::Tensor matrix(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)});
}

at::Tensor weight_gradient(const at::Tensor& output_gradient, const at::Tensor& x) {
  return matrix(output_gradient).t().mm(matrix(x));
}
at::Tensor bias_gradient(const at::Tensor& output_gradient) {
  return matrix(output_gradient).sum(0);
}

class Linear : public Function<Linear> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x, const at::Tensor& weight,
                            const MaybeTensor& maybe_bias, std::int64_t context_handle,
                            bool splits) {
    const at::Tensor bias = maybe_bias.value_or(at::Tensor());
    state->saved_data["context"] = context_handle;
    state->saved_data["splits"] = splits;  // the input is shared by the group
    state->save_for_backward({weight.requires_grad() ? x : at::Tensor(), weight, bias});
    LayerContext& context = context_of(state);
    const bool gathers = splits && splits_sequence(context);
    return at::linear(gathers ? gathered(x, context) : x, weight, bias);
  }

  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    LayerContext& context = context_of(state);
    const variable_list saved = state->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const at::Tensor output = gradients[0].contiguous();
    const bool splits = state->saved_data["splits"].toBool();
    const bool has_input_gradient = state->needs_input_grad(0);
    if (!weight.requires_grad())
      return {
          frozen_gradient(output, weight, splits && has_input_gradient, context), {}, {}, {}, {}};
    const bool gathers = splits && splits_sequence(context);

    at::Tensor input_gradient, whole_x = x, gradient, of_bias;
    const auto compute_input_gradient = [&] {
      if (has_input_gradient) input_gradient = at::matmul(output, weight);
    };
    const auto compute_weight_gradient = [&] {
      gradient = weight_gradient(output, whole_x);
      if (bias.defined()) of_bias = bias_gradient(output);
    };
    if (context.deferred != nullptr) {
      compute_input_gradient();
      if (splits && has_input_gradient) communicate(context, start_sum(input_gradient, context));
      defer(context, saved, output, gathers);
    } else {
      if (gathers) {
        whole_x = empty_whole(x, context);
        const at::Tensor part = x.contiguous();
        communicate_beside(
            context, [&] { context.tensor->all_gather(whole_x, part); }, compute_input_gradient);
      } else {
        compute_input_gradient();
      }
      if (splits && has_input_gradient)
        communicate_beside(context, start_sum(input_gradient, context), compute_weight_gradient);
      else
        compute_weight_gradient();
    }
    return {input_gradient, gradient, of_bias, {}, {}};
  }

 private:
  static at::Tensor frozen_gradient(const at::Tensor& output, const at::Tensor& weight, bool sums,
                                    LayerContext& context) {
    at::Tensor gradient = at::matmul(output, weight);
    if (sums) communicate(context, start_sum(gradient, context));
    return gradient;
  }

  // Replaces the gradient of a shared input by its sum over ranks, or this rank's tokens of it.
  static std::function<void()> start_sum(at::Tensor& gradient, LayerContext& context) {
    const at::Tensor whole = gradient;
    if (!splits_sequence(context)) return [whole, &context] { context.tensor->all_reduce(whole); };
    const at::Tensor part = gradient = empty_part(whole, context);
    return [whole, part, &context] { context.tensor->reduce_scatter(part, whole); };
  }

  static void defer(LayerContext& context, const variable_list& saved, const at::Tensor& output,
                    bool gathers) {
    context.deferred->push_back(
        {saved[1], [&context, gathers, x = saved[0], dy = output]() mutable {
           const at::Tensor gradient = weight_gradient(dy, gathers ? gathered(x, context) : x);
           x.reset();
           dy.reset();
           return gradient;
         }});
    if (!saved[2].defined()) return;
    context.deferred->push_back({saved[2], [dy = output]() mutable {
                                   const at::Tensor gradient = bias_gradient(dy);
                                   dy.reset();
                                   return gradient;
                                 }});
  }
};

class SharedByRanks : public Function<SharedByRanks> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x,
                            std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    LayerContext& context = context_of(state);
    return splits_sequence(context) ? gathered(x, context) : x.view_as(x);
  }

  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    LayerContext& context = context_of(state);
    const at::Tensor whole = gradients[0].clone(at::MemoryFormat::Contiguous);
    if (!splits_sequence(context)) {
      communicate(context, [&] { context.tensor->all_reduce(whole); });
      return {whole, {}};
    }
    const at::Tensor part = empty_part(whole, context);
    communicate(context, [&] { context.tensor->reduce_scatter(part, whole); });
    return {part, {}};
  }
};

class SumOverRanks : public Function<SumOverRanks> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x,
                            std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    LayerContext& context = context_of(state);
    const at::Tensor whole = x.detach().contiguous();
    if (!splits_sequence(context)) {
      communicate(context, [&] { context.tensor->all_reduce(whole); });
      return whole;
    }
    const at::Tensor part = empty_part(whole, context);
    communicate(context, [&] { context.tensor->reduce_scatter(part, whole); });
    return part;
  }

  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    LayerContext& context = context_of(state);
    return {splits_sequence(context) ? gathered(gradients[0], context) : gradients[0], {}};
  }
};

class SplitCrossEntropy : public Function<SplitCrossEntropy> {
 public:
  // logits [n, V/t], target [n].
  static at::Tensor forward(AutogradContext* state, const at::Tensor& logits,
                            const at::Tensor& target, std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    LayerContext& context = context_of(state);
    const std::int64_t words = logits.size(1);
    at::Tensor maximum = logits.amax(1).to(at::kFloat);
    if (context.tensor_size() > 1) {
      const at::Tensor all = gathered(maximum, context);
      maximum = all.view({context.tensor_size(), -1}).amax(0);
    }
    const at::Tensor scores = at::sub(logits, maximum.unsqueeze(1));  // fp32, as the maximum is
    const at::Tensor local = target - context.tensor_rank() * words;
    const at::Tensor is_elsewhere = (local < 0).logical_or_(local >= words);
    const at::Tensor index = local.masked_fill(is_elsewhere, 0).unsqueeze(1);
    const at::Tensor predicted = scores.gather(1, index).squeeze(1).masked_fill_(is_elsewhere, 0);
    const at::Tensor softmax = at::exp(scores);
    const at::Tensor sum = softmax.sum(1);
    if (context.tensor_size() > 1)
      communicate(context, [&] {
        context.tensor->all_reduce(predicted);
        context.tensor->all_reduce(sum);
      });
    softmax.div_(sum.unsqueeze(1));
    state->save_for_backward({softmax, index, is_elsewhere});
    state->saved_data["type"] = std::int64_t(logits.scalar_type());
    return (sum.log() - predicted).mean();
  }

  // d loss / d logit = (softmax - [is the target]) / n.
  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    const variable_list saved = state->get_saved_variables();
    const at::Tensor &softmax = saved[0], &index = saved[1], &is_elsewhere = saved[2];
    const at::Tensor hit = is_elsewhere.logical_not().to(at::kFloat).neg_().unsqueeze(1);
    const at::Tensor gradient = softmax.clone().scatter_add_(1, index, hit);
    gradient.mul_(gradients[0] / double(softmax.size(0)));
    return {gradient.to(at::ScalarType(state->saved_data["type"].toInt())), {}, {}};
  }
};

class FirstToken : public Function<FirstToken> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x,
                            std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    state->saved_data["shape"] = x.sizes().vec();
    LayerContext& context = context_of(state);
    const at::Tensor token = x.select(0, 0).clone();
    communicate(context, [&] { context.tensor->broadcast(token, 0); });
    return token;
  }

  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    LayerContext& context = context_of(state);
    const at::Tensor sum = gradients[0].clone();
    communicate(context, [&] { context.tensor->all_reduce(sum); });
    const at::Tensor gradient = at::zeros(state->saved_data["shape"].toIntVector(), sum.options());
    if (context.tensor_rank() == 0) gradient.select(0, 0).copy_(sum);
    return {gradient, {}};
  }
};

}  // namespace

bool splits_sequence(const LayerContext& context) {
  return context.sequence_parallel && context.tensor_size() > 1;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  LayerContext& context) {
  return Linear::apply(x, weight, maybe(bias), handle_of(context), false);
}

at::Tensor column_parallel_linear(const at::Tensor& x, const at::Tensor& weight,
                                  const at::Tensor& bias, LayerContext& context) {
  return Linear::apply(x, weight, maybe(bias), handle_of(context), context.tensor_size() > 1);
}

at::Tensor row_parallel_linear(const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias, LayerContext& context) {
  if (context.tensor_size() == 1) return linear(x, weight, bias, context);
  const at::Tensor sum = sum_over_ranks(linear(x, weight, {}, context), context);
  return bias.defined() ? sum + bias : sum;
}

at::Tensor shared_by_ranks(const at::Tensor& x, LayerContext& context) {
  return context.tensor_size() == 1 ? x : SharedByRanks::apply(x, handle_of(context));
}

at::Tensor sum_over_ranks(const at::Tensor& x, LayerContext& context) {
  return context.tensor_size() == 1 ? x : SumOverRanks::apply(x, handle_of(context));
}

at::Tensor entering_once(const at::Tensor& term, const LayerContext& context) {
  return context.tensor_rank() == 0 ? term : term - term.detach();
}

at::Tensor split_embedding(const at::Tensor& ids, const at::Tensor& words, LayerContext& context) {
  if (context.tensor_size() == 1) return at::embedding(words, ids);
  const at::Tensor local = ids - context.tensor_rank() * words.size(0);
  const at::Tensor is_elsewhere = (local < 0).logical_or_(local >= words.size(0));
  return at::embedding(words, local.masked_fill(is_elsewhere, 0))
      .masked_fill(is_elsewhere.unsqueeze(-1), 0);
}

at::Tensor split_cross_entropy(const at::Tensor& logits, const at::Tensor& target,
                               LayerContext& context) {
  return SplitCrossEntropy::apply(matrix(logits), target.reshape({-1}), handle_of(context));
}

at::Tensor first_token(const at::Tensor& x, LayerContext& context) {
  return splits_sequence(context) ? FirstToken::apply(x, handle_of(context)) : x.select(0, 0);
}

// The second term is 0 and has no gradient.
at::Tensor shared_loss(const at::Tensor& loss, LayerContext& context) {
  if (!splits_sequence(context)) return loss;
  const at::Tensor share = loss / double(context.tensor_size());
  return share + (loss - share).detach();
}

void sum_gradient(at::Tensor gradient, LayerContext& context) {
  communicate(context, [&] { context.tensor->all_reduce(gradient); });
}

}  // namespace windtunnel
