#include "model/token_routing.hpp"

#include <algorithm>

namespace windtunnel {
namespace {

// That none of k picks of `all` is outside of `allowed`: C(allowed, k) / C(all, k).
double all_within(double allowed, double all, int k) {
  double chance = 1;
  for (int i = 0; i < k; ++i) chance *= std::max(0.0, allowed - i) / (all - i);
  return chance;
}

double binomial(int n, int k) {
  if (k < 0 || k > n) return 0;
  double ways = 1;
  for (int i = 1; i <= k; ++i) ways = ways * (n - k + i) / i;
  return ways;
}

// That a part has none of a token's experts.
double chance_of_none(const TokenRouting& r, int parts) {
  const double experts = r.experts, each = experts / parts;
  const bool has_groups = r.groups > 1 && (r.groups % parts == 0 || parts % r.groups == 0);
  if (!has_groups) return all_within(experts - each, experts, r.per_token);
  const double group = experts / r.groups, open = group * r.chosen_groups;
  if (parts > r.groups) {  // a part of one group
    const double is_chosen = double(r.chosen_groups) / r.groups;
    return 1 - is_chosen + is_chosen * all_within(open - each, open, r.per_token);
  }
  const int held = r.groups / parts;
  double chance = 0;
  for (int chosen = 0; chosen <= std::min(held, r.chosen_groups); ++chosen)
    chance += binomial(held, chosen) * binomial(r.groups - held, r.chosen_groups - chosen) /
              binomial(r.groups, r.chosen_groups) *
              all_within(open - chosen * group, open, r.per_token);
  return chance;
}

}  // namespace

double parts_of_token(const TokenRouting& routing, int parts) {
  return parts * (1 - chance_of_none(routing, parts));
}

}  // namespace windtunnel
