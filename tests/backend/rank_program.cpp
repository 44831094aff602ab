// A rank of the tests: rank_program WHAT [FOLDER]. Prints what went wrong to standard error, exit
// code 1.
#include <c10/core/DeviceGuard.h>
#include <sys/types.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "backend/backend_error.hpp"
#include "backend/comm/rendezvous.hpp"
#include "watchdog_scenes.hpp"

namespace windtunnel {

namespace {

void check(bool condition, const char* what) {
  if (!condition) throw BackendError(std::string("wrong: ") + what);
}

std::vector<int> all_of(const Place& place) {
  std::vector<int> ranks(place.world);
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

// Element i of rank r's data; small integers, exact in every type.
at::Tensor data_of(int rank, std::int64_t elements, const at::TensorOptions& options) {
  return (at::arange(elements) % 5 + 1 + 2 * rank).to(options);
}
// Of all ranks: n (i % 5 + 1) + 2 (0 + 1 + ... + n-1).
at::Tensor sum_of(int ranks, std::int64_t elements, const at::TensorOptions& options) {
  return (ranks * (at::arange(elements) % 5 + 1) + ranks * (ranks - 1)).to(options);
}

void all_reduce(Group& group, const at::TensorOptions& options) {
  for (const std::int64_t elements : {1, 7, 100000}) {
    const at::Tensor data = data_of(group.rank(), elements, options);
    group.all_reduce(data);
    check(data.equal(sum_of(group.size(), elements, options)), "all-reduce");
  }
}

void all_gather(Group& group, const at::TensorOptions& options) {
  for (const std::int64_t k : {1, 7, 100000}) {
    const at::Tensor whole = at::zeros({k * group.size()}, options);
    group.all_gather(whole, data_of(group.rank(), k, options));
    for (int r = 0; r < group.size(); ++r)
      check(whole.slice(0, r * k, (r + 1) * k).equal(data_of(r, k, options)), "all-gather");
    // In place: `part` is this rank's part of `whole`.
    const at::Tensor in_place = at::zeros({k * group.size()}, options);
    const at::Tensor own = in_place.slice(0, group.rank() * k, (group.rank() + 1) * k);
    own.copy_(data_of(group.rank(), k, options));
    group.all_gather(in_place, own);
    check(in_place.equal(whole), "all-gather in place");
  }
}

void reduce_scatter(Group& group, const at::TensorOptions& options) {
  for (const std::int64_t k : {1, 7, 100000}) {
    const at::Tensor part = at::zeros({k}, options);
    group.reduce_scatter(part, data_of(group.rank(), k * group.size(), options));
    const at::Tensor sum = sum_of(group.size(), k * group.size(), options);
    check(part.equal(sum.slice(0, group.rank() * k, (group.rank() + 1) * k)), "reduce-scatter");
  }
}

void broadcast(Group& group, const at::TensorOptions& options) {
  for (int root = 0; root < group.size(); ++root) {
    const at::Tensor data = data_of(group.rank(), 1000, options);
    group.broadcast(data, root);
    check(data.equal(data_of(root, 1000, options)), "broadcast");
  }
}

// Around the ring, and two messages of one tag in their order; an even rank sends first.
void send_receive(Group& group, const at::TensorOptions& options) {
  const int n = group.size(), next = (group.rank() + 1) % n, previous = (group.rank() + n - 1) % n;
  const at::Tensor first = at::zeros({1000}, options), second = at::zeros({1000}, options);
  const auto send = [&] {
    group.send(data_of(group.rank(), 1000, options), next, 3);
    group.send(data_of(group.rank() + 10, 1000, options), next, 3);
  };
  const auto receive = [&] {
    group.receive(first, previous, 3);
    group.receive(second, previous, 3);
  };
  if (group.rank() % 2 == 0) send();
  receive();
  if (group.rank() % 2 == 1) send();
  check(first.equal(data_of(previous, 1000, options)), "receive");
  check(second.equal(data_of(previous + 10, 1000, options)), "second receive of a tag");
}

// A leaf that requires gradients may be moved, and autograd does not notice.
void autograd(Group& group, at::Device device) {
  const at::Tensor weight = at::ones({4 * group.size()}, device).requires_grad_(true);
  const at::Tensor loss = (weight * weight).sum();
  const auto version = weight._version();
  group.all_reduce(weight);
  group.broadcast(weight, 0);
  check(weight.is_leaf() && weight._version() == version, "version of a moved tensor");
  check(loss.requires_grad(), "graph of a moved tensor");
}

void collectives(Rendezvous& rendezvous, at::Device device) {
  const Place& place = rendezvous.place();
  const c10::DeviceGuard on_device(device);
  const auto group = rendezvous.group("all", all_of(place), device);
  check(group->rank() == place.rank && group->size() == place.world, "rank in the group");
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kLong, at::kBFloat16}) {
    const auto options = at::TensorOptions(device).dtype(type);
    all_reduce(*group, options);
    all_gather(*group, options);
    reduce_scatter(*group, options);
    broadcast(*group, options);
    if (group->size() > 1) send_receive(*group, options);
  }
  autograd(*group, device);
  group->barrier();
}

// Two groups of the same ranks, in opposite order, used by two threads at once.
void two_groups(Rendezvous& rendezvous) {
  std::vector<int> forward = all_of(rendezvous.place());
  const std::vector<int> backward(forward.rbegin(), forward.rend());
  const auto one = rendezvous.group("forward", forward, at::kCPU);
  const auto other = rendezvous.group("backward", backward, at::kCPU);
  check(other->rank() == rendezvous.place().world - 1 - one->rank(), "order of members");
  std::string failure;
  std::thread beside([&] {
    try {
      for (int i = 0; i < 20; ++i) reduce_scatter(*other, at::kFloat);
    } catch (const std::exception& error) {
      failure = error.what();
    }
  });
  for (int i = 0; i < 20; ++i) all_gather(*one, at::kFloat);
  beside.join();
  if (!failure.empty()) throw BackendError(failure);
}

void keys(Rendezvous& rendezvous) {
  const int rank = rendezvous.place().rank, next = (rank + 1) % rendezvous.place().world;
  rendezvous.set("of " + std::to_string(rank), "value " + std::to_string(rank));
  check(rendezvous.get("of " + std::to_string(next)) == "value " + std::to_string(next), "get");
}

// Rank 1 dies while the others wait for it.
void killed(Rendezvous& rendezvous) {
  const auto group = rendezvous.group("data", all_of(rendezvous.place()), at::kCPU);
  group->barrier();
  if (rendezvous.place().rank == 1) raise(SIGKILL);
  group->all_reduce(at::ones({1000}));
}

// Rank 1 never comes; the others begin together, for `folder` shows each that the other is there.
void absent(const Place& place, const std::string& folder) {
  if (place.rank == 1) pause();
  std::ofstream(folder + "/" + std::to_string(place.rank)) << "here";
  for (const char* other : {"/0", "/2"})
    while (!std::filesystem::exists(folder + other))
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const Rendezvous rendezvous(place, {.meet = std::chrono::seconds(5)});
}

const std::map<std::string, std::function<void(Rendezvous&)>> kPrograms = {
    {"collectives", [](Rendezvous& rendezvous) { collectives(rendezvous, at::kCPU); }},
    {"collectives_cuda",
     [](Rendezvous& rendezvous) {
       const auto gpu = static_cast<c10::DeviceIndex>(rendezvous.place().local_rank);
       collectives(rendezvous, {at::kCUDA, gpu});
     }},
    {"two_groups", two_groups},
    {"keys", keys},
    {"killed", killed},
    {"host_leaves_first", [](Rendezvous& rendezvous) { leave_in_turn(rendezvous, true); }},
    {"host_leaves_last", [](Rendezvous& rendezvous) { leave_in_turn(rendezvous, false); }},
    {"stopped_1", [](Rendezvous& rendezvous) { stop_one(rendezvous, 1); }},
    {"stopped_0", [](Rendezvous& rendezvous) { stop_one(rendezvous, 0); }}};

void run(const std::vector<std::string>& words) {
  const Place place = place_from_environment().value();
  if (words.front() == "absent") return absent(place, words.at(1));
  Rendezvous rendezvous(place);
  kPrograms.at(words.front())(rendezvous);
}

}  // namespace

}  // namespace windtunnel

int main(int argc, char** argv) {
  try {
    windtunnel::run({argv + 1, argv + argc});
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
