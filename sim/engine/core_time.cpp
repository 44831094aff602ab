#include "engine/core_time.hpp"

#include <utility>

namespace windtunnel {

CoreTime::CoreTime(std::size_t ranks, double seconds_per_byte, const Agenda& agenda)
    : seconds_per_byte_(seconds_per_byte), agenda_(agenda), ranks_(ranks) {}

void CoreTime::begin_compute(int rank) {
  ranks_[std::size_t(rank)].computes = true;
  ranks_[std::size_t(rank)].since = agenda_.now();
}

void CoreTime::end_compute(int rank) {
  ranks_[std::size_t(rank)].computed = computed(rank);
  ranks_[std::size_t(rank)].computes = false;
}

Seconds CoreTime::take_owed(int rank) {
  return std::exchange(ranks_[std::size_t(rank)].owed, Seconds(0));
}

CoreTime::Mark CoreTime::mark(int rank) const {
  return {agenda_.now(), computed(rank)};
}

void CoreTime::charge(int rank, Bytes bytes, const Mark& since) {
  const Seconds lasted = agenda_.now() - since.at;
  if (lasted.value <= 0) return;
  const double beside_compute = (computed(rank) - since.computed) / lasted;
  ranks_[std::size_t(rank)].owed += Seconds(seconds_per_byte_ * bytes.value * beside_compute);
}

Seconds CoreTime::computed(int rank) const {
  const Rank& state = ranks_[std::size_t(rank)];
  return state.computes ? state.computed + (agenda_.now() - state.since) : state.computed;
}

}  // namespace windtunnel
