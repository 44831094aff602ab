#include "backend/model/experts.hpp"

#include "backend/model/communication.hpp"
#include "backend/model/expert_dispatch.hpp"
#include "backend/model/operations.hpp"
#include "backend/model/tensor_parallel.hpp"

namespace windtunnel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using Counts = std::vector<std::int64_t>;

// A GEMM for each expert, one after another. The weight gradient is deferrable as a linear's.
class GroupedLinear : public Function<GroupedLinear> {
 public:
  // x [rows, in], `rows` of each expert one after another, weight [experts, out, in].
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x, const at::Tensor& weight,
                            const Counts& rows, std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    state->saved_data["rows"] = rows;
    state->save_for_backward({x, weight});
    return products(x, rows, weight.size(1),
                    [&](std::int64_t expert) { return weight[expert].t(); });
  }

  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    LayerContext& context = context_of(state);
    const variable_list saved = state->get_saved_variables();
    const Counts rows = state->saved_data["rows"].toIntVector();
    const at::Tensor output = gradients[0].contiguous();
    const at::Tensor of_x = products(output, rows, saved[1].size(2),
                                     [&](std::int64_t expert) { return saved[1][expert]; });
    if (context.deferred == nullptr) return {of_x, weight_gradient(output, saved[0], rows), {}, {}};
    context.deferred->push_back({saved[1], [x = saved[0], dy = output, rows]() mutable {
                                   const at::Tensor gradient = weight_gradient(dy, x, rows);
                                   x.reset();
                                   dy.reset();
                                   return gradient;
                                 }});
    return {of_x, {}, {}, {}};
  }

 private:
  template <class Matrix>
  static at::Tensor products(const at::Tensor& x, const Counts& rows, std::int64_t width,
                             const Matrix& matrix) {
    at::Tensor result = at::empty({x.size(0), width}, x.options());
    const auto ins = x.split_with_sizes(rows, 0), outs = result.split_with_sizes(rows, 0);
    for (std::size_t expert = 0; expert < rows.size(); ++expert) {
      at::Tensor out = outs[expert];
      if (rows[expert] > 0) at::mm_out(out, ins[expert], matrix(std::int64_t(expert)));
    }
    return result;
  }

  static at::Tensor weight_gradient(const at::Tensor& output, const at::Tensor& x,
                                    const Counts& rows) {
    const at::NoGradGuard no_gradients;
    at::Tensor result =
        at::zeros({std::int64_t(rows.size()), output.size(1), x.size(1)}, x.options());
    const auto outs = output.split_with_sizes(rows, 0), ins = x.split_with_sizes(rows, 0);
    for (std::size_t expert = 0; expert < rows.size(); ++expert) {
      at::Tensor of_expert = result[std::int64_t(expert)];
      if (rows[expert] > 0) at::mm_out(of_expert, outs[expert].t(), ins[expert]);
    }
    return result;
  }
};

// The logits as they are; the bias that chose by them gets its expert's part of the copies, less an
// even part, times `part`: those of this call's copies in the step's.
class Balanced : public Function<Balanced> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& logits,
                            const at::Tensor& bias, const at::Tensor& chosen, double part) {
    state->save_for_backward({bias, chosen});
    state->saved_data["part"] = part;
    return logits.view_as(logits);
  }

  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    const variable_list saved = state->get_saved_variables();
    const at::Tensor &bias = saved[0], &chosen = saved[1];
    const double experts = double(bias.numel());
    const at::Tensor got = at::bincount(chosen.reshape({-1}), {}, bias.numel()).to(at::kFloat);
    const at::Tensor excess = got.div(double(chosen.numel())).sub(1 / experts);
    return {gradients[0],
            excess.mul(state->saved_data["part"].toDouble()).to(bias.scalar_type()),
            {},
            {}};
  }
};

}  // namespace

MixtureOfExperts::MixtureOfExperts(ParameterDraws& draws, std::int64_t hidden,
                                   const ExpertShape& shape, LayerContext& context)
    : shape_(shape), context_(context) {
  router_ = draws.normal({shape.experts, hidden});
  if (shape.router_bias) bias_ = draws.constant(shape.experts, 0);
  experts_in_ = draws.experts({shape.experts, 2, shape.ffn, hidden}, 2);
  experts_out_ = draws.experts({shape.experts, hidden, shape.ffn}, 2);
  if (shape.shared_ffn == 0) return;
  shared_in_ = draws.stacked(2, shape.shared_ffn, hidden);
  shared_out_ = draws.normal({hidden, shape.shared_ffn}, Split::Second);
}

std::vector<at::Tensor> MixtureOfExperts::parameters() const {
  std::vector<at::Tensor> list = {router_};
  if (bias_.defined()) list.push_back(bias_);
  list.insert(list.end(), {experts_in_, experts_out_});
  if (shape_.shared_ffn > 0) list.insert(list.end(), {shared_in_, shared_out_});
  return list;
}

// Under sequence parallelism the tensor-parallel ranks have other tokens of the micro-batch.
double MixtureOfExperts::part_of_step() const {
  return context_.part_of_step / (splits_sequence(context_) ? context_.tensor_size() : 1);
}

at::Tensor MixtureOfExperts::operator()(const at::Tensor& x) const {
  const at::Tensor tokens = x.reshape({-1, x.size(-1)});
  at::Tensor logits = linear(tokens, router_, {}, context_).to(at::kFloat);
  const at::Tensor shifted = bias_.defined() ? logits.detach() + bias_.detach() : logits.detach();
  const at::Tensor chosen = std::get<1>(shifted.topk(shape_.per_token, 1));  // [n, k]
  if (bias_.defined()) logits = Balanced::apply(logits, bias_, chosen, part_of_step());
  const at::Tensor weights = logits.gather(1, chosen).softmax(1).to(x.scalar_type());

  const ExpertDispatch dispatch(chosen, weights, shape_, context_);
  const Counts& rows = dispatch.rows_of_expert();
  const std::int64_t handle = handle_of(context_);
  const at::Tensor inner =
      swiglu(GroupedLinear::apply(dispatch.to_experts(tokens), experts_in_, rows, handle));
  const at::Tensor copies =
      dispatch.to_tokens(GroupedLinear::apply(inner, experts_out_, rows, handle));
  const at::Tensor mixed = (copies * weights.unsqueeze(2)).sum(1).view(x.sizes());

  if (shape_.shared_ffn == 0) return mixed;
  const at::Tensor shared = swiglu(column_parallel_linear(x, shared_in_, {}, context_));
  return mixed + row_parallel_linear(shared, shared_out_, {}, context_);
}

}  // namespace windtunnel
