// A collective as the executor calls it, with what it does to the result (ParameterStore).
#pragma once

#include <cstdint>

#include "backend/comm/group.hpp"
#include "plan/profile.hpp"

namespace windtunnel {

class CollectiveCall {
 public:
  // On fp32 tensors of `bytes`, as collectives/ counts them, on `place`.
  CollectiveCall(Group& group, CollectiveKind kind, CollectivePurpose purpose, std::int64_t bytes,
                 at::Device place);
  void run();

 private:
  Group& group_;
  CollectiveKind kind_;
  CollectivePurpose purpose_;
  at::Tensor part_, whole_, kept_;
};

}  // namespace windtunnel
