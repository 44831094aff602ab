#include "plan/plan.hpp"

namespace windtunnel {

std::vector<std::vector<int>> ddp_buckets(const std::vector<Bytes>& tensors, Bytes first_limit,
                                          Bytes limit, std::optional<int> alone) {
  std::vector<std::vector<int>> buckets;
  std::vector<int> open;
  Bytes open_bytes, open_limit = first_limit;
  const auto close = [&] {
    if (open.empty()) return;
    buckets.push_back(std::move(open));
    open = {};
    open_bytes = Bytes(0);
    open_limit = limit;
  };
  for (int i = 0; i < int(tensors.size()); ++i) {
    if (i == alone) close();
    open.push_back(i);
    open_bytes += tensors[std::size_t(i)];
    if (i == alone || open_bytes >= open_limit) close();
  }
  close();
  return buckets;
}

}  // namespace windtunnel
