#include "backend/execute/measurement.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

#include "base/check.hpp"

namespace windtunnel {

namespace {

double percentile(const std::vector<double>& sorted, double part) {
  const double place = part * double(sorted.size() - 1);
  const auto low = std::size_t(place);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (place - double(low)) * (sorted[high] - sorted[low]);
}

}  // namespace

Distribution distribution(std::vector<double> values) {
  SIM_CHECK(!values.empty(), "a distribution of nothing");
  std::sort(values.begin(), values.end());
  return {percentile(values, 0.1), percentile(values, 0.5), percentile(values, 0.9), values.front(),
          values.size()};
}

ProcessorTimes processor_times() {
  std::ifstream file("/proc/stat");
  std::string name;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0;
  file >> name >> user >> nice >> system >> idle >> wait >> irq >> soft >> steal;
  const double ticks = double(sysconf(_SC_CLK_TCK));
  const double busy = user + nice + system + irq + soft;
  return {busy / ticks, steal / ticks, (busy + idle + wait + steal) / ticks};
}

}  // namespace windtunnel
