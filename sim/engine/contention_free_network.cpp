#include <limits>
#include <queue>

#include "base/check.hpp"
#include "engine/network.hpp"

namespace windtunnel {

Rate lone_rate(const std::vector<LinkUse>& uses, const std::vector<Rate>& capacities, Rate limit) {
  Rate rate = limit.value > 0 ? limit : Rate(std::numeric_limits<double>::infinity());
  for (const LinkUse& use : uses)
    rate = std::min(rate, capacities[std::size_t(use.link)] / double(use.times));
  return rate;
}

namespace {

class ContentionFreeNetwork final : public Network {
 public:
  explicit ContentionFreeNetwork(const Wiring& wiring) : wiring_(wiring) {}

  Seconds now() const override { return now_; }
  void after(Seconds delay, Token token) override {
    events_.push({now_ + delay, next_order_++, token});
  }
  void flow(int path, Bytes bytes, Rate limit, Token token) override {
    after(bytes / lone_rate(wiring_.paths[std::size_t(path)], wiring_.capacities, limit), token);
  }
  void run(const Handler& handler) override {
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.at;
      handler(event.token);
    }
  }

 private:
  struct Event {
    Seconds at;
    std::uint64_t order = 0;  // first come, first served among equal dates
    Token token = 0;
    bool operator<(const Event& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };
  Wiring wiring_;
  std::priority_queue<Event> events_;
  Seconds now_;
  std::uint64_t next_order_ = 0;
};

}  // namespace

std::unique_ptr<Network> make_contention_free_network(const Wiring& wiring) {
  return std::make_unique<ContentionFreeNetwork>(wiring);
}

}  // namespace windtunnel
