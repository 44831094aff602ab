#include "backend/comm/gloo_group.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <limits>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "backend/backend_error.hpp"
#include "backend/comm/local_address.hpp"
#include "backend/comm/urgent.hpp"
#include "base/check.hpp"

namespace windtunnel {

namespace {

using Tensors = std::vector<at::Tensor>;
using WorkPointer = c10::intrusive_ptr<c10d::Work>;

// Callers' tags are below it.
constexpr int kRingTag = std::numeric_limits<int>::max();

// The same memory without a history: what moves is no matter of autograd, and Gloo knows fewer
// types than there are.
at::Tensor values_of(const at::Tensor& tensor) {
  SIM_CHECK(tensor.is_contiguous(), "a group moves contiguous tensors");
  return at::from_blob(tensor.data_ptr(), {tensor.numel()}, tensor.scalar_type());
}
at::Tensor bytes_of(const at::Tensor& tensor) {
  SIM_CHECK(tensor.is_contiguous(), "a group moves contiguous tensors");
  return at::from_blob(tensor.data_ptr(), {static_cast<std::int64_t>(tensor.nbytes())}, at::kByte);
}

std::shared_ptr<gloo::transport::Device> device_for(const Place& place) {
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"))
    return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  return c10d::ProcessGroupGloo::createDeviceForHostname(local_address(place));
}

class GlooGroup : public Group {
 public:
  GlooGroup(const StorePointer& store, const std::string& name, const std::vector<int>& members,
            int rank, const Place& place, Milliseconds limit)
      : Group(rank, static_cast<int>(members.size())), name_(name), members_(members) {
    explained("connecting", [&] {
      const auto options = c10d::ProcessGroupGloo::Options::create(limit);
      options->devices = {device_for(place)};
      options->threads = 1;  // collectives run in the order of the calls, one at a time
      gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size(), options);
    });
  }

  void all_reduce(at::Tensor data) override {
    explained("all-reduce", [&] {
      if (data.scalar_type() == at::kBFloat16) return all_reduce_in_ring(values_of(data));
      Tensors tensors = {values_of(data)};
      gloo_->allreduce(tensors)->wait();
    });
  }

  void all_gather(at::Tensor whole, const at::Tensor& part) override {
    SIM_CHECK(whole.numel() == part.numel() * size(), "`whole` has a part of each member");
    explained("all-gather", [&] {
      const at::Tensor chunks = bytes_of(whole).view({size(), -1});
      chunks[rank()].copy_(bytes_of(part));
      // All receives are posted first: Gloo sends when the receiver is ready.
      std::vector<WorkPointer> receives;
      for (int step = 1; step < size(); ++step)
        receives.push_back(start_receive(chunks[before(step)], before(1), kRingTag));
      for (int step = 1; step < size(); ++step) {
        start_send(chunks[before(step - 1)], after(1), kRingTag)->wait();
        receives[step - 1]->wait();
      }
    });
  }

  void reduce_scatter(at::Tensor part, at::Tensor whole) override {
    SIM_CHECK(whole.numel() == part.numel() * size(), "`whole` has a part of each member");
    explained("reduce-scatter", [&] { reduce_scatter_in_ring(values_of(part), values_of(whole)); });
  }

  void broadcast(at::Tensor data, int root) override {
    explained("broadcast", [&] {
      Tensors tensors = {bytes_of(data)};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      gloo_->broadcast(tensors, options)->wait();
    });
  }

  void all_to_all(const std::vector<at::Tensor>& incoming,
                  const std::vector<at::Tensor>& outgoing) override {
    explained("all-to-all", [&] {
      std::vector<WorkPointer> works;  // receives first: Gloo sends when the receiver is ready
      for (int step = 1; step < size(); ++step)
        if (const at::Tensor& data = incoming[before(step)]; data.numel() > 0)
          works.push_back(start_receive(bytes_of(data), before(step), kRingTag));
      // One after another: each member then gets from one at a time. Several flows into one port do
      // not share it evenly over TCP, and what the last ones leave idle took a quarter of the time.
      for (int step = 1; step < size(); ++step)
        if (const at::Tensor& data = outgoing[after(step)]; data.numel() > 0)
          start_send(bytes_of(data), after(step), kRingTag)->wait();
      if (incoming[rank()].numel() > 0)
        bytes_of(incoming[rank()]).copy_(bytes_of(outgoing[rank()]));
      for (const WorkPointer& work : works) work->wait();
    });
  }

