// Which experts a token goes to, as far as it decides how far its copies travel.
#pragma once

#include <compare>

namespace windtunnel {

// `per_token` of `experts`, all alike; with `groups`, all of them in `chosen_groups` groups of
// neighbouring experts (device- and node-limited routing: DeepSeek-AI 2024, arXiv:2412.19437,
// section 2.1.2; Megatron's moe_router_num_groups and moe_router_group_topk).
struct TokenRouting {
  int experts = 0;  // 0: nobody asks
  int per_token = 0;
  int groups = 0, chosen_groups = 0;  // 0: no groups
  auto operator<=>(const TokenRouting&) const = default;
};

// The mean number of N equal parts of the experts (in order) that have one of a token's. Groups
// count where parts are made of whole groups or groups of whole parts.
double parts_of_token(const TokenRouting& routing, int parts);

}  // namespace windtunnel
