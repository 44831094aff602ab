// Quantities with their unit in the type, so that only meaningful arithmetic compiles:
// Bytes / Rate = Seconds, Flops / FlopRate = Seconds, Rate * Seconds = Bytes, Watts * Seconds =
// Joules. Every quantity holds one double in the SI unit named below; integers up to 2^53 are
// exact.
#pragma once

#include <compare>

namespace windtunnel {

template <class Unit>
struct Quantity {
  double value = 0;

  constexpr Quantity() = default;
  explicit constexpr Quantity(double v) : value(v) {}

  constexpr auto operator<=>(const Quantity&) const = default;
  constexpr Quantity& operator+=(Quantity q) { return value += q.value, *this; }
  constexpr Quantity& operator-=(Quantity q) { return value -= q.value, *this; }
  friend constexpr Quantity operator+(Quantity a, Quantity b) {
    return Quantity(a.value + b.value);
  }
  friend constexpr Quantity operator-(Quantity a, Quantity b) {
    return Quantity(a.value - b.value);
  }
  friend constexpr Quantity operator*(Quantity a, double k) { return Quantity(a.value * k); }
  friend constexpr Quantity operator*(double k, Quantity a) { return Quantity(a.value * k); }
  friend constexpr Quantity operator/(Quantity a, double k) { return Quantity(a.value / k); }
  friend constexpr double operator/(Quantity a, Quantity b) { return a.value / b.value; }
};

using Seconds = Quantity<struct SecondUnit>;
using Bytes = Quantity<struct ByteUnit>;
using Rate = Quantity<struct BytePerSecondUnit>;  // bytes per second
using Flops = Quantity<struct FlopUnit>;          // floating point operations; 1 MAC = 2
using FlopRate = Quantity<struct FlopPerSecondUnit>;
using Watts = Quantity<struct WattUnit>;
using Joules = Quantity<struct JouleUnit>;
using Usd = Quantity<struct DollarUnit>;
using UsdPerHour = Quantity<struct DollarPerHourUnit>;

constexpr Seconds operator/(Bytes b, Rate r) {
  return Seconds(b.value / r.value);
}
constexpr Seconds operator/(Flops f, FlopRate r) {
  return Seconds(f.value / r.value);
}
constexpr Bytes operator*(Rate r, Seconds t) {
  return Bytes(r.value * t.value);
}
constexpr Joules operator*(Watts w, Seconds t) {
  return Joules(w.value * t.value);
}
constexpr Usd operator*(UsdPerHour p, Seconds t) {
  return Usd(p.value * t.value / 3600);
}

}  // namespace windtunnel
