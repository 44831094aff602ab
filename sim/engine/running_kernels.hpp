// The kernels that run on one rank's GPU. A collective beside them takes a share of their speed; of
// several the largest share counts.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.hpp"
#include "engine/agenda.hpp"
#include "engine/compute_share.hpp"

namespace windtunnel {

class RunningKernels {
 public:
  RunningKernels(int rank, Agenda& agenda) : rank_(rank), agenda_(agenda) {}

  // Kernels that take `time` at full speed, `memory_part` of it in those that memory binds. They do
  // not end before `issued`, when the host has issued the last of them and it has run.
  void start(Seconds time, Seconds issued, double memory_part);
  // Of Event::KernelsDone. False: a change of speed has voided this timer.
  bool end(std::uint32_t timer);

  void take_share(const ComputeShare& share);
  void give_share_back(const ComputeShare& share);

 private:
  double speed() const;
  void set_timer();
  void change_speed();

  const int rank_;
  Agenda& agenda_;
  bool run_ = false;
  Seconds left_, since_, issued_;  // what is left at full speed since when
  double memory_part_ = 0, speed_ = 1;
  std::uint32_t timer_ = 0;
  std::vector<ComputeShare> shares_;  // of the collectives under way
};

}  // namespace windtunnel
