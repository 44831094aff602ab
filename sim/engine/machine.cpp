#include "engine/machine.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.hpp"
#include "engine/agenda.hpp"
#include "engine/channels.hpp"
#include "engine/compute.hpp"
#include "engine/core_time.hpp"
#include "engine/program_index.hpp"
#include "engine/rendezvous.hpp"
#include "engine/streams.hpp"
#include "engine/traffic.hpp"
#include "engine/transfers.hpp"

namespace windtunnel {

namespace {

std::vector<ProgramIndex> indices_of(const Plan& plan) {
  return {plan.programs.begin(), plan.programs.end()};
}

std::vector<RankProgram> programs_of(const MachineInput& input,
                                     const std::vector<ProgramIndex>& indices) {
  std::vector<RankProgram> programs;
  for (const Layout::Rank& rank : input.layout.ranks)
    programs.push_back({rank.rank, &input.plan.programs[std::size_t(rank.program)],
                        &indices[std::size_t(rank.program)]});
  return programs;
}

// Starts ops when their streams are free and nothing is missing, and hands what happens to whom it
// concerns.
class Machine {
 public:
  Machine(const MachineInput& input, Network& network);
  Trace run();

 private:
  void start();
  void handle(const Happening& happening);

  void advance(int rank, Stream stream);
  void begin(int rank, int op);
  void go_on(int rank, Compute::Next next);
  void join(int rank, int op, int use);
  void finish(int rank, const Span& span);
  void finish(int rank, int op, Seconds start);
  void satisfy_one(int rank, int op);
  void satisfy(const std::vector<Rendezvous::PostedSend>& sends);

  void end_collective(const Channels::Ended& ended);
  void end_transfer(const Transfers::Transfer& ended);

  int use_of(const Op& op) const;
  ComputeShare share_of(int rank, const Op& op) const;
  const Op& op_at(int rank, int op) const { return programs_[std::size_t(rank)].op(op); }

  const MachineInput& input_;
  const std::vector<ProgramIndex> indices_;  // by program of the plan
  const std::vector<RankProgram> programs_;  // this and what follows by simulated rank
  Agenda agenda_;
  Traffic traffic_;
  CoreTime core_time_;
  std::vector<Streams> streams_;
  std::vector<Compute> compute_;
  Channels channels_;
  Transfers transfers_;
  std::optional<Rendezvous> rendezvous_;
  Trace trace_;
};

Machine::Machine(const MachineInput& input, Network& network)
    : input_(input),
      indices_(indices_of(input.plan)),
      programs_(programs_of(input, indices_)),
      agenda_(network),
      traffic_(input.layout.wiring, input.class_share),
      core_time_(programs_.size(), input.communication.cpu_seconds_per_byte, agenda_),
      channels_(input.communicators, input.layout, input.rounds, core_time_, agenda_, traffic_),
      transfers_(input.communicators, input.layout, programs_, core_time_, agenda_, traffic_) {
  if (input.communication.point_to_point == PointToPoint::Rendezvous)
    rendezvous_.emplace(input.communicators, input.layout, input.plan.grid, programs_,
                        input.communication.receives_ahead);
  for (int rank = 0; rank < int(programs_.size()); ++rank) {
    const RankProgram& program = programs_[std::size_t(rank)];
    const Layout::Rank& laid = input.layout.ranks[std::size_t(rank)];
    streams_.emplace_back(program, rendezvous_.has_value());
    compute_.emplace_back(ComputeInput{.rank = rank,
                                       .program = program,
                                       .blocks = input.blocks[std::size_t(rank)],
                                       .communicators = input.communicators,
                                       .quiet_until = input.quiet_until[std::size_t(laid.program)],
                                       .collective_issue = input.collective_issue,
                                       .noise = input.noise},
                          agenda_, core_time_, traffic_);
    trace_.ranks.push_back({laid.rank, laid.represented, laid.program, {}});
    trace_.ranks.back().spans.reserve(program.program->ops.size());
  }
}

Trace Machine::run() {
  start();
  agenda_.run([this](const Happening& happening) { handle(happening); });
  for (std::size_t rank = 0; rank < programs_.size(); ++rank) {
    std::vector<Span>& spans = trace_.ranks[rank].spans;
    SIM_CHECK(spans.size() == programs_[rank].program->ops.size(),
              "the plan stopped before its end on rank " + std::to_string(trace_.ranks[rank].rank));
    // Events of one date come in any order.
    std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
      return a.end != b.end ? a.end < b.end : a.op < b.op;
    });
  }
  traffic_.write_to(trace_);
  return std::move(trace_);
}

void Machine::start() {
  const int ranks = int(programs_.size());
  if (rendezvous_)
    for (int rank = 0; rank < ranks; ++rank) satisfy(rendezvous_->post_first(rank));
  for (int rank = 0; rank < ranks; ++rank) {
    for (std::size_t stream = 0; stream < kStreams; ++stream) advance(rank, Stream(stream));
    const ProgramIndex& index = *programs_[std::size_t(rank)].index;
    for (const int op : index.order[std::size_t(Stream::Transfers)])
      if (index.waits[std::size_t(op)] == 0)
        agenda_.after(Seconds(0), {Event::Begin, rank, std::uint32_t(op)});
  }
}

