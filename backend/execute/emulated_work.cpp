#include "backend/execute/emulated_work.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <tuple>

#include "backend/execute/device.hpp"
#include "base/check.hpp"

namespace windtunnel {

namespace {

// Memory that messages come from and go to; its content means nothing. Kept from step to step, so
// that no message pays for fresh pages.
class Buffers {
 public:
  // One thread at a time uses the buffers of one op kind, stream, peer and purpose.
  at::Tensor at(const Op& op, std::int64_t elements) {
    const std::lock_guard lock(mutex_);
    at::Tensor& buffer = buffers_[{op.kind, op.stream, op.peer, op.purpose}];
    if (!buffer.defined() || buffer.numel() < elements) buffer = at::zeros({elements}, at::kFloat);
    return buffer.narrow(0, 0, elements);
  }

 private:
  std::mutex mutex_;
  std::map<std::tuple<OpKind, Stream, int, Purpose>, at::Tensor> buffers_;
};

std::int64_t elements_of(Bytes bytes, int parts = 1) {
  return std::int64_t(std::ceil(bytes.value / 4 / parts)) * parts;
}

class EmulatedWork : public RankWork {
 public:
  EmulatedWork(const Plan& plan, int rank, const GpuSpec& gpu, double slowdown,
               const RankGroups& groups)
      : plan_(plan),
        program_(plan.programs[std::size_t(plan.grid.coordinates(rank).pipeline)]),
        gpu_(gpu),
        slowdown_(slowdown),
        groups_(groups),
        parts_(program_.ops.size()) {}

  void compute(int op) override {
    const Block& block = plan_.blocks[std::size_t(program_.ops[std::size_t(op)].block)];
    ComputeParts& parts = parts_[std::size_t(op)];
    parts = {};
    double now = monotonic_seconds();
    for (std::size_t i = 0; i < block.size(); ++i) {
      if (const auto* collective = std::get_if<LayerCollective>(&block[i].piece.what)) {
        const double kernel_end =
            collective->overlaps_next ? now + seconds(block[++i], parts) : now;
        run_collective(groups_.group(group_kind(collective->group), Stream::Compute),
                       collective->kind, collective->size, op_at(op));
        const double end = monotonic_seconds();
        parts.communication += Seconds(std::max(0.0, end - kernel_end));
        now = std::max(end, kernel_end);
      } else {
        now += seconds(block[i], parts);
        const bool last = i + 1 == block.size();
        if (!last && std::holds_alternative<Work>(block[i + 1].piece.what)) continue;
      }
      // Waking up late in one kernel does not delay the next one: deadlines count from the op's
      // start.
      sleep_until(now);
    }
  }
  ComputeParts parts(int op) override { return parts_[std::size_t(op)]; }

  void collective(int index) override {
    const Op& op = op_at(index);
    run_collective(groups_.group(op.group, op.stream), op.collective, op.bytes, op);
  }
  void send(int index) override {
    const Op& op = op_at(index);
    groups_.sender(op).send(buffers_.at(op, elements_of(op.bytes)), 1, 0);
  }
  void receive(int index) override {
    const Op& op = op_at(index);
    groups_.receiver(op).receive(buffers_.at(op, elements_of(op.bytes)), 0, 0);
  }

 private:
  const Op& op_at(int index) const { return program_.ops[std::size_t(index)]; }

  // `bytes` as collectives/ counts them: of the whole buffer.
  void run_collective(Group& group, CollectiveKind kind, Bytes bytes, const Op& op) {
    const std::int64_t elements = elements_of(bytes, group.size()), part = elements / group.size();
    const std::int64_t second = kind == CollectiveKind::AllToAll ? elements : part;
    const at::Tensor memory = buffers_.at(op, elements + second);
    const at::Tensor whole = memory.narrow(0, 0, elements);
    const at::Tensor own = memory.narrow(0, elements, second);
    switch (kind) {
      case CollectiveKind::AllReduce:
        group.all_reduce(whole);
        return;
      case CollectiveKind::AllGather:
        group.all_gather(whole, own);
        return;
      case CollectiveKind::ReduceScatter:
        group.reduce_scatter(own, whole);
        return;
      case CollectiveKind::Broadcast:
        group.broadcast(whole, 0);
        return;
      case CollectiveKind::AllToAll:
        group.all_to_all(own.view({group.size(), -1}).unbind(0),
                         whole.view({group.size(), -1}).unbind(0));
        return;
    }
  }

  double seconds(const BlockPiece& piece, ComputeParts& parts) const {
    const Seconds time =
        kernel_time(gpu_, std::get<Work>(piece.piece.what), plan_.type) * slowdown_;
    if (piece.recompute) parts.recompute += time;
    return time.value;
  }

  const Plan& plan_;
  const Program& program_;
  const GpuSpec& gpu_;
  double slowdown_;
  const RankGroups& groups_;
  std::vector<ComputeParts> parts_;  // by op
  Buffers buffers_;
};

}  // namespace

std::shared_ptr<RankWork> make_emulated_work(const Plan& plan, int rank, const GpuSpec& gpu,
                                             double slowdown, const RankGroups& groups) {
  return std::make_shared<EmulatedWork>(plan, rank, gpu, slowdown, groups);
}

}  // namespace windtunnel
