// What kernels lose to a collective that runs beside them.
#pragma once

#include <compare>

namespace windtunnel {

// Parts of their speed.
struct ComputeShare {
  double of_arithmetic = 0;  // of kernels that arithmetic binds: GEMMs, attention, convolutions
  double of_memory = 0;      // of the others
  auto operator<=>(const ComputeShare&) const = default;

  // Of kernels that memory binds for this part of their time alone: each kind takes longer by its
  // own share.
  double of(double memory_part) const {
    if (of_arithmetic == of_memory) return of_memory;
    return 1 - 1 / ((1 - memory_part) / (1 - of_arithmetic) + memory_part / (1 - of_memory));
  }
};

}  // namespace windtunnel
