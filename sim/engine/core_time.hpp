// Core time that communication takes from compute. While a rank sends and receives, its cores copy
// the bytes at an even pace; what falls into compute delays the rank's next compute op, the rest
// falls into time in which it waits anyway.
#pragma once

#include <vector>

#include "base/units.hpp"
#include "engine/agenda.hpp"

namespace windtunnel {

class CoreTime {
 public:
  CoreTime(std::size_t ranks, double seconds_per_byte, const Agenda& agenda);

  // The compute ops of a rank, one at a time.
  void begin_compute(int rank);
  void end_compute(int rank);
  // What copies have cost since the last call.
  Seconds take_owed(int rank);

  // Taken when communication begins and given back when it ends, with the bytes that the rank has
  // sent and received meanwhile.
  struct Mark {
    Seconds at, computed;
  };
  Mark mark(int rank) const;
  void charge(int rank, Bytes bytes, const Mark& since);

 private:
  struct Rank {
    bool computes = false;
    Seconds since;     // the compute op under way
    Seconds computed;  // in those that have ended
    Seconds owed;
  };
  Seconds computed(int rank) const;

  const double seconds_per_byte_;
  const Agenda& agenda_;
  std::vector<Rank> ranks_;
};

}  // namespace windtunnel
