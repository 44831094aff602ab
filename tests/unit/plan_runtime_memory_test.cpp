// What CUDA, NCCL and PyTorch take, and what software keeps besides the mathematics.
#include "catch.hpp"
#include "jobs.hpp"
#include "plan/runtime_memory.hpp"

namespace windtunnel {
namespace {

// Two ranks of a small GPT in one node of A100s with 12 channels.
Job small_job(std::string_view software) {
  const Model model = model_of("gpt", {{"layers", {2}},
                                       {"hidden", {64}},
                                       {"heads", {4}},
                                       {"vocab", {128}},
                                       {"max_sequence", {32}},
                                       {"dropout", {0}}});
  Job job = job_of(model, {.data = 2});
  job.batch.sequence = 32;
  job.software = find_software(software);
  job.gradient_clipping = false;
  job.optimizer = OptimizerKind::None;
  NodeType node;
  node.gpus = 8;
  node.gpu.arch = "ampere";
  node.nccl = NodeType::Nccl{};
  node.nccl->channels = 12;
  job.cluster.node_types = {node};
  return job;
}

}  // namespace

TEST_CASE("runtime memory: NCCL's buffers of a communicator") {
  // LL 8 x 512 x 8 x 16 = 524288, LL128 120 x 640 x 8 x 8 = 4915200, Simple 4194304: 9633792 for a
  // connection and channel; two connections, twice the channels.
  CHECK(nccl_buffers(1) == Bytes(4 * 9633792.0));
  CHECK(nccl_buffers(12) == Bytes(462422016));
}

TEST_CASE("runtime memory: context, workspace and one communicator") {
  // 0.49 GiB, 8519680 bytes and 4 MiB for cuBLAS, and the data-parallel group.
  const double expected = 0.49 * 1024 * 1024 * 1024 + 8519680 + 4194304 + 462422016;
  const Program program = build_plan(small_job("megatron")).programs.front();
  CHECK(of(program.at_start, MemoryKind::Framework).value == Approx(expected));
  CHECK(of(build_plan(small_job("bare")).programs.front().at_start, MemoryKind::Framework) ==
        Bytes(0));
  Job cpu = small_job("megatron");
  cpu.cluster.node_types.front().gpu.arch = "cpu";
  CHECK(of(build_plan(cpu).programs.front().at_start, MemoryKind::Framework) == Bytes(0));
}

TEST_CASE("runtime memory: a fifth of what comes and goes is lost to fragmentation") {
  const MemoryByKind peak = peak_memory(build_plan(small_job("megatron")).programs.front()).at_peak;
  const double moving = (of(peak, MemoryKind::Activations) + of(peak, MemoryKind::Buffers) +
                         of(peak, MemoryKind::Logits))
                            .value;
  REQUIRE(moving > 0);
  CHECK(of(peak, MemoryKind::Fragmentation).value == Approx(0.2 * moving));
  Job expands = small_job("megatron");
  expands.expandable_segments = true;
  const MemoryByKind all = peak_memory(build_plan(expands).programs.front()).at_peak;
  CHECK(of(all, MemoryKind::Fragmentation) == Bytes(0));
  CHECK(of(all, MemoryKind::Framework) == of(peak, MemoryKind::Framework));
  CHECK(total(all).value == Approx(total(peak).value - 0.2 * moving));
}

TEST_CASE("runtime memory: what every software takes is given back, but for what stays") {
  for (const Software& software : software_table()) {
    INFO(software.name);
    const Program program = build_plan(small_job(software.name)).programs.front();
    MemoryByKind now{};
    for (const Op& op : program.ops)
      for (const auto* changes : {&op.on_start, &op.on_end})
        for (const MemoryChange& change : *changes)
          now[std::size_t(change.kind)] += Bytes(change.bytes);
    for (const Bytes bytes : now) CHECK(bytes.value == Approx(0).margin(1e-6));
    // Never less than the formulas of papers.
    CHECK(total(peak_memory(program).at_peak) >=
          total(peak_memory(build_plan(small_job("bare")).programs.front()).at_peak));
    CHECK_FALSE(software.source.empty());
  }
}

TEST_CASE("runtime memory: DDP copies gradients into buckets, DeepSpeed has a bounded buffer") {
  const Program bare = build_plan(small_job("bare")).programs.front();
  const auto buffers = [](std::string_view software) {
    return of(build_plan(small_job(software)).programs.front().at_start, MemoryKind::Buffers);
  };
  // Fewer gradients than DeepSpeed's 5e8: the buffer holds them all.
  CHECK(buffers("ddp") == of(bare.at_start, MemoryKind::Gradients));
  CHECK(buffers("deepspeed") == of(bare.at_start, MemoryKind::Gradients));
  CHECK(buffers("megatron") == Bytes(0));
}

TEST_CASE("software: unfused kernels keep more") {
  const Model model = model_of(
      "llama",
      {{"layers", {1}}, {"hidden", {64}}, {"heads", {4}}, {"ffn", {96}}, {"vocab", {128}}});
  const auto work = [&](std::string_view software, int layer, int tensor, bool sequence_parallel) {
    Slice slice;
    slice.sequence = 32;
    slice.tensor = tensor;
    slice.sequence_parallel = sequence_parallel;
    slice.attention = AttentionKernel::Flash;
    slice.software = find_software(software);
    return layer_work(model, layer, slice);
  };
  // Two norms keep their normalised input too, 2 x 2 s h, and SwiGLU silu(gate), 2 s f.
  CHECK(work("aleph-alpha-scaling", 1, 1, false).activation -
            work("megatron", 1, 1, false).activation ==
        Bytes(4.0 * 32 * 64 + 2.0 * 32 * 96));
  // Under sequence parallelism the inputs of two linears stay whole: 2 x 2 s h (1 - 1/t).
  CHECK(work("aleph-alpha-scaling-rms", 1, 4, true).activation -
            work("megatron", 1, 4, true).activation ==
        Bytes(4.0 * 32 * 64 * 3 / 4 + 2.0 * 32 * 96 / 4));
  // Logits: 4 bytes of a rank's part, or 6 of all of them; at most 6 and 14.
  CHECK(work("megatron", 2, 4, false).logits == Bytes(4.0 * 32 * 128 / 4));
  CHECK(work("megatron", 2, 4, false).working == Bytes(2.0 * 32 * 128 / 4));
  CHECK(work("aleph-alpha-scaling", 2, 4, false).logits == Bytes(6.0 * 32 * 128));
  CHECK(work("aleph-alpha-scaling", 2, 4, false).working == Bytes(8.0 * 32 * 128));
}

TEST_CASE("software: what the weight half of zero bubble needs is 32 s b h of a GPT block") {
  const Model model = model_of("gpt", {{"layers", {1}},
                                       {"hidden", {64}},
                                       {"heads", {4}},
                                       {"vocab", {128}},
                                       {"max_sequence", {32}}});
  Slice slice;
  slice.micro_batch = 3;
  slice.sequence = 32;
  CHECK(layer_work(model, 1, slice).held == Bytes(32.0 * 32 * 3 * 64));  // arXiv:2401.10241
}

}  // namespace windtunnel
