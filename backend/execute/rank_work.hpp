// What the ops of one rank do to data. The executor decides when; this decides what.
#pragma once

#include "base/units.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

// Parts of a compute op, as Span has them.
struct ComputeParts {
  Seconds communication, recompute;
};

// The functions of ops are called from the thread of the op's stream; ops of different streams run
// at the same time. `op` is an index into the rank's program. Functions throw BackendError.
class RankWork {
 public:
  virtual ~RankWork() = default;
  virtual void begin_step() {}
  virtual void end_step() {}  // all that was queued on the device has been done
  virtual void compute(int op) = 0;
  virtual ComputeParts parts(int op) = 0;  // of a compute op, after end_step
  virtual void collective(int op) = 0;
  virtual void send(int op) = 0;
  virtual void receive(int op) = 0;
};

}  // namespace windtunnel
