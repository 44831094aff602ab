// Where processes meet: a key-value store that all of them reach, and the groups that they form
// over it.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "backend/comm/group.hpp"
#include "backend/launch/place.hpp"

namespace windtunnel {

struct TimeLimits {
  // Of starting: a launcher may start the last host's processes tens of seconds after the first's.
  std::chrono::milliseconds meet = std::chrono::seconds(60);
  // Of one communication. It has to outlast the longest wait of a sound job, a pipeline's last
  // stage waiting for the first one's first micro-batch: minutes with a large model on CPUs. Lost
  // and stopped processes are found much sooner, by the watchdog; this limit is for processes that
  // wait for one another.
  std::chrono::milliseconds communication = std::chrono::minutes(10);
};

class Rendezvous {
 public:
  // Returns when all processes are there. Throws BackendError that names the missing ranks.
  explicit Rendezvous(const Place& place, const TimeLimits& limits = {});
  // Where this process hosts the store: waits until the others have left too, unless an exception
  // is on its way.
  ~Rendezvous();
  Rendezvous(const Rendezvous&) = delete;
  Rendezvous& operator=(const Rendezvous&) = delete;

  const Place& place() const { return place_; }
  void set(const std::string& key, const std::string& value);
  std::string get(const std::string& key);  // waits until it is set, or throws BackendError

  // On a CPU: Gloo; on CUDA: NCCL, on that device. All `members` (ranks, in group order; this
  // process is one of them) call it with the same name, which no other group has. A group has
  // connections of its own.
  std::unique_ptr<Group> group(const std::string& name, const std::vector<int>& members,
                               at::Device device);

 private:
  struct Store;
  Place place_;
  TimeLimits limits_;
  std::unique_ptr<Store> store_;
};

// A group whose calls do nothing: the compute-only pass.
std::unique_ptr<Group> make_null_group(int rank, int size);

}  // namespace windtunnel
