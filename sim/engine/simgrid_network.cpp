// The only file that knows SimGrid. What it takes from SimGrid: the max-min solver, flows over
// lists of links, the event loop and its timers. Set so that a lone flow takes exactly bytes /
// bandwidth:
// - CM02 without cross-traffic, TCP-gamma out of reach: no window, no ACK share, no protocol
// factor. The
//   default model (LV08) is calibrated on TCP and is 6 % to 1000 % off for this field.
// - Link latencies are 0 (SimGrid weighs sharing by 1 / latency); latency is paid by a timer of the
// caller.
// - A routing zone that gives each flow the list of links which it was handed: rails, multi-link
// flows.
#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "engine/network.hpp"
#include "engine/simgrid_compat.hpp"

namespace windtunnel {

namespace {

using SimgridLink = simgrid::kernel::resource::StandardLinkImpl;

// SimGrid counts payload in whole units: 1/1024 byte keeps the fractions of a ring's chunks. 64
// bits of them are 16 PiB: no flow of the field comes near, and a larger one counts as half of
// that.
constexpr double kUnitsPerByte = 1024;
constexpr double kMostUnits = 0x1p63;
// A process's links are made at its first simulation, for later ones too: at least so many, and
// twice what the first one needs. A link takes a microsecond to make.
constexpr std::size_t kLeastLinks = 512;

class FlexibleZone final : public simgrid::kernel::routing::NetZoneImpl {
 public:
  explicit FlexibleZone(const std::string& name) : NetZoneImpl(name) {}
  void set_route(const std::vector<SimgridLink*>* links) { links_ = links; }
  void get_local_route(const simgrid::kernel::routing::NetPoint*,
                       const simgrid::kernel::routing::NetPoint*,
                       simgrid::kernel::routing::Route* into, double*) override {
    into->link_list_.insert(into->link_list_.end(), links_->begin(), links_->end());
  }
  void get_graph(const s_xbt_graph_t*, std::map<std::string, xbt_node_t, std::less<>>*,
                 std::map<std::string, xbt_edge_t, std::less<>>*) override {}

 private:
  const std::vector<SimgridLink*>* links_ = nullptr;
};

// A process has one SimGrid engine and one platform for its life: a second engine would start at
// the first one's clock with a sealed platform. Simulations take links from this pool one after the
// other.
class Platform {
 public:
  static Platform& instance(std::size_t links) {
    static Platform platform(std::max(2 * links, kLeastLinks));
    SIM_CHECK(links <= platform.links_.size(),
              "a later simulation of this process needs more links than the first one made");
    return platform;
  }

  simgrid::s4u::Link* link(std::size_t index) { return links_[index]; }
  void run() { engine_.run(); }

  // Starts a flow; `done` gets the slot when it has ended.
  void start(const std::vector<SimgridLink*>& route, double units, Token token) {
    const std::size_t slot = take_slot(token);
    zone_->set_route(&route);  // read while the flow starts
    auto flow = simgrid::s4u::Comm::sendto_init();
    flow->set_payload_size(static_cast<uint64_t>(std::min(std::round(units), kMostUnits)));
    // NOLINTNEXTLINE(performance-no-int-to-ptr): SimGrid's user data is a pointer, ours a number.
    flow->set_data(reinterpret_cast<void*>(slot + 1));
    flows_[slot] = flow;
    flow->set_source(from_);
    flow->set_destination(to_);
    if (flow->get_state() != simgrid::s4u::Activity::State::STARTED) flow->start();
  }

  const Network::Handler* handler = nullptr;

 private:
  explicit Platform(std::size_t count) : engine_(&argc_, argv_.data()) {
    using simgrid::s4u::Engine;
    for (const std::string option :
         {"network/model:CM02", "network/crosstraffic:0", "network/TCP-gamma:1e18"})
      Engine::set_config(option);
    Engine::set_config(std::string(simgrid_compat::kTimingPrecision) + ":1e-12");
    zone_ = new FlexibleZone("cluster");  // SimGrid owns its zones
    simgrid_compat::attach_to_root(engine_, zone_);
    simgrid::s4u::NetZone* zone = zone_->get_iface();
    from_ = simgrid_compat::add_host(zone, "from");
    to_ = simgrid_compat::add_host(zone, "to");
    for (std::size_t i = 0; i < count; ++i) {
      links_.push_back(simgrid_compat::add_link(zone, std::to_string(i), 1.0));
      links_.back()->seal();
    }
    zone->seal();
    simgrid_compat::on_flow_completion([this](const auto& flow) { completed(flow); });
  }

