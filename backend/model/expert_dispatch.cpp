#include "backend/model/expert_dispatch.hpp"

#include <cmath>
#include <numeric>

#include "backend/model/communication.hpp"

namespace windtunnel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using Counts = std::vector<std::int64_t>;

std::int64_t total(const Counts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

// `counts` rows each.
std::vector<at::Tensor> split_rows(const at::Tensor& x, const Counts& counts) {
  return x.split_with_sizes(counts, 0);
}

at::Tensor empty_rows(std::int64_t rows, const at::Tensor& like) {
  return at::empty({rows, like.size(1)}, like.options());
}

// Zeros for a row behind the last.
at::Tensor selected_rows(const at::Tensor& x, const at::Tensor& rows, bool has_gaps) {
  if (!has_gaps) return x.index_select(0, rows);
  return at::cat({x, at::zeros({1, x.size(1)}, x.options())}).index_select(0, rows);
}

// Rows in another order, where autograd's own backward would add up, in no order on a GPU.
class Reordered : public Function<Reordered> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x, const at::Tensor& order,
                            const at::Tensor& inverse, bool has_gaps) {
    state->save_for_backward({inverse});
    state->saved_data["has_gaps"] = has_gaps;
    return selected_rows(x, order, has_gaps);
  }
  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    const at::Tensor inverse = state->get_saved_variables()[0];
    return {
        selected_rows(gradients[0], inverse, state->saved_data["has_gaps"].toBool()), {}, {}, {}};
  }
};

// Rows to the ranks of the expert group and from them.
at::Tensor exchanged(const at::Tensor& x, const Counts& sent, const Counts& received,
                     LayerContext& context) {
  const at::Tensor result = empty_rows(total(received), x), rows = x.contiguous();
  communicate(context, [&] {
    context.expert->all_to_all(split_rows(result, received), split_rows(rows, sent));
  });
  return result;
}

class Exchanged : public Function<Exchanged> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x, const Counts& sent,
                            const Counts& received, std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    state->saved_data["sent"] = sent;
    state->saved_data["received"] = received;
    return exchanged(x, sent, received, context_of(state));
  }
  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    const Counts sent = state->saved_data["sent"].toIntVector();
    const Counts received = state->saved_data["received"].toIntVector();
    return {exchanged(gradients[0], received, sent, context_of(state)), {}, {}, {}};
  }
};

// The rows of all ranks of the expert-tensor group, of which each has another number: an all-gather
// made of messages.
at::Tensor gathered(const at::Tensor& own, const Counts& of_member, LayerContext& context) {
  const at::Tensor result = empty_rows(total(of_member), own), rows = own.contiguous();
  communicate(context, [&] {
    context.expert_tensor->all_to_all(split_rows(result, of_member),
                                      std::vector<at::Tensor>(of_member.size(), rows));
  });
  return result;
}

// This rank's rows of the sum over the group: a reduce-scatter made of messages, added up in the
// order of the ranks.
at::Tensor summed(const at::Tensor& all, const Counts& of_member, LayerContext& context) {
  const std::int64_t own = of_member[std::size_t(context.expert_tensor->rank())];
  const at::Tensor shares =
      at::empty({std::int64_t(of_member.size()), own, all.size(1)}, all.options());
  const at::Tensor rows = all.contiguous();
  communicate(context, [&] {
    context.expert_tensor->all_to_all(shares.unbind(0), split_rows(rows, of_member));
  });
  return shares.sum(0);
}

class Gathered : public Function<Gathered> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& own, const Counts& of_member,
                            std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    state->saved_data["of_member"] = of_member;
    return gathered(own, of_member, context_of(state));
  }
  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    const Counts of_member = state->saved_data["of_member"].toIntVector();
    return {summed(gradients[0], of_member, context_of(state)), {}, {}};
  }
};

class Summed : public Function<Summed> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& all, const Counts& of_member,
                            std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    state->saved_data["of_member"] = of_member;
    return summed(all, of_member, context_of(state));
  }
  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    const Counts of_member = state->saved_data["of_member"].toIntVector();
    return {gathered(gradients[0], of_member, context_of(state)), {}, {}};
  }
};

at::Tensor inverse_of(const at::Tensor& order) {
  return at::empty_like(order).scatter_(0, order, at::arange(order.numel(), order.options()));
}

// The values of all members, one row each.
at::Tensor rows_of_all(const at::Tensor& own, Group* group, LayerContext& context) {
  if (group == nullptr) return own.unsqueeze(0);
  const at::Tensor all = at::empty({group->size(), own.numel()}, own.options());
  communicate(context, [&] { group->all_gather(all, own.contiguous()); });
  return all;
}

Counts counts_of(const at::Tensor& values) {
  const at::Tensor host = values.to(at::kCPU).contiguous();
  return {host.data_ptr<std::int64_t>(), host.data_ptr<std::int64_t>() + host.numel()};
}

