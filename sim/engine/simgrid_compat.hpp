// The differences between SimGrid 3.32 (Debian 12) and 4.x that matter here. Only
// simgrid_network.cpp includes this file.
#pragma once

#include <xbt/base.h>  // SimGrid's own headers need it first

#include <simgrid/version.h>
#include <simgrid/kernel/Timer.hpp>
#include <simgrid/kernel/routing/NetPoint.hpp>
#include <simgrid/kernel/routing/NetZoneImpl.hpp>
#include <simgrid/s4u.hpp>

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace windtunnel::simgrid_compat {

#if SIMGRID_VERSION >= 33400
inline constexpr const char* kTimingPrecision = "precision/timing";
template <class F>
void on_flow_completion(F f) {
  simgrid::s4u::Comm::on_completion_cb([f](simgrid::s4u::Comm const& comm) { f(comm); });
}
#else
inline constexpr const char* kTimingPrecision = "surf/precision";
template <class F>
void on_flow_completion(F f) {
  simgrid::s4u::Activity::on_completion_cb(
      [f](simgrid::s4u::Activity const& activity) { f(activity); });
}
#endif

#if SIMGRID_VERSION >= 40000
inline void attach_to_root(simgrid::s4u::Engine& engine,
                           simgrid::kernel::routing::NetZoneImpl* zone) {
  zone->set_parent(engine.get_netzone_root()->get_impl());
}
inline simgrid::s4u::Host* add_host(simgrid::s4u::NetZone* zone, const std::string& name) {
  return zone->add_host(name, 1.0);
}
inline simgrid::s4u::Link* add_link(simgrid::s4u::NetZone* zone, const std::string& name,
                                    double bandwidth) {
  return zone->add_link(name, bandwidth);
}
#else
// The first zone that is made becomes the root by itself.
inline void attach_to_root(simgrid::s4u::Engine&, simgrid::kernel::routing::NetZoneImpl*) {}
inline simgrid::s4u::Host* add_host(simgrid::s4u::NetZone* zone, const std::string& name) {
  return zone->create_host(name, 1.0);
}
inline simgrid::s4u::Link* add_link(simgrid::s4u::NetZone* zone, const std::string& name,
                                    double bandwidth) {
  return zone->create_link(name, bandwidth);
}
#endif

}  // namespace windtunnel::simgrid_compat
