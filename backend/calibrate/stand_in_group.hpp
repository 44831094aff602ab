// A group for the compute-only pass: it fills tensors with what a sound run might have got.
#pragma once

#include <memory>

#include "backend/comm/group.hpp"

namespace windtunnel {

// Other members' parts are copies of this one's, and messages are random, because memory that
// nobody has written may hold numbers (NaN, denormals) with which a core computes at another speed.
std::unique_ptr<Group> make_stand_in_group(int rank, int size);

}  // namespace windtunnel
