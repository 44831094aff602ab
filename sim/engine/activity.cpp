#include "engine/activity.hpp"

#include <algorithm>
#include <cmath>

namespace windtunnel {

namespace {
constexpr std::size_t kBins = 512;       // finer than a plot is wide
constexpr Seconds kFirstWidth{0x1p-20};  // about 1 us; doubling keeps it a power of two
}  // namespace

Activity::Activity() : width_(kFirstWidth), bins_(kBins) {}

void Activity::add(Seconds start, Seconds end, const BytesByClass& bytes) {
  while (end > width_ * double(kBins)) widen();
  const auto bin_at = [this](Seconds t) {
    return std::min(kBins - 1, static_cast<std::size_t>(t / width_));
  };
  const std::size_t first = bin_at(start), last = bin_at(end);
  for (std::size_t i = first; i <= last; ++i) {
    const Seconds from = std::max(start, width_ * double(i));
    const Seconds to = std::min(end, width_ * double(i + 1));
    const double part = first == last ? 1 : std::max(0.0, (to - from) / (end - start));
    for (std::size_t kind = 0; kind < kLinkClasses; ++kind) bins_[i][kind] += bytes[kind] * part;
  }
}

void Activity::widen() {
  for (std::size_t i = 0; i < kBins / 2; ++i)
    for (std::size_t kind = 0; kind < kLinkClasses; ++kind)
      bins_[i][kind] = bins_[2 * i][kind] + bins_[2 * i + 1][kind];
  std::fill(bins_.begin() + kBins / 2, bins_.end(), BytesByClass{});
  width_ = width_ * 2;
}

std::vector<Bytes> Activity::bins(LinkClass kind, Seconds end) const {
  const double needed = std::ceil(end / width_);
  std::vector<Bytes> bins;
  for (std::size_t i = 0; i < kBins && double(i) < needed; ++i)
    bins.emplace_back(bins_[i][std::size_t(kind)]);
  return bins;
}

}  // namespace windtunnel