  void send(const at::Tensor& data, int to, int tag) override {
    check_message(to, tag);
    explained("send", to, tag, [&] { start_send(bytes_of(data), to, tag)->wait(); });
  }

  void receive(at::Tensor data, int from, int tag) override {
    check_message(from, tag);
    explained("receive", from, tag, [&] { start_receive(bytes_of(data), from, tag)->wait(); });
  }

  void barrier() override {
    explained("barrier", [&] { gloo_->barrier()->wait(); });
  }

 private:
  int after(int steps) const { return (rank() + steps) % size(); }
  int before(int steps) const { return (rank() - steps + size()) % size(); }

  void check_message(int peer, int tag) const {
    SIM_CHECK(peer >= 0 && peer < size() && peer != rank(), "messages go to other members");
    SIM_CHECK(tag >= 0 && tag < kRingTag, "the largest tag is the group's own");
  }

  WorkPointer start_send(const at::Tensor& data, int to, int tag) {
    Tensors tensors = {data};
    return gloo_->send(tensors, to, tag);
  }
  WorkPointer start_receive(const at::Tensor& data, int from, int tag) {
    Tensors tensors = {data};
    return gloo_->recv(tensors, from, tag);
  }

  // A chunk starts at the rank after its owner and each rank that it passes adds its own. One
  // receive is posted ahead of the one that is added.
  void reduce_scatter_in_ring(const at::Tensor& part, const at::Tensor& whole) {
    const at::Tensor chunks = whole.view({size(), -1});
    at::Tensor arriving[2] = {at::empty_like(part), at::empty_like(part)};
    WorkPointer receives[2];
    for (int step = 1; step < size(); ++step) {
      if (step == 1) receives[1] = start_receive(arriving[1], before(1), kRingTag);
      if (step + 1 < size())
        receives[(step + 1) % 2] = start_receive(arriving[(step + 1) % 2], before(1), kRingTag);
      start_send(chunks[before(step)], after(1), kRingTag)->wait();
      receives[step % 2]->wait();
      chunks[(before(step) + size() - 1) % size()].add_(arriving[step % 2]);
    }
    part.copy_(chunks[rank()]);
  }

  // For types that Gloo cannot add: the same bytes as its ring.
  void all_reduce_in_ring(const at::Tensor& data) {
    const std::int64_t part_size = (data.numel() + size() - 1) / size();
    const at::Tensor whole = at::zeros({part_size * size()}, data.options());
    whole.slice(0, 0, data.numel()).copy_(data);
    const at::Tensor part = at::empty({part_size}, data.options());
    reduce_scatter_in_ring(part, whole);
    all_gather(whole, part);
    data.copy_(whole.slice(0, 0, data.numel()));
  }

  template <class Run>
  void explained(const std::string& operation, const Run& run) const {
    const Urgent urgent;
    try {
      run();
    } catch (const BackendError&) {
      throw;
    } catch (const std::exception& error) {
      throw BackendError(fmt::format("{} in group \"{}\" of {} failed at rank {}: {}", operation,
                                     name_, ranks_text(members_), members_[rank()],
                                     reason_of(error)));
    }
  }
  template <class Run>
  void explained(const char* operation, int peer, int tag, const Run& run) const {
    explained(fmt::format("{} (with rank {}, tag {})", operation, members_[peer], tag), run);
  }

  std::string name_;
  std::vector<int> members_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
};

}  // namespace

std::unique_ptr<Group> make_gloo_group(const StorePointer& store, const std::string& name,
                                       const std::vector<int>& members, int rank,
                                       const Place& place, Milliseconds limit) {
  return std::make_unique<GlooGroup>(store, name, members, rank, place, limit);
}

}  // namespace windtunnel
