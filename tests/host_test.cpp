// Kernels that the host issues too slowly for the GPU.
#include <algorithm>
#include <numeric>

#include "catch.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"

namespace windtunnel {

namespace {

Job small_job(const std::string& parallel, int gpus, const std::string& host) {
  return load_job_text(
      "model: {family: gpt, hidden: 256, layers: 2, heads: 4, vocab: 512, max_sequence: 64}\n"
      "cluster: ../topologies/clusters/single-8xa100.yaml\n"
      "gpus: " +
          std::to_string(gpus) +
          "\n"
          "parallel: " +
          parallel +
          "\n"
          "batch: {global: 2, micro: 1, sequence: 64}\n"
          "precision: bf16\n" +
          host,
      WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml", {});
}

double time_of(const Job& job) {
  return simulate(build_plan(job), build_cluster(job.cluster, job.gpus), conditions_of(job))
      .end.value;
}

struct Issued {
  int kernels = 0, collectives = 0;
};

Issued issued_by(const Plan& plan) {
  Issued sum;
  for (const Op& op : plan.programs.front().ops) {
    if (op.kind == OpKind::Collective) ++sum.collectives;
    if (op.kind != OpKind::Compute) continue;
    for (const BlockPiece& piece : plan.blocks[std::size_t(op.block)])
      if (const Work* work = std::get_if<Work>(&piece.piece.what))
        sum.kernels += work->kernels;
      else
        ++sum.collectives;
  }
  return sum;
}

// The step ends with the optimizer's one kernel.
double last_kernel(const Job& job, const Plan& plan) {
  const Op& last = plan.programs.front().ops.back();
  const Piece& piece = plan.blocks[std::size_t(last.block)].front().piece;
  return kernel_time(job.cluster.node_types.front().gpu, std::get<Work>(piece.what), plan.type)
      .value;
}

}  // namespace

TEST_CASE("A GPU that waits for its host ends one kernel after the last one is issued", "[host]") {
  const Job job = small_job("{}", 1, "host: {kernel: 1 ms, collective: 0 s}\n");
  const Plan plan = build_plan(job);
  const Issued issued = issued_by(plan);
  CHECK(issued.kernels > 100);
  CHECK(issued.collectives == 0);
  CHECK(time_of(job) == Approx(issued.kernels * 1e-3 + last_kernel(job, plan)).epsilon(1e-9));
}

TEST_CASE("The host issues collectives in the order of the kernels", "[host]") {
  const Job job = small_job("{tensor: 2}", 2, "host: {kernel: 1 ms, collective: 3 ms}\n");
  const Plan plan = build_plan(job);
  const Issued issued = issued_by(plan);
  CHECK(issued.collectives > 10);
  const double host = issued.kernels * 1e-3 + issued.collectives * 3e-3;
  CHECK(time_of(job) == Approx(host + last_kernel(job, plan)).epsilon(1e-9));
}

TEST_CASE("The device waits for the pieces of lists as long as the host needs to issue them",
          "[host]") {
  const std::string lists = "{data: 2, zero_stage: 3, fsdp: {tensor_lists: true}}";
  const Job job = small_job(lists, 2, "host: {kernel: 0 s, collective: 5 ms}\n");
  const Plan plan = build_plan(job);
  int pieces = 0;
  for (const Op& op : plan.programs.front().ops)
    if (op.kind == OpKind::Compute)
      for (const BlockPiece& piece : plan.blocks[std::size_t(op.block)])
        if (const Work* work = std::get_if<Work>(&piece.piece.what); work && work->is_awaited)
          pieces += work->kernels;
  CHECK(pieces > 50);
  const double captured = time_of(small_job(lists, 2, ""));
  CHECK(time_of(job) > pieces * 5e-3);
  CHECK(time_of(job) < (pieces + issued_by(plan).collectives) * 5e-3 + captured);
}

TEST_CASE("An optimizer waits for reductions where its software does, and for the host then",
          "[host]") {
  constexpr double kIssue = 10e-6;  // longer than a kernel of the optimizer
  for (const Software& software : software_table()) {
    for (const int data : {1, 2}) {
      INFO(software.name << " " << data);
      const Job job = small_job(
          "{data: " + std::to_string(data) + "}", data,
          "software: " + std::string(software.name) + "\nhost: {kernel: 10 us, collective: 0 s}\n");
      const Plan plan = build_plan(job);
      const Op& last = plan.programs.front().ops.back();
      const BlockPiece& piece = plan.blocks[std::size_t(last.block)].front();
      REQUIRE(piece.piece.name == kOptimizerName);
      const Work& work = std::get<Work>(piece.piece.what);
      CHECK(work.is_awaited == (software.name == "paddle" && data > 1));
      if (!work.is_awaited) continue;
      const Trace trace = simulate(plan, build_cluster(job.cluster, job.gpus), conditions_of(job));
      const Span& span = trace.ranks.front().spans.back();
      CHECK(work.kernels > 100);
      CHECK((span.end - span.start).value == Approx(work.kernels * kIssue).epsilon(1e-9));
    }
  }
}

TEST_CASE("A host that is always ahead delays the first kernel alone", "[host]") {
  const double captured = time_of(small_job("{}", 1, ""));
  const double eager = time_of(small_job("{}", 1, "host: {kernel: 1 ns, collective: 1 ns}\n"));
  CHECK(eager == Approx(captured + 1e-9).epsilon(1e-12));
}

TEST_CASE("The host waits for blocking transfers, so that filling a pipeline takes its time too",
          "[host]") {
  const std::string host = "host: {kernel: 1 ms, collective: 0 s}\n";
  const Job blocking =
      small_job("{pipeline: 2}", 2, "schedule: 1f1b\npipeline_transfer: blocking\n" + host);
  const Plan plan = build_plan(blocking);
  // Kernels by op: F0 F1 B0 B1 on the first stage, F0 B0 F1 B1 on the last, then the optimizer.
  std::vector<std::vector<double>> kernels;
  for (const Program& program : plan.programs) {
    kernels.emplace_back();
    for (const Op& op : program.ops) {
      if (op.kind != OpKind::Compute) continue;
      kernels.back().push_back(0);
      for (const BlockPiece& piece : plan.blocks[std::size_t(op.block)])
        kernels.back().back() += std::get<Work>(piece.piece.what).kernels;
    }
    REQUIRE(kernels.back().size() >= 5);
  }
  // F0 of the first stage, F0 B0 F1 B1 of the second, B1 and optimizer of the first.
  const std::vector<double>&first = kernels[0], &last = kernels[1];
  double path = first[0] + last[0] + last[1] + last[2] + last[3];
  for (std::size_t i = 3; i < first.size(); ++i) path += first[i];
  CHECK(time_of(blocking) == Approx(1e-3 * path).epsilon(0.01));  // kernels and messages take us
  const Job overlapped =
      small_job("{pipeline: 2}", 2, "schedule: 1f1b\npipeline_transfer: overlapped\n" + host);
  // Then each host issues all of its kernels from the start, and the slower one ends the step.
  const auto all = [](const std::vector<double>& of_stage) {
    return std::accumulate(of_stage.begin(), of_stage.end(), 0.);
  };
  CHECK(all(first) < 0.9 * path);
  CHECK(time_of(overlapped) == Approx(1e-3 * std::max(all(first), all(last))).epsilon(0.01));
}

}  // namespace windtunnel
