#include "engine/channels.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace windtunnel {

Channels::Channels(const Communicators& communicators, const Layout& layout, bool by_rounds,
                   const CoreTime& core_time, Agenda& agenda, Traffic& traffic)
    : communicators_(communicators),
      layout_(layout),
      by_rounds_(by_rounds),
      core_time_(core_time),
      agenda_(agenda),
      traffic_(traffic),
      channels_(layout.channels.size()) {}

void Channels::join(int rank, int op, int use, const CollectiveCost& cost) {
  const int channel = layout_.channel_of_communicator[std::size_t(cost.communicator)];
  Channel& state = channels_[std::size_t(channel)];
  state.members.push_back({rank, op, {}});
  if (state.members.size() < layout_.channels[std::size_t(channel)].members.size()) return;
  for (Member& member : state.members) member.joined = core_time_.mark(member.rank);
  state.cost = &cost;
  state.size = communicators_.uses[std::size_t(use)].size;
  state.step = 0;
  state.rounds.clear();
  if (by_rounds_) state.rounds = rounds_of(channel);
  begin_step(channel);
}

// The flows of every round of the collective that begins. Sends of several channels between the
// same members are one flow: as fast as all of them, because a path's limit is for one flow.
std::vector<std::vector<Channels::EdgeFlow>> Channels::rounds_of(int channel) const {
  const Channel& state = channels_[std::size_t(channel)];
  const Layout::Channel& wired = layout_.channels[std::size_t(channel)];
  const Communicator& communicator = communicators_.all[std::size_t(state.cost->communicator)];
  // By round, of a byte of the data: the protocol's overhead, or the part of it that is sent.
  std::vector<double> on_wire;
  for (std::size_t i = 0; i < communicator.phases.size(); ++i) {
    const CommunicatorPhase& phase = communicator.phases[i];
    on_wire.insert(on_wire.end(), std::size_t(phase.rounds),
                   state.cost->steps[i].bytes / (state.size * phase.share));
  }
  std::vector<std::vector<EdgeFlow>> rounds;
  for (const Round& round : communicators_.rounds(state.cost->communicator, state.size)) {
    std::map<int, EdgeFlow> flows;  // by path
    for (const Send& send : round) {
      const int path = wired.path_of_edge.at({send.from, send.to});
      EdgeFlow& flow = flows[path];
      flow.path = path;
      flow.bytes += send.bytes * on_wire[std::min(rounds.size(), on_wire.size() - 1)];
      flow.limit += state.cost->steps.front().limit;
    }
    std::vector<EdgeFlow>& together = rounds.emplace_back();
    for (const auto& [path, flow] : flows) together.push_back(flow);
  }
  return rounds;
}

void Channels::begin_step(int channel) {
  const Channel& state = channels_[std::size_t(channel)];
  Seconds latency;
  if (state.rounds.empty()) {
    latency = state.cost->steps[state.step].latency;
  } else {
    for (const CollectiveStep& step : state.cost->steps) latency += step.latency;
    latency = latency / double(state.rounds.size());
  }
  agenda_.after(latency, {Event::StepLatency, channel});
}

// The flows of a channel's present step: one for a phase, one for each edge of a round.
template <class Visit>
void Channels::for_flows(int channel, const Visit& visit) const {
  const Channel& state = channels_[std::size_t(channel)];
  if (state.rounds.empty()) {
    const CollectiveStep& step = state.cost->steps[state.step];
    const Layout::Channel& wired = layout_.channels[std::size_t(channel)];
    visit(wired.path_of_phase[state.step], step.bytes, step.limit);
    return;
  }
  for (const EdgeFlow& flow : state.rounds[state.step]) visit(flow.path, flow.bytes, flow.limit);
}

void Channels::start_flows(int channel) {
  Channel& state = channels_[std::size_t(channel)];
  state.flowing = agenda_.now();
  state.flows = state.rounds.empty() ? 1 : int(state.rounds[state.step].size());
  for_flows(channel, [&](int path, Bytes bytes, Rate limit) {
    agenda_.flow(path, bytes, limit, {Event::FlowDone, channel});
  });
}

std::optional<Channels::Ended> Channels::flow_done(int channel) {
  Channel& state = channels_[std::size_t(channel)];
  if (--state.flows > 0) return std::nullopt;
  for_flows(channel, [&](int path, Bytes bytes, Rate) {
    traffic_.carry(path, bytes, state.flowing, agenda_.now());
  });
  const std::size_t steps = state.rounds.empty() ? state.cost->steps.size() : state.rounds.size();
  if (++state.step < steps) {
    begin_step(channel);
    return std::nullopt;
  }
  return Ended{std::exchange(state.members, {}), *state.cost};
}

}  // namespace windtunnel
