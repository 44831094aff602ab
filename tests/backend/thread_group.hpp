// A group whose members are threads of this process, for tests: correct and simple, not fast.
// Sums are taken in the order of the ranks, so that every member gets the same bits.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <barrier>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "backend/comm/group.hpp"
#include "base/check.hpp"

namespace windtunnel {

// As ranks do: threads of LibTorch's own, for each rank, would poll for the others' cores.
inline void use_one_thread_a_rank() {
  at::set_num_threads(1);
}

// What the members share: a tensor of each, and messages on their way.
class ThreadGroupHub {
 public:
  explicit ThreadGroupHub(int size) : tensors(std::size_t(size)), barrier_(size) {}

  void meet() { barrier_.arrive_and_wait(); }

  using Key = std::tuple<int, int, int>;  // from, to, tag
  void put(const Key& key, at::Tensor message) {
    const std::lock_guard lock(mutex_);
    messages_[key].push_back(std::move(message));
    arrived_.notify_all();
  }
  at::Tensor take(const Key& key) {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return !messages_[key].empty(); });
    at::Tensor message = std::move(messages_[key].front());
    messages_[key].pop_front();
    return message;
  }

  std::vector<at::Tensor> tensors;

 private:
  std::barrier<> barrier_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<Key, std::deque<at::Tensor>> messages_;
};

class ThreadGroup : public Group {
 public:
  ThreadGroup(int rank, int size, std::shared_ptr<ThreadGroupHub> hub)
      : Group(rank, size), hub_(std::move(hub)) {}

  void all_reduce(at::Tensor data) override {
    const at::NoGradGuard no_grad;
    const at::Tensor sum = exchanged(data, [&] { return sum_of_all().clone(); });
    data.copy_(sum.view(data.sizes()));
  }
  void all_gather(at::Tensor whole, const at::Tensor& part) override {
    const at::NoGradGuard no_grad;
    whole.view({-1}).copy_(exchanged(part, [&] { return at::cat(hub_->tensors); }));
  }
  void reduce_scatter(at::Tensor part, at::Tensor whole) override {
    const at::NoGradGuard no_grad;
    const std::int64_t size = part.numel();
    part.view({-1}).copy_(
        exchanged(whole, [&] { return sum_of_all().narrow(0, rank() * size, size).clone(); }));
  }
  void broadcast(at::Tensor data, int root) override {
    const at::NoGradGuard no_grad;
    const at::Tensor sent =
        exchanged(data, [&] { return hub_->tensors[std::size_t(root)].clone(); });
    data.copy_(sent.view(data.sizes()));
  }
  void all_to_all(const std::vector<at::Tensor>& incoming,
                  const std::vector<at::Tensor>& outgoing) override {
    const at::NoGradGuard no_grad;
    constexpr int kTag = -1;  // of no message
    for (int to = 0; to < size(); ++to)
      if (outgoing[std::size_t(to)].numel() > 0) send(outgoing[std::size_t(to)], to, kTag);
    for (int from = 0; from < size(); ++from)
      if (incoming[std::size_t(from)].numel() > 0) receive(incoming[std::size_t(from)], from, kTag);
  }
  void send(const at::Tensor& data, int to, int tag) override {
    hub_->put({rank(), to, tag}, data.detach().clone());
  }
  void receive(at::Tensor data, int from, int tag) override {
    const at::NoGradGuard no_grad;
    data.copy_(hub_->take({from, rank(), tag}));
  }
  void barrier() override { hub_->meet(); }

 private:
  // What `result` makes of all members' tensors, before anybody changes one.
  template <class Result>
  at::Tensor exchanged(const at::Tensor& mine, const Result& result) {
    SIM_CHECK(mine.is_contiguous(), "a collective of a tensor with gaps");
    hub_->tensors[std::size_t(rank())] = mine.detach().view({-1});
    hub_->meet();
    const at::Tensor value = result();
    hub_->meet();
    return value;
  }
  at::Tensor sum_of_all() const {
    at::Tensor sum = hub_->tensors.front().clone();
    for (std::size_t i = 1; i < hub_->tensors.size(); ++i) sum.add_(hub_->tensors[i]);
    return sum;
  }

  std::shared_ptr<ThreadGroupHub> hub_;
};

// Runs `work` on `size` threads, each with a group of all of them; returns when all have ended. An
// exception of one ends the test (a member that leaves early would keep the others waiting).
inline void run_group(int size, const std::function<void(Group&)>& work) {
  use_one_thread_a_rank();
  const auto hub = std::make_shared<ThreadGroupHub>(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&work, hub, rank, size]() noexcept {
      ThreadGroup group(rank, size, hub);
      work(group);
    });
  for (std::thread& thread : threads) thread.join();
}

// The groups of a job, by name.
class ThreadGroupHubs {
 public:
  std::unique_ptr<Group> group(const std::string& name, const std::vector<int>& members, int rank) {
    const std::lock_guard lock(mutex_);
    auto& hub = hubs_[name];
    if (!hub) hub = std::make_shared<ThreadGroupHub>(int(members.size()));
    const auto place = std::find(members.begin(), members.end(), rank) - members.begin();
    return std::make_unique<ThreadGroup>(int(place), int(members.size()), hub);
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<ThreadGroupHub>> hubs_;
};

}  // namespace windtunnel
