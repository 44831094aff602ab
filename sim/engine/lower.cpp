#include "engine/lower.hpp"

namespace windtunnel {

std::vector<Segment> lower(const Block& block, DType type, const GpuSpec& gpu, double slowdown,
                           const Communicators& communicators) {
  std::vector<Segment> segments;
  bool open = false;    // the last segment takes further kernels
  bool beside = false;  // the last segment waits for the kernel that runs beside its collective
  for (const BlockPiece& piece : block) {
    if (const auto* collective = std::get_if<TensorCollective>(&piece.piece.what)) {
      segments.push_back({.use = communicators.use_index(
                              {GroupKind::Tensor, collective->kind, collective->size})});
      open = beside = collective->overlaps_next;
      continue;
    }
    const Seconds time = kernel_time(gpu, std::get<Work>(piece.piece.what), type) * slowdown;
    if (!open) segments.push_back({});
    segments.back().compute += time;
    if (piece.recompute) segments.back().recompute += time;
    open = !beside;
    beside = false;
  }
  return segments;
}

}  // namespace windtunnel
