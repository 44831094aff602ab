#include "engine/lower.hpp"

#include <algorithm>

namespace windtunnel {

namespace {

// `count` equal kernels that take `time` together follow in a segment; none: nothing is issued.
void append(Segment& segment, Seconds time, int count, Seconds issue) {
  const Seconds issued = issue * count;
  const Seconds late = count > 0 ? std::max(issue + time, issued + time / count) : time;
  segment.late = std::max(segment.late + time, segment.host + late);
  segment.compute += time;
  segment.host += issued;
}

}  // namespace

std::vector<Segment> lower(const Block& block, DType type, const GpuSpec& gpu, double slowdown,
                           const Host& host, const Communicators& communicators) {
  std::vector<Segment> segments;
  bool open = false;    // the last segment takes further kernels
  bool beside = false;  // the last segment waits for the kernel that runs beside its collective
  for (const BlockPiece& piece : block) {
    if (const auto* collective = std::get_if<LayerCollective>(&piece.piece.what)) {
      segments.push_back({.use = communicators.use_index(
                              {group_kind(collective->group), collective->kind, collective->size}),
                          .host = host.collective,
                          .late = host.collective});
      open = beside = collective->overlaps_next;
      continue;
    }
    const Work& work = std::get<Work>(piece.piece.what);
    const Seconds time = kernel_time(gpu, work, type) * slowdown;
    if (!open) segments.push_back({});
    append(segments.back(), time, work.kernels,
           work.op == OpClass::Fixed ? Seconds(0) : host.kernel);
    if (piece.recompute) segments.back().recompute += time;
    open = !beside;
    beside = false;
  }
  return segments;
}

}  // namespace windtunnel
