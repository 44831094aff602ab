// A communicator of real processes (or of threads, in tests). Reductions are sums. Tensors are
// contiguous; `part` has k elements and `whole` size() * k.
//
// A call returns when its result is in place (CPU), or when the work is queued on the calling
// thread's current CUDA stream. All members call the same collectives in the same order; one thread
// at a time uses a group. Throws BackendError when a member is lost or the time limit has passed.
#pragma once

#include <vector>

#include "backend/torch.hpp"

namespace windtunnel {

class Group {
 public:
  Group(int rank, int size) : rank_(rank), size_(size) {}
  virtual ~Group() = default;
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  int rank() const { return rank_; }  // of this process among the members
  int size() const { return size_; }

  virtual void all_reduce(at::Tensor data) = 0;
  virtual void all_gather(at::Tensor whole, const at::Tensor& part) = 0;
  virtual void reduce_scatter(at::Tensor part, at::Tensor whole) = 0;  // uses up `whole`
  virtual void broadcast(at::Tensor data, int root) = 0;
  // `outgoing[i]` goes to member i and `incoming[i]` comes from it, of any size that both know; for
  // an empty one nothing moves.
  virtual void all_to_all(const std::vector<at::Tensor>& incoming,
                          const std::vector<at::Tensor>& outgoing) = 0;
  // A send is matched with the receive of the same tag, in the order of the calls.
  virtual void send(const at::Tensor& data, int to, int tag) = 0;
  virtual void receive(at::Tensor data, int from, int tag) = 0;
  virtual void barrier() = 0;

 private:
  int rank_, size_;
};

}  // namespace windtunnel
