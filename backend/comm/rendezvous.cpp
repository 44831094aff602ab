#include "backend/comm/rendezvous.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <numeric>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "backend/backend_error.hpp"
#include "backend/comm/store.hpp"
#ifdef WINDTUNNEL_GLOO
#include "backend/comm/gloo_group.hpp"
#endif
#ifdef WINDTUNNEL_CUDA
#include "backend/comm/nccl_group.hpp"
#endif
#include "base/check.hpp"

namespace windtunnel {

namespace {

// How long a failing host waits for the others to see why; they started within about as long of it.
constexpr Milliseconds kFarewell = std::chrono::seconds(5);

bool hosts_store(const Place& place) {
  return place.rank == 0 && !place.store_is_hosted;
}

}  // namespace

struct Rendezvous::Store {
  const Place& place;
  StorePointer keys;

  template <class Run>
  auto explained(const Run& run) const {
    try {
      return run();
    } catch (const BackendError&) {
      throw;
    } catch (const std::exception& error) {
      throw BackendError(fmt::format("rank {}: the store at {}:{} is gone: {}", place.rank,
                                     place.address, place.port, reason_of(error)));
    }
  }

  bool has(const std::string& key) const { return keys->check({key}); }

  // A host that ends at once would leave the others without a store to ask who is missing.
  void let_others_see(const std::string& what, const std::vector<int>& ranks,
                      const std::vector<int>& missing) {
    const auto key = [&](int rank) { return fmt::format("seen/{}/{}", what, rank); };
    set_text(*keys, key(place.rank), "");
    if (!hosts_store(place)) return;
    wait_until(
        [&] {
          return std::all_of(ranks.begin(), ranks.end(), [&](int rank) {
            return has(key(rank)) || std::count(missing.begin(), missing.end(), rank) > 0;
          });
        },
        kFarewell);
  }

  // Each of `ranks` calls it, and it returns when all have.
  void meet(const std::string& what, const std::vector<int>& ranks, Milliseconds limit) {
    const auto key = [&](int rank) { return fmt::format("meet/{}/{}", what, rank); };
    explained([&] {
      set_text(*keys, key(place.rank), "");
      std::size_t met = 0;  // of `ranks`, in their order
      if (wait_until(
              [&] {
                while (met < ranks.size() && has(key(ranks[met]))) ++met;
                return met == ranks.size();
              },
              limit))
        return;
      std::vector<int> missing;
      std::copy_if(ranks.begin(), ranks.end(), std::back_inserter(missing),
                   [&](int rank) { return !has(key(rank)); });
      let_others_see(what, ranks, missing);
      throw BackendError(fmt::format("{} did not come to {} within {} s ({} of {} did)",
                                     ranks_text(missing), what, limit.count() / 1000.0,
                                     ranks.size() - missing.size(), ranks.size()));
    });
  }
};

namespace {

std::vector<int> all_ranks(const Place& place) {
  std::vector<int> ranks(place.world);
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

}  // namespace

Rendezvous::Rendezvous(const Place& place, const TimeLimits& limits)
    : place_(place), limits_(limits) {
  store_.reset(new Store{place_, connected_store(place, hosts_store(place), limits.meet)});
  store_->meet("the start", all_ranks(place), limits.meet);
}

Rendezvous::~Rendezvous() {
  if (std::uncaught_exceptions() > 0) return;
  try {
    const auto key = [](int rank) { return fmt::format("left/{}", rank); };
    set_text(*store_->keys, key(place_.rank), "");
    if (!hosts_store(place_)) return;
    for (const int rank : all_ranks(place_))
      if (!wait_until([&] { return store_->has(key(rank)); }, limits_.meet)) return;
  } catch (const std::exception&) {
    // The store is gone, and with it the need to keep it.
  }
}

void Rendezvous::set(const std::string& key, const std::string& value) {
  store_->explained([&] { set_text(*store_->keys, "key/" + key, value); });
}

std::string Rendezvous::get(const std::string& key) {
  return store_->explained([&] {
    if (!wait_until([&] { return store_->has("key/" + key); }, limits_.communication))
      throw BackendError(fmt::format("rank {}: nobody has set \"{}\" within {} s", place_.rank, key,
                                     limits_.communication.count() / 1000.0));
    return text_of(*store_->keys, "key/" + key);
  });
}

std::unique_ptr<Group> Rendezvous::group(const std::string& name, const std::vector<int>& members,
                                         at::Device device) {
  const auto self = std::find(members.begin(), members.end(), place_.rank);
  SIM_CHECK(self != members.end(), "only members form a group");
  const int rank = static_cast<int>(self - members.begin());
  store_->meet(fmt::format("group \"{}\"", name), members, limits_.meet);
#ifdef WINDTUNNEL_GLOO
  if (device.is_cpu()) {
    const auto keys = c10::make_intrusive<c10d::PrefixStore>("group/" + name, store_->keys);
    return make_gloo_group(keys, name, members, rank, place_, limits_.communication);
  }
#endif
#ifdef WINDTUNNEL_CUDA
  if (device.is_cuda()) return make_nccl_group(*this, name, members, rank, device);
#endif
  throw BackendError(
      device.is_cuda()
          ? "this program was built for CPUs alone: build it with -DWINDTUNNEL_CUDA=ON"
          : "this program was built for GPUs alone: its LibTorch comes without Gloo's headers");
}

}  // namespace windtunnel
