#include <fmt/format.h>

#include <iterator>

#include "plan/plan.hpp"

namespace windtunnel {

namespace {

std::string short_bytes(Bytes bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  double value = bytes.value;
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) value /= 1000, ++unit;
  return fmt::format("{:.4g} {}", value, kUnits[unit]);
}

std::string layer_range(const Op& op) {
  if (op.first_layer < 0) return "";
  if (op.end_layer == op.first_layer + 1) return fmt::format(" layer {}", op.first_layer);
  return fmt::format(" layers {}-{}", op.first_layer, op.end_layer - 1);
}

std::string action_name(const Op& op) {
  switch (op.purpose) {
    case Purpose::Forward:
      return to_text(Action{ActionType::F, op.stage, op.micro_batch});
    case Purpose::Backward:
      return to_text(Action{ActionType::B, op.stage, op.micro_batch});
    case Purpose::InputGradient:
      return to_text(Action{ActionType::I, op.stage, op.micro_batch});
    case Purpose::WeightGradient:
      return to_text(Action{ActionType::W, op.stage, op.micro_batch});
    default:
      return std::string(name_of(kPurposeNames, op.purpose));
  }
}

std::string message_name(const Op& op) {
  // A stage's activation is the product of its F, the gradient that leaves it of its B (or I).
  const char letter = op.purpose == Purpose::Activation ? 'F' : 'B';
  return fmt::format("{}{}{}", op.stage, letter, op.micro_batch);
}

}  // namespace

std::string op_name(const Op& op) {
  if (!op.name.empty()) return op.name;
  switch (op.kind) {
    case OpKind::Compute:
      return action_name(op);
    case OpKind::Collective:
      return fmt::format("{} {} {}{}", name_of(kCollectiveKindNames, op.collective),
                         name_of(kGroupKindNames, op.group.kind), short_bytes(op.bytes),
                         layer_range(op));
    case OpKind::Send:
      return fmt::format("send {} to {}", message_name(op), op.peer);
    case OpKind::Receive:
      return fmt::format("receive {} from {}", message_name(op), op.peer);
  }
  return "";
}

namespace {

void append_program(std::string& out, const Plan& plan, const Program& program) {
  auto put = std::back_inserter(out);
  fmt::format_to(put, "\nprogram of pipeline rank {}: {} parameters, {} ops\n", program.pipeline,
                 program.parameters, program.ops.size());
  const MemoryPeak peak = peak_memory(program);
  fmt::format_to(put, "  memory at the peak:");
  for (std::size_t kind = 0; kind < kMemoryKindNames.size(); ++kind)
    fmt::format_to(put, " {} {}{}", kMemoryKindNames[kind], short_bytes(peak.at_peak[kind]),
                   kind + 1 < kMemoryKindNames.size() ? "," : "\n");
  if (plan.schedule.devices > 0) {
    fmt::format_to(put, "  schedule:");
    for (const Action& action : plan.schedule.actions[std::size_t(program.pipeline)])
      fmt::format_to(put, " {}", to_text(action));
    fmt::format_to(put, "\n");
  }
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    const bool partial = op.kind == OpKind::Compute && op.first_layer >= 0;
    std::string line = fmt::format("  {:>5}  {:<15}  {}{}", i, name_of(kStreamNames, op.stream),
                                   op_name(op), partial ? layer_range(op) : "");
    if (op.kind == OpKind::Send) line += " (" + short_bytes(op.bytes) + ")";
    if (!op.after.empty()) line += fmt::format("  after {}", fmt::join(op.after, " "));
    out += line + "\n";
  }
}

}  // namespace

std::string to_text(const Plan& plan) {
  const RankGrid& grid = plan.grid;
  std::string out = fmt::format(
      "{} ranks: tensor {} x data {} x pipeline {}, order {} {} {} (fastest first)\n"
      "{} stages, {} micro-batches\n",
      grid.size(), grid.tensor, grid.data, grid.pipeline, name_of(kDimensionNames, grid.order[0]),
      name_of(kDimensionNames, grid.order[1]), name_of(kDimensionNames, grid.order[2]),
      plan.schedule.stages(), plan.schedule.micro_batches);
  if (grid.context > 1) out += fmt::format("context: {} data ranks share a sample\n", grid.context);
  if (grid.expert > 1 || grid.expert_tensor != grid.tensor)
    out += fmt::format("experts: expert tensor {} x expert {} x expert data {}\n",
                       grid.expert_tensor, grid.expert, grid.expert_data());
  for (const Program& program : plan.programs) append_program(out, plan, program);
  return out;
}

}  // namespace windtunnel
