// The kernels that run on one rank's GPU. A collective beside them takes a share of the GPU; of
// several the largest share counts.
#pragma once

#include <cstdint>
#include <set>

#include "base/units.hpp"
#include "engine/agenda.hpp"

namespace windtunnel {

class RunningKernels {
 public:
  RunningKernels(int rank, Agenda& agenda) : rank_(rank), agenda_(agenda) {}

  // Kernels that take `time` at full speed. They do not end before `issued`, when the host
  // has issued the last of them and it has run.
  void start(Seconds time, Seconds issued);
  // Of Event::KernelsDone. False: a change of speed has voided this timer.
  bool end(std::uint32_t timer);

  void take_share(double share);
  void give_share_back(double share);

 private:
  void set_timer();
  void change_speed();

  const int rank_;
  Agenda& agenda_;
  bool run_ = false;
  Seconds left_, since_, issued_;  // what is left at full speed since when
  double speed_ = 1;
  std::uint32_t timer_ = 0;
  std::multiset<double> shares_;
};

}  // namespace windtunnel
