#include "backend/calibrate/collective_call.hpp"

#include <algorithm>

namespace windtunnel {

CollectiveCall::CollectiveCall(Group& group, CollectiveKind kind, CollectivePurpose purpose,
                               std::int64_t bytes, at::Device place)
    : group_(group), kind_(kind), purpose_(purpose) {
  const at::TensorOptions options = at::TensorOptions(at::kFloat).device(place);
  part_ = at::zeros({std::max<std::int64_t>(1, bytes / 4 / group.size())}, options);
  whole_ = at::zeros({part_.numel() * group.size()}, options);
  const bool keeps_whole =
      purpose == CollectivePurpose::Weights || kind == CollectiveKind::AllToAll;
  kept_ = at::zeros_like(keeps_whole ? whole_ : part_);
}

void CollectiveCall::run() {
  const at::NoGradGuard no_gradients;
  const double scale = 1.0 / group_.size();
  const bool plain = purpose_ == CollectivePurpose::Plain;
  switch (kind_) {
    case CollectiveKind::AllReduce:
      group_.all_reduce(whole_);
      if (!plain) whole_.mul_(scale);
      return;
    case CollectiveKind::ReduceScatter:
      group_.reduce_scatter(part_, whole_);
      if (plain) return;
      whole_.zero_();
      kept_.add_(part_, scale);
      return;
    case CollectiveKind::AllGather:
      group_.all_gather(whole_, part_);
      if (!plain) kept_.copy_(whole_);
      return;
    case CollectiveKind::AllToAll:
      group_.all_to_all(kept_.chunk(group_.size()), whole_.chunk(group_.size()));
      return;
    default:
      group_.broadcast(whole_, 0);
  }
}

}  // namespace windtunnel
