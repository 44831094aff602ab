// The example that the report tests share: two pipeline stages, two micro-batches, 1F1B, each rank
// of a stage alike. Tensor 2 x data 2 x pipeline 2 = 8 ranks; ranks 0-3 are stage 0, 4-7 stage 1.
//
// A forward takes 1 s, a backward 2 s, a message 0.25 s, a gradient reduction 1 s, the optimizer
// 0.5 s. Of a forward 0.25 s and of a backward 0.25 s are tensor-parallel collectives; 0.5 s of a
// backward recompute. In seconds:
//
//   stage 0  F0 0-1  F1 1-2   . . .   B0 4.5-6.5   .   B1 7.5-9.5  (reduce 9.5-10.5)  O 10.5-11
//   stage 1   .  F0 1.25-2.25  B0 2.25-4.25  F1 4.25-5.25  B1 5.25-7.25
//             (reduce 7.25-8.25)  O 8.25-8.75  . . .
//   messages  F0 1-1.25   F1 2-2.25   B0 4.25-4.5   B1 7.25-7.5
#pragma once

#include "report/report.hpp"

namespace windtunnel::example {

// Per layer and micro-batch: 2 + 4 TFLOP for the model, 1.5 of them the half that a causal mask
// hides, and on one rank 0.5 TFLOP that recomputation runs again.
inline LayerWork work(const Model&, int, const Slice&) {
  LayerWork work;
  work.recompute = {{"again", Work{.op = OpClass::Matmul, .flops = Flops(0.5e12)}},
                    {"reduce", LayerCollective{.size = Bytes(1e6)}}};
  work.forward_flops = Flops(2e12);
  work.backward_flops = Flops(4e12);
  work.causal_saving = Flops(1.5e12);
  return work;
}
inline const ModelFamily kFamily = {.name = "toy", .work = work, .is_sequence = true};

inline Job job() {
  Job job;
  job.name = "toy_job";
  job.model.name = "toy_2b";
  job.model.source = "invented";
  job.model.family = &kFamily;
  job.model.layers = {{"block 0", LayerKind::Block, {{"weight", 1'000'000'000, true}}},
                      {"block 1", LayerKind::Block, {{"weight", 1'000'000'000, true}}}};
  NodeType node{.name = "toy_node", .source = "invented", .gpus = 4};
  node.gpu.name = "toy_gpu";
  node.gpu.memory = Bytes(8e9);
  node.gpu.peak[std::size_t(DType::Bf16)] = FlopRate(1e12);
  node.gpu.tdp = Watts(500);
  job.cluster.name = "toy_cluster";
  job.cluster.node_types = {node};
  job.cluster.type_of_node = {0, 0, 0};  // one more than the job needs
  job.cluster.power = Power{.utilization = 0.9, .pue = 1.1, .source = "invented"};
  job.gpus = 8;
  job.parallel.tensor = job.parallel.data = job.parallel.pipeline = 2;
  job.batch = {.global = 4, .micro = 1, .sequence = 1000};
  job.layers_per_stage = {1, 1};
  job.recompute = Recompute::Full;
  job.price = Price{.name = "toy_price",
                    .provider = "toy cloud",
                    .region = "somewhere",
                    .instance = "toy.4",
                    .date = "2026-01-01",
                    .source = "invented",
                    .gpus_per_node = 4,
                    .on_demand = UsdPerHour(8)};
  job.total_tokens = 1e6;
  return job;
}

inline Op compute(Purpose purpose, int stage, int micro_batch, std::vector<int> after) {
  Op op{.purpose = purpose,
        .stage = stage,
        .micro_batch = micro_batch,
        .first_layer = stage,
        .end_layer = stage + 1,
        .after = std::move(after)};
  if (purpose == Purpose::Forward) op.on_start = {{MemoryKind::Activations, 0.5e9}};
  if (purpose == Purpose::Backward) {
    op.on_start = {{MemoryKind::Buffers, 0.2e9}};
    op.on_end = {{MemoryKind::Activations, -0.5e9}, {MemoryKind::Buffers, -0.2e9}};
  }
  return op;
}

inline Op message(OpKind kind, Purpose purpose, int producer, int micro_batch, int peer,
                  std::vector<int> after = {}) {
  const Stream send =
      purpose == Purpose::Activation ? Stream::SendActivation : Stream::SendGradient;
  return {.kind = kind,
          .stream = kind == OpKind::Receive ? Stream::Receive : send,
          .purpose = purpose,
          .stage = producer,
          .micro_batch = micro_batch,
          .peer = peer,
          .bytes = Bytes(4e6),
          .after = std::move(after)};
}

inline Op reduction(Purpose purpose, std::vector<int> after) {
  return {.kind = OpKind::Collective,
          .stream = Stream::Communication,
          .purpose = purpose,
          .bytes = Bytes(2e9),
          .after = std::move(after)};
}

inline Op optimizer(std::vector<int> after) {
  return {.purpose = Purpose::Optimizer, .after = std::move(after)};
}

inline MemoryByKind resident() {
  MemoryByKind memory{};
  memory[std::size_t(MemoryKind::Weights)] = Bytes(1e9);
  memory[std::size_t(MemoryKind::Gradients)] = Bytes(1e9);
  memory[std::size_t(MemoryKind::Optimizer)] = Bytes(3e9);
  return memory;
}

inline Plan plan() {
  using enum Purpose;
  constexpr OpKind kSend = OpKind::Send, kReceive = OpKind::Receive;
  Plan plan;
  plan.grid = {.tensor = 2, .data = 2, .pipeline = 2, .shard_ranks = 2};
  plan.programs.push_back({.pipeline = 0,
                           .ops = {compute(Forward, 0, 0, {}),                // 0
                                   message(kSend, Activation, 0, 0, 1, {0}),  // 1
                                   compute(Forward, 0, 1, {}),                // 2
                                   message(kSend, Activation, 0, 1, 1, {2}),  // 3
                                   message(kReceive, Gradient, 1, 0, 1),      // 4
                                   compute(Backward, 0, 0, {4}),              // 5
                                   message(kReceive, Gradient, 1, 1, 1),      // 6
                                   compute(Backward, 0, 1, {6}),              // 7
                                   reduction(GradientReduction, {7}),         // 8
                                   optimizer({8})},                           // 9
                           .at_start = resident()});
  plan.programs.push_back({.pipeline = 1,
                           .ops = {message(kReceive, Activation, 0, 0, 0),  // 0
                                   compute(Forward, 1, 0, {0}),             // 1
                                   compute(Backward, 1, 0, {}),             // 2
                                   message(kSend, Gradient, 1, 0, 0, {2}),  // 3
                                   message(kReceive, Activation, 0, 1, 0),  // 4
                                   compute(Forward, 1, 1, {4}),             // 5
                                   compute(Backward, 1, 1, {}),             // 6
                                   message(kSend, Gradient, 1, 1, 0, {6}),  // 7
                                   reduction(GradientReduction, {6}),       // 8
                                   optimizer({8})},                         // 9
                           .at_start = resident()});
  return plan;
}

inline Span span(int op, double start, double end, double communication = 0, double recompute = 0) {
  return {op, Seconds(start), Seconds(end), Seconds(communication), Seconds(recompute)};
}

inline Trace trace() {
  return {.ranks = {{.rank = 0,
                     .represented = 4,
                     .program = 0,
                     .spans = {span(0, 0, 1, 0.25), span(1, 1, 1.25), span(2, 1, 2, 0.25),
                               span(3, 2, 2.25), span(4, 4.25, 4.5), span(5, 4.5, 6.5, 0.25, 0.5),
                               span(6, 7.25, 7.5), span(7, 7.5, 9.5, 0.25, 0.5), span(8, 9.5, 10.5),
                               span(9, 10.5, 11)}},
                    {.rank = 4,
                     .represented = 4,
                     .program = 1,
                     .spans = {span(0, 1, 1.25), span(1, 1.25, 2.25, 0.25), span(4, 2, 2.25),
                               span(2, 2.25, 4.25, 0.25, 0.5), span(3, 4.25, 4.5),
                               span(5, 4.25, 5.25, 0.25), span(6, 5.25, 7.25, 0.25, 0.5),
                               span(7, 7.25, 7.5), span(8, 7.25, 8.25), span(9, 8.25, 8.75)}}},
          .end = Seconds(11)};
}

}  // namespace windtunnel::example
