// SplitMix64's finaliser: a bijective 64-bit mix. Source: Steele, Lea, Flood 2014, "Fast splittable
// pseudorandom number generators", OOPSLA.
#pragma once

#include <cstdint>

namespace windtunnel {

constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace windtunnel
