#include "backend/model/communication.hpp"

namespace windtunnel {

std::int64_t handle_of(LayerContext& context) {
  return reinterpret_cast<std::int64_t>(&context);
}

LayerContext& context_of(torch::autograd::AutogradContext* state) {
  return *reinterpret_cast<LayerContext*>(state->saved_data["context"].toInt());
}

void communicate(LayerContext& context, const std::function<void()>& collective) {
  if (context.waiting)
    context.waiting(collective);
  else
    collective();
}

void communicate_beside(LayerContext& context, const std::function<void()>& collective,
                        const std::function<void()>& computation) {
  if (!context.beside) {
    communicate(context, collective);
    computation();
    return;
  }
  std::function<void()> wait;
  communicate(context, [&] { wait = context.beside(collective); });
  computation();
  communicate(context, wait);
}

}  // namespace windtunnel