  std::size_t take_slot(Token token) {
    if (free_slots_.empty()) {
      flows_.emplace_back();
      tokens_.push_back(token);
      return flows_.size() - 1;
    }
    const std::size_t slot = free_slots_.back();
    free_slots_.pop_back();
    tokens_[slot] = token;
    return slot;
  }

  template <class Flow>
  void completed(const Flow& flow) {
    const auto slot = reinterpret_cast<std::size_t>(flow.template get_data<void>());
    if (slot == 0 || !flows_[slot - 1]) return;
    SIM_CHECK(flow.get_state() == simgrid::s4u::Activity::State::FINISHED, "a flow failed");
    // A flow must not be freed inside its own callback: it is kept until the next one ends.
    last_ended_ = std::move(flows_[slot - 1]);
    free_slots_.push_back(slot - 1);
    (*handler)(tokens_[slot - 1]);
  }

  int argc_ = 2;
  std::string name_ = "windtunnel", quiet_ = "--log=root.thresh:error";
  std::array<char*, 3> argv_ = {name_.data(), quiet_.data(), nullptr};
  simgrid::s4u::Engine engine_;
  FlexibleZone* zone_ = nullptr;
  simgrid::s4u::Host *from_ = nullptr, *to_ = nullptr;
  std::vector<simgrid::s4u::Link*> links_;
  std::vector<simgrid::s4u::ActivityPtr> flows_;
  std::vector<Token> tokens_;
  std::vector<std::size_t> free_slots_;
  simgrid::s4u::ActivityPtr last_ended_;
};

class SimgridNetwork final : public Network {
 public:
  explicit SimgridNetwork(const Wiring& wiring)
      : platform_(Platform::instance(wiring.capacities.size() + wiring.paths.size())),
        start_(simgrid::s4u::Engine::get_clock()) {
    for (std::size_t i = 0; i < wiring.capacities.size(); ++i)
      platform_.link(i)->set_bandwidth(wiring.capacities[i].value * kUnitsPerByte);
    for (const std::vector<LinkUse>& uses : wiring.paths) {
      Path path{.lone_rate = lone_rate(uses, wiring.capacities, Rate(0)),
                .limiter = platform_.link(wiring.capacities.size() + paths_.size())};
      for (const LinkUse& use : uses)
        path.links.insert(path.links.end(), std::size_t(use.times),
                          platform_.link(std::size_t(use.link))->get_impl());
      paths_.push_back(std::move(path));
    }
  }

  Seconds now() const override { return Seconds(simgrid::s4u::Engine::get_clock() - start_); }

  void after(Seconds delay, Token token) override {
    simgrid::kernel::timer::Timer::set(simgrid::s4u::Engine::get_clock() + delay.value,
                                       [this, token] { (*platform_.handler)(token); });
  }

  void flow(int index, Bytes bytes, Rate limit, Token token) override {
    Path& path = paths_[std::size_t(index)];
    const bool limited = limit.value > 0 && limit < path.lone_rate;
    if (limited) {
      path.limiter->set_bandwidth(limit.value * kUnitsPerByte);
      path.links.push_back(path.limiter->get_impl());
    }
    platform_.start(path.links, bytes.value * kUnitsPerByte, token);
    if (limited) path.links.pop_back();
  }

  void run(const Handler& handler) override {
    platform_.handler = &handler;
    platform_.run();
    platform_.handler = nullptr;
  }

 private:
  struct Path {
    std::vector<SimgridLink*> links;
    Rate lone_rate;
    // A link of its own that holds the flow to a rate: Comm::set_rate is ignored for such flows.
    simgrid::s4u::Link* limiter = nullptr;
  };

  Platform& platform_;
  double start_;
  std::vector<Path> paths_;
};

}  // namespace

std::unique_ptr<Network> make_simgrid_network(const Wiring& wiring) {
  return std::make_unique<SimgridNetwork>(wiring);
}

}  // namespace windtunnel
