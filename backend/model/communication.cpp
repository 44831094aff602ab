#include "backend/model/communication.hpp"

#include <algorithm>
#include <chrono>

namespace windtunnel {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

std::int64_t handle_of(LayerContext& context) {
  return reinterpret_cast<std::int64_t>(&context);
}

LayerContext& context_of(torch::autograd::AutogradContext* state) {
  return *reinterpret_cast<LayerContext*>(state->saved_data["context"].toInt());
}

void communicate(LayerContext& context, const std::function<void()>& collective) {
  const Clock::time_point start = Clock::now();
  collective();
  context.communication += Seconds(seconds_since(start));
}

void communicate_beside(LayerContext& context, const std::function<void()>& collective,
                        const std::function<void()>& computation) {
  double computing = 0;
  const auto timed = [&] {
    const Clock::time_point start = Clock::now();
    computation();
    computing = seconds_since(start);
  };
  const Clock::time_point start = Clock::now();
  if (context.beside) {
    context.beside(collective, timed);
  } else {
    collective();
    timed();
  }
  context.communication += Seconds(std::max(0.0, seconds_since(start) - computing));
}

}  // namespace windtunnel
