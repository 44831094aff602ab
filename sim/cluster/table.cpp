#include <array>

#include "cluster/families.hpp"

namespace windtunnel {

std::span<const NodeInterconnect> node_interconnects() {
  static const std::array rows = {nvlink_switch(), pcie_tree(), shared_memory()};
  return rows;
}

std::span<const Fabric> fabrics() {
  static const std::array rows = {star(), fat_tree(), torus(), dragonfly()};
  return rows;
}

}  // namespace windtunnel
