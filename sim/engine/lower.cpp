#include "engine/lower.hpp"

namespace windtunnel {

namespace {

std::optional<Seconds> measured_time(const BlockPiece& piece, const MeasuredTimes& measured) {
  if (piece.layer >= 0) return measured.pass(piece.layer, piece.pass);
  const auto& curve = piece.piece.name == kOptimizerName ? measured.update : measured.norm;
  if (!curve) return std::nullopt;
  return curve->at(std::get<Work>(piece.piece.what).bytes.value);
}

// By piece; zero for a collective.
std::vector<Seconds> kernel_times(const Block& block, DType type, const GpuSpec& gpu,
                                  const MeasuredTimes& measured) {
  std::vector<Seconds> times(block.size());
  for (std::size_t first = 0, end = 0; first < block.size(); first = end) {
    Seconds modelled;
    for (end = first; end < block.size() && block[end].layer == block[first].layer; ++end)
      if (const auto* work = std::get_if<Work>(&block[end].piece.what))
        modelled += times[end] = kernel_time(gpu, *work, type);
    if (modelled.value == 0) continue;
    if (const std::optional<Seconds> time = measured_time(block[first], measured))
      for (std::size_t i = first; i < end; ++i) times[i] = *time * (times[i] / modelled);
  }
  return times;
}

}  // namespace

std::vector<Segment> lower(const Block& block, DType type, const GpuSpec& gpu, double slowdown,
                           const MeasuredTimes& measured, const Communicators& communicators) {
  const std::vector<Seconds> times = kernel_times(block, type, gpu, measured);
  std::vector<Segment> segments;
  bool open = false;    // the last segment takes further kernels
  bool beside = false;  // the last segment waits for the kernel that runs beside its collective
  for (std::size_t i = 0; i < block.size(); ++i) {
    const BlockPiece& piece = block[i];
    if (const auto* collective = std::get_if<TensorCollective>(&piece.piece.what)) {
      segments.push_back({.use = communicators.use_index(
                              {GroupKind::Tensor, collective->kind, collective->size})});
      open = beside = collective->overlaps_next;
      continue;
    }
    const Seconds time = times[i] * slowdown;
    if (!open) segments.push_back({});
    segments.back().compute += time;
    if (piece.recompute) segments.back().recompute += time;
    open = !beside;
    beside = false;
  }
  return segments;
}

}  // namespace windtunnel
