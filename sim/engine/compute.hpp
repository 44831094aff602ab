// The compute op under way on one rank: its segments, each of kernels and perhaps a collective
// beside them, and the host that issues them.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "engine/agenda.hpp"
#include "engine/core_time.hpp"
#include "engine/program_index.hpp"
#include "engine/runnable_block.hpp"
#include "engine/running_kernels.hpp"
#include "engine/traffic.hpp"
#include "plan/job.hpp"
#include "plan/trace.hpp"

namespace windtunnel {

// What a rank computes with; all must outlive its Compute.
struct ComputeInput {
  int rank = 0;  // simulated
  RankProgram program;
  const std::vector<RunnableBlock>& blocks;  // by block of the plan
  const Communicators& communicators;
  int quiet_until = -1;      // quiet_part.hpp
  Seconds collective_issue;  // of a collective that is an op by itself
  const std::optional<Noise>& noise;
};

class Compute {
 public:
  Compute(const ComputeInput& input, Agenda& agenda, CoreTime& core_time, Traffic& traffic);

  // What the op under way needs from its rank now.
  enum class Next {
    Nothing,  // it goes on by itself, or waits
    Join,     // it joins the collective use()
    End,      // it has run: end()
  };
  Next begin(int op);
  Next copies_done() { return begin_segment(); }
  Next issued() { return join(); }
  Next kernels_done(std::uint32_t timer);
  Next collective_done(const ComputeShare& share);

  int op() const { return op_; }
  int use() const { return (*block_->segments)[segment_].use; }
  Span end();

  // The host issues a collective that is an op of the compute stream.
  void issue_collective() { host_ += input_.collective_issue; }
  // The host waits for a blocking transfer and issues nothing meanwhile: Megatron-LM's _communicate
  // (core/pipeline_parallel/p2p_communication.py) calls cuda.synchronize() after each.
  void synchronize_host() { host_ = std::max(host_, agenda_.now()); }
  // Collectives that are ops by themselves run beside them.
  RunningKernels& kernels() { return kernels_; }

 private:
  bool is_merged() const;
  Seconds walk(const MergedBlock& merged, Seconds start);
  Next begin_segment();
  Next join();
  Next part_done();
  double noise() const;
  ComputeShare share_of(int use) const;

  const ComputeInput input_;
  Agenda& agenda_;
  CoreTime& core_time_;
  Traffic& traffic_;
  RunningKernels kernels_;
  Seconds host_;  // when the host has issued everything up to now
  // The op under way.
  int op_ = -1;
  const RunnableBlock* block_ = nullptr;
  bool merged_ = false;  // runs as one span
  std::size_t segment_ = 0;
  int pending_ = 0;  // parts of the segment that have not ended
  Seconds start_, segment_start_, communication_, recompute_;
};

}  // namespace windtunnel
