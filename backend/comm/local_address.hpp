// The address under which the other processes of a job reach this host.
#pragma once

#include <string>

#include "backend/launch/place.hpp"

namespace windtunnel {

// The source address of packets to the store: loopback when the store is on loopback, else that of
// the interface that leads there. Throws BackendError for a job of several hosts of which this one
// knows only loopback.
std::string local_address(const Place& place);

}  // namespace windtunnel
