// The key-value store of a job, hosted by rank 0 or by the launcher. A connection is used by one
// thread at a time, so whoever must not wait for others opens one of its own.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "backend/launch/place.hpp"
#include "backend/torch.hpp"

// After torch.hpp, which says whether this LibTorch has what they need.
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace windtunnel {

using StorePointer = c10::intrusive_ptr<c10d::Store>;
using Milliseconds = std::chrono::milliseconds;

// Opens a connection; with `host`, the store too. Keys live under this attempt of the job. Throws
// BackendError when nobody has opened the store within `limit`.
StorePointer connected_store(const Place& place, bool host, Milliseconds limit);

void set_text(c10d::Store& store, const std::string& key, const std::string& text);
std::string text_of(c10d::Store& store, const std::string& key);  // of a key that is there

// Polls until `done` returns true; false when `limit` has passed. The store's own waiting is not
// used: a wait that has run out leaves a connection of LibTorch 1.13 out of step with its answers.
bool wait_until(const std::function<bool()>& done, Milliseconds limit);

// The first line of what an exception of LibTorch or Gloo says, without its backtrace.
std::string reason_of(const std::exception& error);

// "ranks 0, 1, 2" or "rank 1".
std::string ranks_text(const std::vector<int>& ranks);

}  // namespace windtunnel
