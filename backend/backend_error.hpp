// The run failed: a lost process, a full disk, a machine that is not what the job needs. Exit
// code 1.
#pragma once

#include <stdexcept>

namespace windtunnel {

struct BackendError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace windtunnel
