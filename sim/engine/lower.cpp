#include "engine/lower.hpp"

#include <algorithm>

namespace windtunnel {

namespace {

struct KernelTime {
  Seconds time;
  Seconds issue;  // of the host, for each kernel
};

std::optional<Seconds> measured_time(const BlockPiece& piece, const MeasuredTimes& measured) {
  if (piece.layer >= 0) {
    const auto pass = measured.pass(piece.layer, piece.pass);
    return pass ? std::optional(pass->time) : std::nullopt;
  }
  const auto* work = std::get_if<Work>(&piece.piece.what);
  const bool updates = piece.piece.name == kOptimizerName;
  const auto& curve = updates ? measured.update : measured.norm;
  if (!curve || !work || (!updates && piece.piece.name != kNormName)) return std::nullopt;
  return curve->at(work->bytes.value);
}

// As fast as the device runs them or the process issues them: an optimizer's kernels, or copies in
// a loop of the library's own, which takes for each what it takes for a collective.
KernelTime awaited_kernels(const GpuSpec& gpu, const Work& work, DType type, const Host& host) {
  const Seconds issue = work.op == OpClass::Optimizer ? host.kernel : host.collective;
  return {std::max(kernel_time(gpu, work, type), issue * work.kernels), Seconds(0)};
}

// By piece; zero for a collective.
std::vector<KernelTime> kernel_times(const Block& block, DType type, const GpuSpec& gpu,
                                     const Host& host, const MeasuredTimes& measured) {
  std::vector<KernelTime> times(block.size());
  for (std::size_t first = 0, end = 0; first < block.size(); first = end) {
    Seconds modelled;
    for (end = first; end < block.size() && block[end].layer == block[first].layer; ++end)
      if (const auto* work = std::get_if<Work>(&block[end].piece.what)) {
        times[end] = work->is_awaited
                         ? awaited_kernels(gpu, *work, type, host)
                         : KernelTime{kernel_time(gpu, *work, type),
                                      work->op == OpClass::Fixed ? Seconds(0) : host.kernel};
        modelled += times[end].time;
      }
    if (modelled.value == 0) continue;
    if (const std::optional<Seconds> time = measured_time(block[first], measured))
      for (std::size_t i = first; i < end; ++i)
        times[i] = {*time * (times[i].time / modelled), Seconds(0)};
  }
  return times;
}

// `count` equal kernels that take `time` together follow in a segment; none: nothing is issued.
void append(Segment& segment, Seconds time, int count, Seconds issue) {
  const Seconds issued = issue * count;
  const Seconds late = count > 0 ? std::max(issue + time, issued + time / count) : time;
  segment.late = std::max(segment.late + time, segment.host + late);
  segment.compute += time;
  segment.host += issued;
}

// Of tokens and the rows that experts work on.
bool is_exchange(const LayerCollective& collective) {
  return collective.kind == CollectiveKind::AllToAll && collective.group == LayerGroup::Expert;
}

bool is_forward(const BlockPiece& piece) {
  return piece.pass == ActionType::F || piece.recompute;
}

// Not by how large they are: a GEMM of few rows counts as one of many.
bool is_memory_bound(const Work& work) {
  return work.op == OpClass::Elementwise || work.op == OpClass::Embedding ||
         work.op == OpClass::Optimizer;
}

bool takes_collective(const std::vector<Segment>& segments) {
  return !segments.empty() && segments.back().use < 0;
}

}  // namespace

std::vector<Segment> lower(const Block& block, DType type, const GpuSpec& gpu, double slowdown,
                           bool overlaps_experts, const Host& host, const MeasuredTimes& measured,
                           const Communicators& communicators) {
  const std::vector<KernelTime> times = kernel_times(block, type, gpu, host, measured);
  std::vector<Segment> segments;
  bool open = false;    // the last segment takes further kernels
  bool beside = false;  // the last segment waits for the kernel that runs beside its collective
  for (std::size_t i = 0; i < block.size(); ++i) {
    const BlockPiece& piece = block[i];
    if (const auto* collective = std::get_if<LayerCollective>(&piece.piece.what)) {
      const int use = communicators.use_index(use_of(*collective));
      const bool is_hidden = overlaps_experts && is_exchange(*collective);
      if (is_hidden && is_forward(piece) && takes_collective(segments)) {
        segments.back().use = use;
        segments.back().host += host.collective;
        segments.back().late += host.collective;
        open = beside = false;
        continue;
      }
      segments.push_back({.use = use, .host = host.collective, .late = host.collective});
      open = is_hidden || collective->overlaps_next;
      beside = !is_hidden && open;
      continue;
    }
    const Seconds time = times[i].time * slowdown;
    if (!open) segments.push_back({});
    const Work& work = std::get<Work>(piece.piece.what);
    append(segments.back(), time, work.kernels, times[i].issue);
    if (is_memory_bound(work)) segments.back().memory += time;
    if (piece.recompute) segments.back().recompute += time;
    open = !beside;
    beside = false;
  }
  return segments;
}

}  // namespace windtunnel
