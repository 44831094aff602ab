// Groups of CPU tensors over TCP: Gloo through LibTorch's c10d.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/comm/group.hpp"
#include "backend/comm/store.hpp"

namespace windtunnel {

// `store` is the group's own part of the store, `members` are ranks of the job in group order and
// `rank` is this process's index among them. All-reduce and broadcast are Gloo's (segmented ring;
// binomial tree: gloo docs/algorithms.md). Reduce-scatter and all-gather are rings over send and
// receive: Gloo's reduce-scatter throws (LibTorch 1.13) or moves twice the bytes (2.6), and its
// all-gather copies through a flat tensor. Each rank sends 2(n-1)/n of an all-reduced tensor and
// (n-1)/n of `whole`.
std::unique_ptr<Group> make_gloo_group(const StorePointer& store, const std::string& name,
                                       const std::vector<int>& members, int rank,
                                       const Place& place, Milliseconds limit);

}  // namespace windtunnel