void Machine::handle(const Happening& happening) {
  constexpr std::uint64_t kEventsPerReport = 1 << 16;
  if (++trace_.events % kEventsPerReport == 0 && input_.on_progress)
    input_.on_progress({trace_.events, agenda_.now()});
  const auto [event, of, which] = happening;
  switch (event) {
    case Event::Begin:
      begin(of, int(which));
      return;
    case Event::CopiesDone:
      go_on(of, compute_[std::size_t(of)].copies_done());
      return;
    case Event::KernelsDone:
      go_on(of, compute_[std::size_t(of)].kernels_done(which));
      return;
    case Event::Issued:
      go_on(of, compute_[std::size_t(of)].issued());
      return;
    case Event::PartDone:
      go_on(of, compute_[std::size_t(of)].collective_done({}));
      return;
    case Event::StepLatency:
      channels_.start_flows(of);
      return;
    case Event::FlowDone:
      if (const auto ended = channels_.flow_done(of)) end_collective(*ended);
      return;
    case Event::SendLatency:
      transfers_.start_flow(of);
      return;
    case Event::TransferDone:
      end_transfer(transfers_.end(of));
      return;
  }
}

// ---- ops ----------------------------------------------------------------------------------------

// Starts the next op of a stream if the stream is free and nothing is missing.
void Machine::advance(int rank, Stream stream) {
  Streams& streams = streams_[std::size_t(rank)];
  if (!streams.is_free(stream)) return;
  if (rendezvous_ && stream == Stream::Compute)
    if (const int head = streams.head(stream); head >= 0)
      satisfy(rendezvous_->post_for(rank, head));
  const int op = streams.start(stream);
  if (op >= 0) begin(rank, op);
}

void Machine::begin(int rank, int op) {
  const Op& what = op_at(rank, op);
  Compute& compute = compute_[std::size_t(rank)];
  switch (what.kind) {
    case OpKind::Compute:
      go_on(rank, compute.begin(op));
      return;
    case OpKind::Collective:
      if (what.stream == Stream::Compute)
        compute.issue_collective();
      else
        compute.kernels().take_share(share_of(rank, what));
      join(rank, op, use_of(what));
      return;
    case OpKind::Send:
      transfers_.send(rank, op);
      return;
    case OpKind::Receive:  // on an in-order stream: holds it until the message is there
      if (transfers_.receive(rank, op)) finish(rank, op, agenda_.now());
      return;
  }
}

void Machine::go_on(int rank, Compute::Next next) {
  Compute& compute = compute_[std::size_t(rank)];
  if (next == Compute::Next::Join) join(rank, compute.op(), compute.use());
  if (next == Compute::Next::End) finish(rank, compute.end());
}

void Machine::join(int rank, int op, int use) {
  const CollectiveCost& cost = input_.communicators.cost(programs_[std::size_t(rank)].rank, use);
  if (cost.communicator >= 0)
    channels_.join(rank, op, use, cost);
  else if (op_at(rank, op).kind == OpKind::Compute)  // a group of one
    agenda_.after(Seconds(0), {Event::PartDone, rank});
  else
    finish(rank, op, agenda_.now());
}

void Machine::finish(int rank, int op, Seconds start) {
  finish(rank, {.op = op, .start = start, .end = agenda_.now()});
}

void Machine::finish(int rank, const Span& span) {
  const Op& op = op_at(rank, span.op);
  trace_.ranks[std::size_t(rank)].spans.push_back(span);
  trace_.end = std::max(trace_.end, span.end);
  streams_[std::size_t(rank)].end(op.stream);
  const bool is_transfer = op.kind == OpKind::Send || op.kind == OpKind::Receive;
  if (is_transfer && op.stream == Stream::Compute) compute_[std::size_t(rank)].synchronize_host();
  for (const int dependent : programs_[std::size_t(rank)].index->dependents[std::size_t(span.op)])
    satisfy_one(rank, dependent);
  advance(rank, op.stream);
  if (op.kind == OpKind::Collective && op.stream != Stream::Compute)
    compute_[std::size_t(rank)].kernels().give_share_back(share_of(rank, op));
}

void Machine::satisfy_one(int rank, int op) {
  if (!streams_[std::size_t(rank)].satisfy_one(op)) return;
  const Stream stream = op_at(rank, op).stream;
  // Not at once: a chain of ops that take no time is as deep as it is long.
  if (stream == Stream::Transfers)
    agenda_.after(Seconds(0), {Event::Begin, rank, std::uint32_t(op)});
  else
    advance(rank, stream);
}

void Machine::satisfy(const std::vector<Rendezvous::PostedSend>& sends) {
  for (const auto& [rank, op] : sends) satisfy_one(rank, op);
}

// ---- between ranks ------------------------------------------------------------------------------

void Machine::end_collective(const Channels::Ended& ended) {
  for (const auto& [rank, op, joined] : ended.members) {
    if (op_at(rank, op).kind == OpKind::Compute) {
      Compute& compute = compute_[std::size_t(rank)];
      go_on(rank, compute.collective_done(ended.cost.compute_share));
    } else {
      core_time_.charge(rank, ended.cost.per_member, joined);
      finish(rank, op, joined.at);
    }
  }
}

void Machine::end_transfer(const Transfers::Transfer& ended) {
  const Bytes bytes = op_at(ended.receiver, ended.receive).bytes;
  core_time_.charge(ended.sender, bytes / 2, ended.sender_mark);
  core_time_.charge(ended.receiver, bytes / 2, ended.receiver_mark);
  if (const auto start = transfers_.receive_start(ended))
    finish(ended.receiver, ended.receive, *start);
  finish(ended.sender, ended.send, ended.sender_mark.at);
}

int Machine::use_of(const Op& op) const {
  return input_.communicators.use_index({op.group, op.collective, op.bytes});
}

ComputeShare Machine::share_of(int rank, const Op& op) const {
  return input_.communicators.cost(programs_[std::size_t(rank)].rank, use_of(op)).compute_share;
}

}  // namespace

Trace run_machine(const MachineInput& input, Network& network) {
  return Machine(input, network).run();
}

}  // namespace windtunnel
