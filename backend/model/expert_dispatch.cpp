#include "backend/model/expert_dispatch.hpp"

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

// Rows in another order, where autograd's own backward would add up, in no order on a GPU.
class Reordered : public Function<Reordered> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x, const at::Tensor& order,
                            const at::Tensor& inverse) {
    state->save_for_backward({inverse});
    return x.index_select(0, order);
  }
  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    return {gradients[0].index_select(0, state->get_saved_variables()[0]), {}, {}};
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

}  // namespace

ExpertDispatch::ExpertDispatch(const at::Tensor& chosen, std::int64_t experts,
                               LayerContext& context)
    : context_(context), tokens_(chosen.size(0)), per_token_(chosen.size(1)) {
  const at::NoGradGuard no_gradients;
  const at::Tensor flat = chosen.reshape({-1});
  by_expert_ = std::get<1>(flat.sort(/*stable=*/true, 0, /*descending=*/false));
  by_token_ = inverse_of(by_expert_);
  const std::int64_t ranks = LayerContext::size_of(context.expert), local = experts / ranks;
  const at::Tensor counts = at::bincount(flat, {}, experts);
  sent_ = counts_of(counts.view({ranks, local}).sum(1));
  // From each rank of the expert group to each of this rank's experts.
  const at::Tensor arriving = rows_of_all(counts, context.expert, context)
                                  .narrow(1, LayerContext::rank_in(context.expert) * local, local);
  received_ = counts_of(arriving.sum(1));
  const at::Tensor of_members = rows_of_all(arriving.reshape({-1}), context.expert_tensor, context);
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
  at::Tensor rows = Reordered::apply(copies, by_expert_, by_token_);
  if (context_.expert) rows = Exchanged::apply(rows, sent_, received_, handle_of(context_));
  if (context_.expert_tensor) rows = Gathered::apply(rows, of_member_, handle_of(context_));
  return Reordered::apply(rows, sorted_, arrived_);
}

at::Tensor ExpertDispatch::to_tokens(const at::Tensor& sorted) const {
  at::Tensor rows = Reordered::apply(sorted, arrived_, sorted_);
  if (context_.expert_tensor) rows = Summed::apply(rows, of_member_, handle_of(context_));
  if (context_.expert) rows = Exchanged::apply(rows, received_, sent_, handle_of(context_));
  return Reordered::apply(rows, by_token_, by_expert_).view({tokens_, per_token_, -1});
}

}  // namespace windtunnel