// Places of rows that come in runs of `counts` [senders, experts], sorted by expert and within one
// by sender.
at::Tensor sorted_by_expert(const at::Tensor& counts) {
  const Counts runs = counts_of(counts);
  const std::int64_t senders = counts.size(0), experts = counts.size(1);
  Counts starts(runs.size());
  std::exclusive_scan(runs.begin(), runs.end(), starts.begin(), std::int64_t{0});
  std::vector<at::Tensor> places;
  for (std::int64_t expert = 0; expert < experts; ++expert)
    for (std::int64_t sender = 0; sender < senders; ++sender) {
      const std::size_t run = std::size_t(sender * experts + expert);
      places.push_back(at::arange(starts[run], starts[run] + runs[run], at::kLong));
    }
  return at::cat(places).to(counts.device());
}

// Rows of each expert; 0: as many as there are.
std::int64_t capacity_of(const ExpertShape& shape, std::int64_t copies) {
  return std::int64_t(std::ceil(double(copies) / double(shape.experts) * shape.capacity_factor));
}

}  // namespace

ExpertDispatch::ExpertDispatch(const at::Tensor& chosen, const at::Tensor& weights,
                               const ExpertShape& shape, LayerContext& context)
    : context_(context), tokens_(chosen.size(0)), per_token_(chosen.size(1)) {
  const at::NoGradGuard no_gradients;
  const at::Tensor experts = chosen.reshape({-1});
  capacity_ = capacity_of(shape, experts.numel());
  if (capacity_ > 0)
    place_within_capacity(experts, weights.reshape({-1}), shape.experts);
  else
    place_all(experts, shape.experts);
  count_rows(shape.experts);
}

// Stable sorts: equals stay in the order of the tokens.
void ExpertDispatch::place_all(const at::Tensor& experts, std::int64_t count) {
  by_expert_ = std::get<1>(experts.sort(/*stable=*/true, 0, /*descending=*/false));
  by_token_ = inverse_of(by_expert_);
  counts_ = at::bincount(experts, {}, count);
}

void ExpertDispatch::place_within_capacity(const at::Tensor& experts, const at::Tensor& weights,
                                           std::int64_t count) {
  const at::Tensor by_weight = std::get<1>(weights.sort(/*stable=*/true, 0, /*descending=*/true));
  const auto [expert, order] =
      experts.index_select(0, by_weight).sort(/*stable=*/true, 0, /*descending=*/false);
  const at::Tensor wanted = at::bincount(experts, {}, count);
  const at::Tensor first = (wanted.cumsum(0) - wanted).index_select(0, expert);
  const at::Tensor rank = at::arange(expert.numel(), expert.options()) - first;
  const at::Tensor is_kept = rank < capacity_;
  const at::Tensor copies = by_weight.index_select(0, order).masked_select(is_kept);
  const at::Tensor places = (expert * capacity_ + rank).masked_select(is_kept);
  by_expert_ = at::full({count * capacity_}, experts.numel(), experts.options());
  by_expert_.scatter_(0, places, copies);
  by_token_ = at::full({experts.numel()}, count * capacity_, experts.options());
  by_token_.scatter_(0, copies, places);
  counts_ = at::full({count}, capacity_, experts.options());
}

void ExpertDispatch::count_rows(std::int64_t experts) {
  const std::int64_t ranks = LayerContext::size_of(context_.expert), local = experts / ranks;
  sent_ = counts_of(counts_.view({ranks, local}).sum(1));
  // From each rank of the expert group to each of this rank's experts.
  const at::Tensor arriving = rows_of_all(counts_, context_.expert, context_)
                                  .narrow(1, LayerContext::rank_in(context_.expert) * local, local);
  received_ = counts_of(arriving.sum(1));
  const at::Tensor of_members =
      rows_of_all(arriving.reshape({-1}), context_.expert_tensor, context_);
  of_member_ = counts_of(of_members.sum(1));
  const at::Tensor runs = of_members.reshape({-1, local});
  rows_of_expert_ = counts_of(runs.sum(0));
  sorted_ = sorted_by_expert(runs);
  arrived_ = inverse_of(sorted_);
}

at::Tensor ExpertDispatch::to_experts(const at::Tensor& tokens) const {
  const std::int64_t features = tokens.size(1);
  const at::Tensor copies =
      tokens.unsqueeze(1).expand({tokens_, per_token_, features}).reshape({-1, features});
  at::Tensor rows = Reordered::apply(copies, by_expert_, by_token_, capacity_ > 0);
  if (context_.expert) rows = Exchanged::apply(rows, sent_, received_, handle_of(context_));
  if (context_.expert_tensor) rows = Gathered::apply(rows, of_member_, handle_of(context_));
  return Reordered::apply(rows, sorted_, arrived_, false);
}

at::Tensor ExpertDispatch::to_tokens(const at::Tensor& sorted) const {
  at::Tensor rows = Reordered::apply(sorted, arrived_, sorted_, false);
  if (context_.expert_tensor) rows = Summed::apply(rows, of_member_, handle_of(context_));
  if (context_.expert) rows = Exchanged::apply(rows, received_, sent_, handle_of(context_));
  return Reordered::apply(rows, by_token_, by_expert_, capacity_ > 0)
      .view({tokens_, per_token_, -1});
}

}  // namespace windtunnel
