// What autograd functions that communicate have in common.
#pragma once

#include "backend/model/layer_module.hpp"

namespace windtunnel {

// Autograd keeps integers beside tensors, under the name "context": it outlives every pass.
std::int64_t handle_of(LayerContext& context);
LayerContext& context_of(torch::autograd::AutogradContext* state);

// Runs the collective, for which this rank's compute stream waits.
void communicate(LayerContext& context, const std::function<void()>& collective);
// Only what the collective takes longer than the computation is waited for.
void communicate_beside(LayerContext& context, const std::function<void()>& collective,
                        const std::function<void()>& computation);

}  // namespace windtunnel
