#include "plan/plan.hpp"

namespace windtunnel {

std::vector<std::vector<int>> ddp_buckets(const std::vector<Bytes>& tensors, Bytes first_limit,
                                          Bytes limit) {
  std::vector<std::vector<int>> buckets;
  std::vector<int> open;
  Bytes open_bytes, open_limit = first_limit;
  for (int i = 0; i < int(tensors.size()); ++i) {
    open.push_back(i);
    open_bytes += tensors[std::size_t(i)];
    if (open_bytes < open_limit) continue;
    buckets.push_back(std::move(open));
    open = {};
    open_bytes = Bytes(0);
    open_limit = limit;
  }
  if (!open.empty()) buckets.push_back(std::move(open));
  return buckets;
}

}  // namespace windtunnel
