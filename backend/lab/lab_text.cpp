#include "backend/lab/lab_text.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace windtunnel {
namespace {

std::string rate_text(double bits_per_second) {
  return bits_per_second < 1e9 ? fmt::format("{:.4g} Mb/s", bits_per_second / 1e6)
                               : fmt::format("{:.4g} Gb/s", bits_per_second / 1e9);
}

std::string rate_of(const Lab& lab, const std::string& link) {
  const auto found = std::find_if(lab.shapers.begin(), lab.shapers.end(),
                                  [&](const LabShaper& shaper) { return shaper.link == link; });
  return found == lab.shapers.end() ? "" : rate_text(found->bits_per_second);
}

std::string ranks_text(const LabHost& host) {
  const int last = host.first_rank + host.ranks - 1;
  return host.ranks == 1 ? fmt::format("{}", last) : fmt::format("{}..{}", host.first_rank, last);
}

}  // namespace

std::string to_text(const Lab& lab) {
  std::string text = fmt::format("lab of {}\n", lab.topology);
  constexpr const char* row = "{:<14}  {:<11}  {:<9}  {:<9}  {:>10}  {:>10}\n";
  text += fmt::format(row, "host", "address", "interface", "ranks", "up", "down");
  for (std::size_t i = 0; i < lab.hosts.size(); ++i) {
    const LabHost& host = lab.hosts[i];
    const std::string nic = fmt::format("n{}.nic0", i);
    text += fmt::format(row, host.netns, host.address, host.interface, ranks_text(host),
                        rate_of(lab, nic + ".up"), rate_of(lab, nic + ".down"));
  }
  for (const LabShaper& shaper : lab.shapers)
    if (shaper.link.starts_with("leaf"))
      text += fmt::format("cable {:<12}  {:>10}\n", shaper.link, rate_text(shaper.bits_per_second));
  return text;
}

std::string to_text(const LabDrops& drops) {
  if (!drops.problem.empty()) return "dropped packets: unknown: " + drops.problem + "\n";
  std::string text = fmt::format("dropped packets: {}\n", drops.packets());
  for (const LabDrops::Row& row : drops.rows)
    if (row.packets > 0) text += fmt::format("  {}: {}\n", row.link, row.packets);
  return text;
}

}  // namespace windtunnel
