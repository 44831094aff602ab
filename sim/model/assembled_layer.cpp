#include <algorithm>
#include <utility>

#include "model/operation.hpp"

namespace windtunnel {
namespace {

bool has_class(const Operation& op, OpClass wanted) {
  return std::any_of(op.forward.begin(), op.forward.end(), [wanted](const Piece& piece) {
    const auto* work = std::get_if<Work>(&piece.what);
    return work && work->op == wanted;
  });
}

// A reduce-scatter, or the copy that it reads.
bool is_of_reduce_scatter(const Piece& piece) {
  const auto* collective = std::get_if<LayerCollective>(&piece.what);
  return collective ? collective->kind == CollectiveKind::ReduceScatter
                    : piece.name == kArrangeScattered;
}

bool is_gemm(const Piece& piece) {
  const auto* work = std::get_if<Work>(&piece.what);
  return work && work->op == OpClass::Matmul;
}

struct Again {
  std::vector<Piece> pieces;
  Bytes kept;  // besides the layer's input
};

// What Recompute::PerOp runs again of linears beside each other, of which those in `keeps` are
// kept: the GEMMs of the others, and what is before and between them where one of them, or a weight
// gradient, reads it. Reduce-scatters are kept.
std::vector<Piece> linears_again(const Operation& op, const std::vector<bool>& keeps) {
  const bool all_kept = std::find(keeps.begin(), keeps.end(), false) == keeps.end();
  std::vector<Piece> again;
  std::size_t gemms = 0;
  for (const Piece& piece : op.forward) {
    const bool gemm = is_gemm(piece);
    const bool is_read = gemm       ? !keeps[gemms]
                         : all_kept ? op.keeps_gathered && gemms == 0
                                    : !is_of_reduce_scatter(piece);
    if (is_read) again.push_back(piece);
    gemms += gemm;
  }
  return again;
}

// The first linear is kept, the second runs again, and so on.
Again again_per_op(const std::vector<Operation>& operations) {
  Again again;
  bool keep_next = true, after_attention = false;
  for (const Operation& op : operations) {
    const bool attention = has_class(op, OpClass::Attention);
    if (attention || op.outputs.empty()) {
      if (!attention) append(again.pieces, op.forward);
      after_attention |= attention;
      continue;
    }
    if (after_attention) again.kept += op.input;  // attention's output
    after_attention = false;
    std::vector<bool> keeps;
    for (const Bytes output : op.outputs) {
      keeps.push_back(keep_next);
      if (keep_next && op.needs_output) again.kept += output;
      keep_next = !keep_next;
    }
    append(again.pieces, linears_again(op, keeps));
  }
  return again;
}

struct Dropped {
  std::vector<Piece> again;
  Bytes bytes;
};

// By what `chosen` says; `input`: the block's.
Dropped dropped_by_modules(const std::vector<Operation>& operations, RecomputeModules chosen,
                           Bytes input) {
  const auto is_of = [&](const Operation& op, RecomputeModule module) {
    return chosen.has(module) && op.modules.has(module);
  };
  Dropped dropped;
  bool keeps_input = false;
  for (const Operation& op : operations) {
    if (op.modules.shares(chosen)) append(dropped.again, op.forward);
    const bool of_moe = is_of(op, RecomputeModule::Moe), of_mlp = is_of(op, RecomputeModule::Mlp);
    if (of_moe || of_mlp) {
      dropped.bytes += op.saved;
      // The norm in front of experts returns what they got.
      keeps_input |= of_mlp || !chosen.has(RecomputeModule::Layernorm);
      continue;
    }
    if (op.made_by && chosen.has(*op.made_by)) dropped.bytes += op.made;
    if (is_of(op, RecomputeModule::CoreAttn)) dropped.bytes += op.droppable;
  }
  if (keeps_input) dropped.bytes = dropped.bytes - input;
  return dropped;
}

}  // namespace

LayerWork assembled_layer(const std::vector<Operation>& operations, LayerKind kind, Bytes input,
                          Bytes output, const Recomputation& recompute) {
  LayerWork work;
  work.output = output;
  Bytes saved, droppable;
  std::vector<Piece> selective;
  for (const Operation& op : operations) {
    append(work.forward, op.forward);
    saved += op.saved;
    work.held += op.held;
    work.working = std::max(work.working, op.working);
    droppable += op.droppable;
    if (op.droppable > Bytes(0)) append(selective, op.forward);
    work.forward_flops += op.forward_flops;
    work.backward_flops += op.backward_flops;
    work.causal_saving += op.causal_saving;
  }
  for (auto op = operations.rbegin(); op != operations.rend(); ++op) {
    append(work.backward, op->backward);
    append(work.backward_input, op->backward_input);
    append(work.backward_weight, op->backward_weight);
  }
  // The gradient that goes round a block's operations on the residual path.
  if (kind == LayerKind::Block) work.working += output;
  work.activation = saved;
  if (kind == LayerKind::Block && recompute == Recompute::Full) {
    work.recompute = work.forward;
    work.activation = std::min(saved, input);
  } else if (kind == LayerKind::Block && recompute == Recompute::Selective) {
    work.recompute = selective;
    work.activation = saved - droppable;
  } else if (kind == LayerKind::Block && recompute == Recompute::PerOp) {
    Again again = again_per_op(operations);
    work.recompute = std::move(again.pieces);
    work.activation = std::min(saved, input + again.kept);
  } else if (kind == LayerKind::Block && recompute == Recompute::Modules) {
    const Dropped dropped = dropped_by_modules(operations, recompute.modules, input);
    work.recompute = dropped.again;
    work.activation = saved - dropped.bytes;
  }
  work.recompute_buffer = saved - work.activation;
  return work;
}

}  // namespace windtunnel
