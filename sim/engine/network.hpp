// The seam between our state machines and whatever moves time forward: timers and flows over links.
// Two implementations: SimGrid (links shared by max-min fairness) and a heap without contention.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/units.hpp"

namespace windtunnel {

using Token = std::uint64_t;  // what the caller gave; comes back when the time has come

struct LinkUse {
  int link = 0;
  int times = 1;  // a flow of rate x takes times * x of the link
};

class Network {
 public:
  // Called with each token at its time, in a deterministic order.
  using Handler = std::function<void(Token)>;

  virtual ~Network() = default;
  virtual Seconds now() const = 0;
  virtual void after(Seconds delay, Token token) = 0;
  // A transfer that is never faster than `limit` (0: only the links limit it). One flow at a time
  // may use the limit of a path. Requires bytes > 0.
  virtual void flow(int path, Bytes bytes, Rate limit, Token token) = 0;
  // Runs until nothing is left to happen.
  virtual void run(const Handler& handler) = 0;
};

// What a network is made of: links by their capacity, and the ways over them that flows take.
struct Wiring {
  std::vector<Rate> capacities;
  std::vector<std::vector<LinkUse>> paths;
};
std::unique_ptr<Network> make_simgrid_network(const Wiring& wiring);
std::unique_ptr<Network> make_contention_free_network(const Wiring& wiring);

// The rate of a flow that has its path for itself.
Rate lone_rate(const std::vector<LinkUse>& uses, const std::vector<Rate>& capacities, Rate limit);

}  // namespace windtunnel
