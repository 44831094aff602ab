// The collectives under way, one at a time on a channel: latencies and flows, phase by phase or
// round by round, from when the last member has come.
#pragma once

#include <optional>
#include <vector>

#include "engine/agenda.hpp"
#include "engine/communicators.hpp"
#include "engine/core_time.hpp"
#include "engine/layout.hpp"
#include "engine/traffic.hpp"

namespace windtunnel {

class Channels {
 public:
  // All must outlive it. `by_rounds`: every round of every collective has flows of its own.
  Channels(const Communicators& communicators, const Layout& layout, bool by_rounds,
           const CoreTime& core_time, Agenda& agenda, Traffic& traffic);

  struct Member {
    int rank = 0, op = 0;   // simulated
    CoreTime::Mark joined;  // when the last member came
  };
  struct Ended {
    std::vector<Member> members;
    const CollectiveCost& cost;
  };

  // A rank comes with one of its ops to a collective: an index into Communicators::uses and its
  // cost, which is not that of a group of one.
  void join(int rank, int op, int use, const CollectiveCost& cost);
  void start_flows(int channel);                // of Event::StepLatency
  std::optional<Ended> flow_done(int channel);  // of Event::FlowDone; set: it was the last

 private:
  struct EdgeFlow {
    int path = 0;
    Bytes bytes;
    Rate limit;
  };
  struct Channel {
    std::vector<Member> members;  // that have come
    const CollectiveCost* cost = nullptr;
    Bytes size;
    std::size_t step = 0;  // phase, or round
    std::vector<std::vector<EdgeFlow>> rounds;
    int flows = 0;    // under way
    Seconds flowing;  // since when
  };
  std::vector<std::vector<EdgeFlow>> rounds_of(int channel) const;
  void begin_step(int channel);
  template <class Visit>
  void for_flows(int channel, const Visit& visit) const;

  const Communicators& communicators_;
  const Layout& layout_;
  const bool by_rounds_;
  const CoreTime& core_time_;
  Agenda& agenda_;
  Traffic& traffic_;
  std::vector<Channel> channels_;
};

}  // namespace windtunnel
