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
// - A flow that has all its links for itself is a timer, which is what SimGrid would make of it at
// many times the price; SimGrid gets the rest of it when another flow comes.
#include <algorithm>
#include <cmath>
#include <functional>

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

  // Gets the token of each flow that has ended.
  std::function<void(Token)> on_end;

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
    on_end(tokens_[slot - 1]);
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
        start_(simgrid::s4u::Engine::get_clock()),
        links_(wiring.capacities.size()) {
    for (std::size_t i = 0; i < wiring.capacities.size(); ++i)
      platform_.link(i)->set_bandwidth(wiring.capacities[i].value * kUnitsPerByte);
    for (const std::vector<LinkUse>& uses : wiring.paths) {
      Path path{.lone_rate = lone_rate(uses, wiring.capacities, Rate(0)),
                .limiter = platform_.link(wiring.capacities.size() + paths_.size())};
      for (const LinkUse& use : uses) {
        path.links.push_back(std::size_t(use.link));
        path.route.insert(path.route.end(), std::size_t(use.times),
                          platform_.link(std::size_t(use.link))->get_impl());
      }
      paths_.push_back(std::move(path));
    }
  }

  Seconds now() const override { return Seconds(simgrid::s4u::Engine::get_clock() - start_); }

  void after(Seconds delay, Token token) override {
    simgrid::kernel::timer::Timer::set(simgrid::s4u::Engine::get_clock() + delay.value,
                                       [this, token] { (*handler_)(token); });
  }

  void flow(int path, Bytes bytes, Rate limit, Token token) override {
    const std::size_t index = take(path, limit, token);
    bool is_alone = true;
    for (const std::size_t link : paths_[std::size_t(path)].links) {
      Link& used = links_[link];
      if (used.lone != kNone) share(used.lone);
      if (used.flows++ > 0) is_alone = false;
    }
    if (is_alone)
      start_lone(index, bytes);
    else
      start_shared(index, bytes);
  }

  void run(const Handler& handler) override {
    handler_ = &handler;
    platform_.on_end = [this](Token index) { end(index); };
    platform_.run();
    platform_.on_end = nullptr;
    handler_ = nullptr;
  }

 private:
  static constexpr std::size_t kNone = std::size_t(-1);

  struct Path {
    std::vector<std::size_t> links;
    std::vector<SimgridLink*> route;  // a link as often as a flow takes of it
    Rate lone_rate;
    // A link of its own that holds the flow to a rate: Comm::set_rate is ignored for such flows.
    simgrid::s4u::Link* limiter = nullptr;
  };

  struct Link {
    int flows = 0;             // under way
    std::size_t lone = kNone;  // the one that is a timer
  };

  struct Flow {
    int path = 0;
    Rate rate;             // by itself
    bool limited = false;  // to that rate, below what its links give
    Token token = 0;
    simgrid::kernel::timer::Timer* timer = nullptr;  // of a lone flow
    Seconds end;
  };

  std::size_t take(int path, Rate limit, Token token) {
    const Rate lone = paths_[std::size_t(path)].lone_rate;
    const bool limited = limit.value > 0 && limit < lone;
    std::size_t index = flows_.size();
    if (free_.empty()) {
      flows_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    flows_[index] = {
        .path = path, .rate = limited ? limit : lone, .limited = limited, .token = token};
    return index;
  }

  void start_lone(std::size_t index, Bytes bytes) {
    Flow& flow = flows_[index];
    flow.end = now() + bytes / flow.rate;
    flow.timer =
        simgrid::kernel::timer::Timer::set(start_ + flow.end.value, [this, index] { end(index); });
    for (const std::size_t link : paths_[std::size_t(flow.path)].links) links_[link].lone = index;
  }

  // A lone flow goes on as one of several. One that ends at this very moment stays what it is.
  void share(std::size_t index) {
    Flow& flow = flows_[index];
    const Bytes rest = flow.rate * (flow.end - now());
    if (rest.value * kUnitsPerByte < 1) return;
    flow.timer->remove();
    flow.timer = nullptr;
    for (const std::size_t link : paths_[std::size_t(flow.path)].links) links_[link].lone = kNone;
    start_shared(index, rest);
  }

  void start_shared(std::size_t index, Bytes bytes) {
    const Flow& flow = flows_[index];
    Path& path = paths_[std::size_t(flow.path)];
    if (flow.limited) {
      path.limiter->set_bandwidth(flow.rate.value * kUnitsPerByte);
      path.route.push_back(path.limiter->get_impl());
    }
    platform_.start(path.route, bytes.value * kUnitsPerByte, index);
    if (flow.limited) path.route.pop_back();
  }

  void end(std::size_t index) {
    const Flow flow = flows_[index];
    for (const std::size_t link : paths_[std::size_t(flow.path)].links) {
      --links_[link].flows;
      if (links_[link].lone == index) links_[link].lone = kNone;
    }
    free_.push_back(index);
    (*handler_)(flow.token);
  }

  Platform& platform_;
  double start_;
  const Handler* handler_ = nullptr;
  std::vector<Link> links_;
  std::vector<Path> paths_;
  std::vector<Flow> flows_;
  std::vector<std::size_t> free_;
};

}  // namespace

std::unique_ptr<Network> make_simgrid_network(const Wiring& wiring) {
  return std::make_unique<SimgridNetwork>(wiring);
}

}  // namespace windtunnel
