// What must hold of the messages between pipeline neighbours in every plan.
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "unit/plan_cases.hpp"
#include "unit/plan_graph.hpp"

namespace windtunnel {

TEST_CASE("structure: every send has one receive, with the same message and bytes") {
  using Message = std::tuple<Purpose, int, int, int, int>;  // stage, micro-batch, from, to
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    const Plan plan = build_plan(some.job);
    std::map<Message, double> sends, receives;
    int ops = 0;
    std::vector<std::pair<int, int>> counts;
    for (const Program& program : plan.programs) {
      counts.emplace_back();
      for (const Op& op : program.ops) {
        const bool is_send = op.kind == OpKind::Send;
        if (!is_send && op.kind != OpKind::Receive) continue;
        ++ops;
        const int from = is_send ? program.pipeline : op.peer;
        const int to = is_send ? op.peer : program.pipeline;
        (is_send ? sends : receives)[{op.purpose, op.stage, op.micro_batch, from, to}] =
            op.bytes.value;
        if (is_send)
          ++(op.purpose == Purpose::Activation ? counts.back().first : counts.back().second);
      }
    }
    CHECK((sends == receives));
    CHECK(std::size_t(ops) == 2 * sends.size());  // none is listed twice
    CHECK((counts == message_counts(plan.schedule)));
  }
}

TEST_CASE("structure: messages have the size of the boundary they cross") {
  // Hidden state of 8 tokens x 8 features in bf16 = 128 bytes; half of it with t = 2 sequence
  // parallel. Gradients are as large as activations.
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    const bool is_split = some.job.parallel.sequence_parallel;
    const double expected = some.job.model.name == "synthetic" ? 10 : is_split ? 64 : 128;
    bool all_equal = true;
    for (const Program& program : build_plan(some.job).programs)
      for (const Op& op : program.ops)
        if (op.kind == OpKind::Send) all_equal &= op.bytes == Bytes(expected);
    CHECK(all_equal);
  }
}

TEST_CASE("structure: a pass waits for its message, and a send for its pass") {
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    const Plan plan = build_plan(some.job);
    bool all_wait = true;
    for (const Program& program : plan.programs) {
      const Ancestors before(program);
      for (std::size_t i = 0; i < program.ops.size(); ++i)
        for (std::size_t j = 0; j < program.ops.size(); ++j) {
          const Op &message = program.ops[i], &pass = program.ops[j];
          if (!is_pass(pass) || message.micro_batch != pass.micro_batch) continue;
          const bool forward = message.purpose == Purpose::Activation;
          if (forward != (pass.purpose == Purpose::Forward) ||
              pass.purpose == Purpose::WeightGradient)
            continue;
          if (message.kind == OpKind::Send && message.stage == pass.stage)
            all_wait &= before.contains(i, j);
          if (message.kind == OpKind::Receive && pass.stage == message.stage + (forward ? 1 : -1))
            all_wait &= before.contains(j, i);
        }
    }
    CHECK(all_wait);
  }
}

TEST_CASE("structure: blocking transfers are on the compute stream, others are not") {
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    const bool blocks = some.job.pipeline_transfer == PipelineTransfer::Blocking;
    bool on_right_stream = true;
    for (const Program& program : build_plan(some.job).programs)
      for (const Op& op : program.ops) {
        const bool is_send = op.kind == OpKind::Send;
        if (!is_send && op.kind != OpKind::Receive) continue;
        const Stream own = !is_send                            ? Stream::Receive
                           : op.purpose == Purpose::Activation ? Stream::SendActivation
                                                               : Stream::SendGradient;
        on_right_stream &= op.stream == (blocks ? Stream::Compute : own);
      }
    CHECK(on_right_stream);
  }
}

}  // namespace windtunnel
