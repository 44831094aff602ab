#include "engine/machine.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/check.hpp"
#include "base/mix.hpp"
#include "engine/program_index.hpp"

namespace windtunnel {

namespace {

enum class Event : std::uint8_t {
  CopiesDone,    // a: rank
  KernelsDone,   // a: rank, and which of its timers
  PartDone,      // a: rank
  Issued,        // a: rank
  StepLatency,   // a: channel
  FlowDone,      // a: channel
  SendLatency,   // a: transfer
  TransferDone,  // a: transfer
  Begin,         // a: rank and op of a stream without order
};

constexpr int kRankBits = 24;  // of a token; the timer has the 32 above them

Token token_of(Event event, std::size_t index) {
  return (Token(event) << 56) | Token(index);
}
constexpr int kOpBits = 32;
Token token_of_op(int rank, int op) {
  return token_of(Event::Begin, (std::size_t(rank) << kOpBits) | std::size_t(op));
}

bool is_send_stream(Stream stream) {
  return stream == Stream::SendActivation || stream == Stream::SendGradient;
}

struct RankState {
  std::vector<int> waits;  // by op: how many it still waits for
  std::array<int, kStreams> position{};
  std::array<bool, kStreams> busy{};
  std::array<Seconds, kStreams> started{};
  std::vector<bool> arrived;  // by op: a message that came before its blocking receive
  std::array<std::set<int>, kStreams> ready;  // sends that wait for nothing but their stream
  std::vector<int> posted;                    // by queue of receives: how many are posted
  Seconds computed;                           // in compute ops that have ended
  Seconds copying;  // core time that communication has taken: the next compute op is late by it
  std::map<int, Seconds> wanted;  // receives of the Transfers stream that wait for their message
  // The compute op under way.
  int op = -1;
  std::size_t segment = 0;
  int pending = 0;  // parts of the segment that have not ended
  Seconds segment_start, communication, recompute;
  // Its kernels: what is left of them at full speed since `kernels_since`. Collectives beside them
  // take a share of the GPU; a change of speed voids the timer under way. They do not end before
  // the host has issued the last of them and it has run.
  bool kernels_run = false;
  Seconds kernels_left, kernels_since, kernels_issued;
  double speed = 1;
  std::uint32_t timer = 0;
  std::multiset<double> shares;  // of the collectives under way beside compute
  Seconds host;                  // when the host has issued everything up to now
};

// The collective under way on a channel.
struct ChannelState {
  struct Waiter {
    int rank = 0, op = 0;
    Seconds computed;  // by the rank when the last member came
  };
  struct EdgeFlow {
    int path = 0;
    Bytes bytes;
    Rate limit;
  };
  std::vector<Waiter> waiters;
  const CollectiveCost* cost = nullptr;
  Bytes size;
  std::size_t step = 0;  // phase, or round
  std::vector<std::vector<EdgeFlow>> rounds;
  int flows = 0;    // under way
  Seconds flowing;  // since when
  Seconds joined;   // when the last member came
};

struct Transfer {
  int rank = 0, op = 0;           // the Send
  int receiver = 0, receive = 0;  // the Receive
  int path = 0;
  Rate limit;
  Seconds start, flowing;                      // sent; its bytes on the way
  Seconds sender_computed, receiver_computed;  // at the start
};

class Machine {
 public:
  Machine(const MachineInput& input, Network& network);
  Trace run();

 private:
  void handle(Token token);
  void advance(int rank, Stream stream);
  void begin(int rank, int op);
  void finish(int rank, int op, Seconds start);
  void record(int rank, int op, Seconds start);
  void release_dependents(int rank, int op);
  void satisfy_one(int rank, int op);
  void set_ready(int rank, int op);
  int next_op(int rank, Stream stream);

  void begin_compute(int rank, int op);
  Seconds walk(const MergedBlock& merged, Seconds start, RankState& state) const;
  void begin_segment(int rank);
  void join_segment(int rank);
  void part_done(int rank);
  void start_kernels(int rank, Seconds time, Seconds issued);
  void set_timer(int rank);
  double share_of(int rank, int op) const;
  void take_share(int rank, double share);
  void give_share_back(int rank, double share);
  void change_speed(int rank);
  void kernels_done(int rank);
  bool is_merged(int rank, int op) const;

  void join(int rank, int op, int use);
  std::vector<std::vector<ChannelState::EdgeFlow>> rounds_of(int channel) const;
  void begin_step(int channel);
  template <class Visit>
  void for_flows(int channel, const Visit& visit) const;
  void start_flows(int channel);
  void step_done(int channel);

  void begin_send(int rank, int op);
  void deliver(const Transfer& transfer);
  void post_for(int rank, int op);
  void post(int rank, int queue, int count);
  void let_send(int receiver, int receive);

  Seconds computed(int rank) const;
  void charge_copies(int rank, Bytes bytes, Seconds start, Seconds computed_before);

  void later(Seconds delay, Token token);
  void flow(int path, Bytes bytes, Rate limit, Token token);
  void carry(int path, Bytes bytes, Seconds start, Seconds end);
  double noise(int rank, int op, std::size_t segment) const;
  bool is_rendezvous() const {
    return input_.communication.point_to_point == PointToPoint::Rendezvous;
  }
  const Op& op_at(int rank, int op) const { return program_of(rank).ops[std::size_t(op)]; }
  const Program& program_of(int rank) const {
    return input_.plan.programs[std::size_t(input_.layout.ranks[std::size_t(rank)].program)];
  }
  const ProgramIndex& index_of(int rank) const {
    return indices_[std::size_t(input_.layout.ranks[std::size_t(rank)].program)];
  }

  const MachineInput& input_;
  Network& network_;
  std::vector<ProgramIndex> indices_;
  std::vector<RankState> ranks_;
  std::vector<ChannelState> channels_;
  std::vector<Transfer> transfers_;
  std::vector<std::size_t> free_transfers_;
  std::deque<Token> due_;       // happens now, after what is happening
  std::vector<Bytes> carried_;  // by path
  Activity activity_;
  Trace trace_;
};

Machine::Machine(const MachineInput& input, Network& network) : input_(input), network_(network) {
  for (const Program& program : input.plan.programs) indices_.emplace_back(program);
  for (const Layout::Rank& rank : input.layout.ranks) {
    RankState& state = ranks_.emplace_back();
    const ProgramIndex& index = indices_[std::size_t(rank.program)];
    state.waits = index.waits;
    // A send waits for the post of its receive as for an op.
    if (is_rendezvous())
      for (const auto& [message, send] : index.sends) ++state.waits[std::size_t(send)];
    state.arrived.resize(state.waits.size());
    state.posted.resize(index.queues.size());
    trace_.ranks.push_back({rank.rank, rank.represented, rank.program, {}});
    trace_.ranks.back().spans.reserve(state.waits.size());
  }
  channels_.resize(input.layout.channels.size());
  carried_.resize(input.layout.wiring.paths.size());
}

Trace Machine::run() {
  for (int rank = 0; rank < int(ranks_.size()); ++rank)
    for (int op = 0; op < int(ranks_[std::size_t(rank)].waits.size()); ++op)
      if (ranks_[std::size_t(rank)].waits[std::size_t(op)] == 0) set_ready(rank, op);
  if (is_rendezvous())
    for (int rank = 0; rank < int(ranks_.size()); ++rank)
      for (int queue = 0; queue < int(index_of(rank).queues.size()); ++queue)
        post(rank, queue, input_.communication.receives_ahead);
  for (int rank = 0; rank < int(ranks_.size()); ++rank) {
    for (std::size_t stream = 0; stream < kStreams; ++stream) advance(rank, Stream(stream));
    for (const int op : index_of(rank).order[std::size_t(Stream::Transfers)])
      if (index_of(rank).waits[std::size_t(op)] == 0) due_.push_back(token_of_op(rank, op));
  }
  const auto drain = [this] {
    while (!due_.empty()) {
      const Token token = due_.front();
      due_.pop_front();
      handle(token);
    }
  };
  drain();
  network_.run([&](Token token) {
    handle(token);
    drain();
  });
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    std::vector<Span>& spans = trace_.ranks[rank].spans;
    SIM_CHECK(spans.size() == ranks_[rank].waits.size(),
              "the plan stopped before its end on rank " + std::to_string(trace_.ranks[rank].rank));
    // Events of one date come in any order.
    std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
      return a.end != b.end ? a.end < b.end : a.op < b.op;
    });
  }
  trace_.links.resize(input_.layout.wiring.capacities.size());
  for (std::size_t path = 0; path < carried_.size(); ++path)
    for (const LinkUse& use : input_.layout.wiring.paths[path])
      trace_.links[std::size_t(use.link)].bytes += carried_[path] * use.times;
  trace_.activity_bin = activity_.bin();
  for (std::size_t kind = 0; kind < kLinkClasses; ++kind)
    trace_.activity.push_back(
        {LinkClass(kind), Rate(0), activity_.bins(LinkClass(kind), trace_.end)});
  return std::move(trace_);
}

void Machine::handle(Token token) {
  const std::size_t index = token & ((Token(1) << 56) - 1);
  constexpr std::uint64_t kEventsPerReport = 1 << 16;
  if (++trace_.events % kEventsPerReport == 0 && input_.on_progress)
    input_.on_progress({trace_.events, network_.now()});
  switch (Event(token >> 56)) {
    case Event::CopiesDone:
      begin_segment(int(index));
      return;
    case Event::KernelsDone: {
      const int rank = int(index & ((Token(1) << kRankBits) - 1));
      RankState& state = ranks_[std::size_t(rank)];
      if (state.kernels_run && index >> kRankBits == state.timer) kernels_done(rank);
      return;
    }
    case Event::PartDone:
      part_done(int(index));
      return;
    case Event::Issued:
      join_segment(int(index));
      return;
    case Event::StepLatency:
      start_flows(int(index));
      return;
    case Event::FlowDone:
      if (--channels_[index].flows == 0) step_done(int(index));
      return;
    case Event::SendLatency: {
      Transfer& transfer = transfers_[index];
      transfer.flowing = network_.now();
      flow(transfer.path, op_at(transfer.rank, transfer.op).bytes, transfer.limit,
           token_of(Event::TransferDone, index));
      return;
    }
    case Event::TransferDone: {
      const Transfer transfer = transfers_[index];
      free_transfers_.push_back(index);
      carry(transfer.path, op_at(transfer.rank, transfer.op).bytes, transfer.flowing,
            network_.now());
      deliver(transfer);
      return;
    }
    case Event::Begin:
      begin(int(index >> kOpBits), int(index & ((std::size_t(1) << kOpBits) - 1)));
      return;
  }
}

void Machine::later(Seconds delay, Token token) {
  if (delay.value > 0)
    network_.after(delay, token);
  else
    due_.push_back(token);
}

void Machine::flow(int path, Bytes bytes, Rate limit, Token token) {
  if (bytes.value > 0)
    network_.flow(path, bytes, limit, token);
  else
    due_.push_back(token);
}

// Notes what links carried from start to end.
void Machine::carry(int path, Bytes bytes, Seconds start, Seconds end) {
  carried_[std::size_t(path)] += bytes;
  BytesByClass by_class = input_.class_share[std::size_t(path)];
  for (double& of_class : by_class) of_class *= bytes.value;
  activity_.add(start, end, by_class);
}

// ---- streams ------------------------------------------------------------------------------------

// Starts the next op of a stream if the stream is free and nothing is missing.
void Machine::advance(int rank, Stream stream) {
  // Messages come as they are sent; what has no order is begun by what it waits for.
  if (stream == Stream::Receive || stream == Stream::Transfers) return;
  RankState& state = ranks_[std::size_t(rank)];
  if (state.busy[std::size_t(stream)]) return;
  const int op = next_op(rank, stream);
  if (op < 0) return;
  state.busy[std::size_t(stream)] = true;
  state.started[std::size_t(stream)] = network_.now();
  begin(rank, op);
}

// The op that a free stream runs now; -1: none can run yet. Streams run in program order, but a
// send whose receiver is late lets others of its stream pass, as Gloo's sends do: otherwise two
// ranks might wait for each other for ever.
int Machine::next_op(int rank, Stream stream) {
  RankState& state = ranks_[std::size_t(rank)];
  if (is_send_stream(stream)) {
    std::set<int>& ready = state.ready[std::size_t(stream)];
    return ready.empty() ? -1 : ready.extract(ready.begin()).value();
  }
  const std::vector<int>& order = index_of(rank).order[std::size_t(stream)];
  const int position = state.position[std::size_t(stream)];
  if (position == int(order.size())) return -1;
  const int op = order[std::size_t(position)];
  if (stream == Stream::Compute && is_rendezvous()) post_for(rank, op);
  return state.waits[std::size_t(op)] > 0 ? -1 : op;
}

void Machine::begin(int rank, int op) {
  const Op& what = op_at(rank, op);
  switch (what.kind) {
    case OpKind::Compute:
      begin_compute(rank, op);
      return;
    case OpKind::Collective:
      if (what.stream == Stream::Compute) ranks_[std::size_t(rank)].host += input_.collective_issue;
      if (what.stream != Stream::Compute) take_share(rank, share_of(rank, op));
      join(rank, op, input_.communicators.use_index({what.group, what.collective, what.bytes}));
      return;
    case OpKind::Send:
      begin_send(rank, op);
      return;
    case OpKind::Receive:  // on an in-order stream: holds it until the message is there
      if (ranks_[std::size_t(rank)].arrived[std::size_t(op)])
        finish(rank, op, network_.now());
      else if (what.stream == Stream::Transfers)
        ranks_[std::size_t(rank)].wanted[op] = network_.now();
      return;
  }
}

void Machine::record(int rank, int op, Seconds start) {
  RankState& state = ranks_[std::size_t(rank)];
  Span span{.op = op, .start = start, .end = network_.now()};
  if (op == state.op) {
    span.communication = state.communication;
    span.recompute = state.recompute;
    state.computed += span.end - start;
    state.op = -1;
  }
  trace_.ranks[std::size_t(rank)].spans.push_back(span);
  trace_.end = std::max(trace_.end, span.end);
}

void Machine::finish(int rank, int op, Seconds start) {
  const Stream stream = op_at(rank, op).stream;
  RankState& state = ranks_[std::size_t(rank)];
  record(rank, op, start);
  // A blocking receive is one that the host waits for too.
  if (stream != Stream::Receive && stream != Stream::Transfers) {
    state.busy[std::size_t(stream)] = false;
    ++state.position[std::size_t(stream)];
  }
  release_dependents(rank, op);
  advance(rank, stream);
  if (op_at(rank, op).kind == OpKind::Collective && stream != Stream::Compute)
    give_share_back(rank, share_of(rank, op));
}

void Machine::release_dependents(int rank, int op) {
  for (const int dependent : index_of(rank).dependents[std::size_t(op)])
    satisfy_one(rank, dependent);
}

// One of the things that an op waits for is there.
void Machine::satisfy_one(int rank, int op) {
  if (--ranks_[std::size_t(rank)].waits[std::size_t(op)] > 0) return;
  const Stream stream = op_at(rank, op).stream;
  set_ready(rank, op);
  // Not at once: a chain of ops that take no time is as deep as it is long.
  if (stream == Stream::Transfers)
    due_.push_back(token_of_op(rank, op));
  else
    advance(rank, stream);
}

void Machine::set_ready(int rank, int op) {
  const Stream stream = op_at(rank, op).stream;
  if (is_send_stream(stream)) ranks_[std::size_t(rank)].ready[std::size_t(stream)].insert(op);
}

// ---- compute ------------------------------------------------------------------------------------

void Machine::begin_compute(int rank, int op) {
  RankState& state = ranks_[std::size_t(rank)];
  state.op = op;
  state.segment = 0;
  state.communication = state.recompute = Seconds(0);
  state.host += index_of(rank).issued_before[std::size_t(op)] * input_.collective_issue;
  const std::size_t block = std::size_t(op_at(rank, op).block);
  const RunnableBlock& runnable = input_.blocks[std::size_t(rank)][block];
  const Seconds copying = std::exchange(state.copying, Seconds(0));
  if (!is_merged(rank, op)) {
    if (copying.value > 0)
      later(copying, token_of(Event::CopiesDone, std::size_t(rank)));
    else
      begin_segment(rank);
    return;
  }
  const MergedBlock& merged = *runnable.merged;
  state.recompute = merged.recompute;
  state.communication = merged.communication;
  const Seconds begin = network_.now() + copying;
  const Seconds total = merged.segments ? walk(merged, begin, state) : merged.total;
  state.pending = 1;
  for (const auto& [path, bytes] : merged.carried) carry(path, bytes, begin, begin + total);
  start_kernels(rank, copying + total, network_.now());
}

// What begin_segment to part_done do for each segment, without events.
Seconds Machine::walk(const MergedBlock& merged, Seconds start, RankState& state) const {
  Seconds now = start;
  state.communication = Seconds(0);
  for (std::size_t i = 0; i < merged.segments->size(); ++i) {
    const Segment& segment = (*merged.segments)[i];
    const auto [collective, share] = merged.collectives[i];
    const Seconds joined = std::max(now, state.host + input_.collective_issue);
    const Seconds alone = std::min(segment.compute, joined - now);
    const Seconds computed =
        std::max(now + alone + beside(segment.compute - alone, collective, share),
                 state.host + segment.late);
    const Seconds end = segment.use < 0 ? computed : std::max(computed, joined + collective);
    state.host += segment.host;
    state.communication += end - computed;
    now = end;
  }
  return now - start;
}

// A collective inside a span keeps its time when one beside it slows the kernels down, and so does
// a host that is late, so that such a block runs by segments.
bool Machine::is_merged(int rank, int op) const {
  const RunnableBlock& runnable =
      input_.blocks[std::size_t(rank)][std::size_t(op_at(rank, op).block)];
  if (!runnable.merged) return false;
  const bool is_compute_alone = runnable.merged->carried.empty() && !runnable.merged->segments;
  return is_compute_alone || op <= index_of(rank).alone_until;
}

// ---- kernels, and what collectives take from them -----------------------------------------------

void Machine::start_kernels(int rank, Seconds time, Seconds issued) {
  RankState& state = ranks_[std::size_t(rank)];
  state.kernels_run = true;
  state.kernels_left = time;
  state.kernels_since = network_.now();
  state.kernels_issued = issued;
  set_timer(rank);
}

void Machine::set_timer(int rank) {
  RankState& state = ranks_[std::size_t(rank)];
  ++state.timer;
  later(std::max(state.kernels_left / state.speed, state.kernels_issued - network_.now()),
        token_of(Event::KernelsDone, (std::size_t(state.timer) << kRankBits) | std::size_t(rank)));
}

double Machine::share_of(int rank, int op) const {
  const Op& what = op_at(rank, op);
  const int real_rank = input_.layout.ranks[std::size_t(rank)].rank;
  const int use = input_.communicators.use_index({what.group, what.collective, what.bytes});
  return input_.communicators.cost(real_rank, use).compute_share;
}

void Machine::take_share(int rank, double share) {
  if (share == 0) return;
  ranks_[std::size_t(rank)].shares.insert(share);
  change_speed(rank);
}

void Machine::give_share_back(int rank, double share) {
  if (share == 0) return;
  ranks_[std::size_t(rank)].shares.extract(share);
  change_speed(rank);
}

void Machine::change_speed(int rank) {
  RankState& state = ranks_[std::size_t(rank)];
  const double speed = state.shares.empty() ? 1 : 1 - *state.shares.rbegin();
  if (speed == state.speed) return;
  if (state.kernels_run) {
    const Seconds done = (network_.now() - state.kernels_since) * state.speed;
    state.kernels_left = std::max(Seconds(0), state.kernels_left - done);
    state.kernels_since = network_.now();
  }
  state.speed = speed;
  if (state.kernels_run) set_timer(rank);
}

void Machine::kernels_done(int rank) {
  RankState& state = ranks_[std::size_t(rank)];
  state.kernels_run = false;
  // What a segment takes beyond its kernels is communication.
  if (!is_merged(rank, state.op)) state.communication -= network_.now() - state.segment_start;
  part_done(rank);
}

void Machine::begin_segment(int rank) {
  RankState& state = ranks_[std::size_t(rank)];
  const std::size_t block = std::size_t(op_at(rank, state.op).block);
  const std::vector<Segment>& segments = *input_.blocks[std::size_t(rank)][block].segments;
  state.segment_start = network_.now();
  state.pending = 1;  // the kernels; they may take no time
  Seconds compute, issue, issued;
  int use = -1;
  if (state.segment < segments.size()) {
    const Segment& segment = segments[state.segment];
    const double factor = noise(rank, state.op, state.segment);
    compute = segment.compute * factor;
    issued = state.host + segment.late * factor;
    issue = state.host + input_.collective_issue - network_.now();
    state.host += segment.host;
    state.recompute += segment.recompute * factor;
    use = segment.use;
    if (use >= 0) ++state.pending;
  }
  start_kernels(rank, compute, issued);
  if (use < 0) return;
  if (issue.value > 0)
    network_.after(issue, token_of(Event::Issued, std::size_t(rank)));
  else
    join_segment(rank);
}

void Machine::join_segment(int rank) {
  const RankState& state = ranks_[std::size_t(rank)];
  const std::size_t block = std::size_t(op_at(rank, state.op).block);
  const int use = (*input_.blocks[std::size_t(rank)][block].segments)[state.segment].use;
  const int real_rank = input_.layout.ranks[std::size_t(rank)].rank;
  take_share(rank, input_.communicators.cost(real_rank, use).compute_share);
  join(rank, state.op, use);
}

void Machine::part_done(int rank) {
  RankState& state = ranks_[std::size_t(rank)];
  if (--state.pending > 0) return;
  const Seconds start = state.started[std::size_t(Stream::Compute)];
  const std::size_t block = std::size_t(op_at(rank, state.op).block);
  const RunnableBlock& runnable = input_.blocks[std::size_t(rank)][block];
  if (is_merged(rank, state.op) || runnable.segments->empty()) {
    finish(rank, state.op, start);
    return;
  }
  state.communication += network_.now() - state.segment_start;
  if (++state.segment < runnable.segments->size())
    begin_segment(rank);
  else
    finish(rank, state.op, start);
}

// A uniform factor from the seed, the rank, the op and the segment: the same in every run.
double Machine::noise(int rank, int op, std::size_t segment) const {
  if (!input_.noise || input_.noise->amplitude == 0) return 1;
  std::uint64_t x = 0;
  const auto fold_in = [&x](std::uint64_t value) { x = mix(x + value); };
  fold_in(input_.noise->seed);  // by itself: seed 1 on rank 1 is not seed 2 on rank 0
  fold_in(std::uint64_t(input_.layout.ranks[std::size_t(rank)].rank));
  fold_in(std::uint64_t(op));
  fold_in(segment);
  const double uniform = double(x >> 11) * 0x1.0p-53;
  return 1 + input_.noise->amplitude * (2 * uniform - 1);
}

// ---- collectives --------------------------------------------------------------------------------

void Machine::join(int rank, int op, int use) {
  const int real_rank = input_.layout.ranks[std::size_t(rank)].rank;
  const CollectiveCost& cost = input_.communicators.cost(real_rank, use);
  if (cost.communicator < 0) {  // a group of one
    if (op_at(rank, op).kind == OpKind::Compute)
      later(Seconds(0), token_of(Event::PartDone, std::size_t(rank)));
    else
      finish(rank, op, network_.now());
    return;
  }
  const int channel = input_.layout.channel_of_communicator[std::size_t(cost.communicator)];
  ChannelState& state = channels_[std::size_t(channel)];
  state.waiters.push_back({rank, op, {}});
  if (state.waiters.size() < input_.layout.channels[std::size_t(channel)].members.size()) return;
  state.cost = &cost;
  state.size = input_.communicators.uses[std::size_t(use)].size;
  state.step = 0;
  state.joined = network_.now();
  for (ChannelState::Waiter& waiter : state.waiters) waiter.computed = computed(waiter.rank);
  state.rounds.clear();
  if (input_.rounds) state.rounds = rounds_of(channel);
  begin_step(channel);
}

// The flows of every round of the collective that begins. Sends of several channels between the
// same members are one flow: as fast as all of them, because a path's limit is for one flow.
std::vector<std::vector<ChannelState::EdgeFlow>> Machine::rounds_of(int channel) const {
  const ChannelState& state = channels_[std::size_t(channel)];
  const Layout::Channel& wired = input_.layout.channels[std::size_t(channel)];
  const Communicator& communicator =
      input_.communicators.all[std::size_t(state.cost->communicator)];
  // The protocol's overhead on the wire is the same for every byte.
  const CollectiveStep& first = state.cost->steps.front();
  const double overhead = first.bytes / (state.size * communicator.phases.front().share);
  std::vector<std::vector<ChannelState::EdgeFlow>> rounds;
  for (const Round& round : input_.communicators.rounds(state.cost->communicator, state.size)) {
    std::map<int, ChannelState::EdgeFlow> flows;  // by path
    for (const Send& send : round) {
      const int path = wired.path_of_edge.at({send.from, send.to});
      ChannelState::EdgeFlow& flow = flows[path];
      flow.path = path;
      flow.bytes += send.bytes * overhead;
      flow.limit += first.limit;
    }
    std::vector<ChannelState::EdgeFlow>& together = rounds.emplace_back();
    for (const auto& [path, flow] : flows) together.push_back(flow);
  }
  return rounds;
}

void Machine::begin_step(int channel) {
  const ChannelState& state = channels_[std::size_t(channel)];
  Seconds latency;
  if (state.rounds.empty()) {
    latency = state.cost->steps[state.step].latency;
  } else {
    for (const CollectiveStep& step : state.cost->steps) latency += step.latency;
    latency = latency / double(state.rounds.size());
  }
  later(latency, token_of(Event::StepLatency, std::size_t(channel)));
}

// The flows of a channel's present step: one for a phase, one for each edge of a round.
template <class Visit>
void Machine::for_flows(int channel, const Visit& visit) const {
  const ChannelState& state = channels_[std::size_t(channel)];
  if (state.rounds.empty()) {
    const CollectiveStep& step = state.cost->steps[state.step];
    const Layout::Channel& wired = input_.layout.channels[std::size_t(channel)];
    visit(wired.path_of_phase[state.step], step.bytes, step.limit);
    return;
  }
  for (const ChannelState::EdgeFlow& flow : state.rounds[state.step])
    visit(flow.path, flow.bytes, flow.limit);
}

void Machine::start_flows(int channel) {
  ChannelState& state = channels_[std::size_t(channel)];
  state.flowing = network_.now();
  state.flows = state.rounds.empty() ? 1 : int(state.rounds[state.step].size());
  const Token done = token_of(Event::FlowDone, std::size_t(channel));
  for_flows(channel, [&](int path, Bytes bytes, Rate limit) { flow(path, bytes, limit, done); });
}

void Machine::step_done(int channel) {
  ChannelState& state = channels_[std::size_t(channel)];
  for_flows(channel, [&](int path, Bytes bytes, Rate) {
    carry(path, bytes, state.flowing, network_.now());
  });
  const std::size_t steps = state.rounds.empty() ? state.cost->steps.size() : state.rounds.size();
  if (++state.step < steps) {
    begin_step(channel);
    return;
  }
  const std::vector<ChannelState::Waiter> waiters = std::move(state.waiters);
  state.waiters.clear();
  const Seconds joined = state.joined;  // a waiter may begin the channel's next collective
  const Bytes bytes = state.cost->per_member;
  const double share = state.cost->compute_share;
  for (const auto& [rank, op, computed_before] : waiters) {
    if (op_at(rank, op).kind == OpKind::Compute) {
      give_share_back(rank, share);
      part_done(rank);
    } else {
      charge_copies(rank, bytes, joined, computed_before);
      finish(rank, op, joined);
    }
  }
}

// ---- point to point -----------------------------------------------------------------------------

void Machine::begin_send(int rank, int op) {
  const Op& what = op_at(rank, op);
  const int real_rank = input_.layout.ranks[std::size_t(rank)].rank;
  const int communicator = input_.communicators.pair(real_rank, what.peer);
  const Layout::Channel& channel =
      input_.layout
          .channels[std::size_t(input_.layout.channel_of_communicator[std::size_t(communicator)])];
  const int receiver = channel.members[1];
  const auto receive = index_of(receiver).receives.find(message_of(what));
  SIM_CHECK(receive != index_of(receiver).receives.end(), "a message that nobody receives");
  const CollectiveStep message = input_.communicators.message(communicator, what.bytes);
  const Transfer transfer{.rank = rank,
                          .op = op,
                          .receiver = receiver,
                          .receive = receive->second,
                          .path = channel.path_of_phase.front(),
                          .limit = message.limit,
                          .start = network_.now(),
                          .sender_computed = computed(rank),
                          .receiver_computed = computed(receiver)};
  std::size_t slot = transfers_.size();
  if (free_transfers_.empty()) {
    transfers_.push_back(transfer);
  } else {
    slot = free_transfers_.back();
    free_transfers_.pop_back();
    transfers_[slot] = transfer;
  }
  later(message.latency, token_of(Event::SendLatency, slot));
}

void Machine::deliver(const Transfer& transfer) {
  RankState& receiver = ranks_[std::size_t(transfer.receiver)];
  const Op& receive = op_at(transfer.receiver, transfer.receive);
  charge_copies(transfer.rank, receive.bytes / 2, transfer.start, transfer.sender_computed);
  charge_copies(transfer.receiver, receive.bytes / 2, transfer.start, transfer.receiver_computed);
  receiver.arrived[std::size_t(transfer.receive)] = true;
  if (receive.stream == Stream::Receive) {
    finish(transfer.receiver, transfer.receive, transfer.start);
  } else if (receive.stream == Stream::Transfers) {
    const auto wanted = receiver.wanted.find(transfer.receive);
    if (wanted != receiver.wanted.end())
      finish(transfer.receiver, transfer.receive, std::max(transfer.start, wanted->second));
  } else {
    const auto& order = index_of(transfer.receiver).order[std::size_t(receive.stream)];
    const int position = receiver.position[std::size_t(receive.stream)];
    const bool waiting = receiver.busy[std::size_t(receive.stream)] &&
                         order[std::size_t(position)] == transfer.receive;
    if (waiting)
      finish(transfer.receiver, transfer.receive,
             std::max(transfer.start, receiver.started[std::size_t(receive.stream)]));
  }
  finish(transfer.rank, transfer.op, transfer.start);
}

// ---- rendezvous ---------------------------------------------------------------------------------

// The compute stream has come to this op: the receives that it needs are posted, and some ahead.
void Machine::post_for(int rank, int op) {
  for (const int before : op_at(rank, op).after) {
    const auto [queue, position] = index_of(rank).place_in_queue[std::size_t(before)];
    if (queue >= 0) post(rank, queue, position + 1 + input_.communication.receives_ahead);
  }
}

void Machine::post(int rank, int queue, int count) {
  const std::vector<int>& receives = index_of(rank).queues[std::size_t(queue)];
  int& posted = ranks_[std::size_t(rank)].posted[std::size_t(queue)];
  while (posted < std::min(count, int(receives.size())))
    let_send(rank, receives[std::size_t(posted++)]);
}

void Machine::let_send(int receiver, int receive) {
  const Op& op = op_at(receiver, receive);
  const RankGrid& grid = input_.plan.grid;
  Coordinates at = grid.coordinates(input_.layout.ranks[std::size_t(receiver)].rank);
  const int pipeline = std::exchange(at.pipeline, op.peer);
  const int communicator = input_.communicators.pair(grid.rank(at), pipeline);
  const int channel = input_.layout.channel_of_communicator[std::size_t(communicator)];
  const int sender = input_.layout.channels[std::size_t(channel)].members[0];
  satisfy_one(sender, index_of(sender).sends.at(message_of(op)));
}

// ---- core time of communication -----------------------------------------------------------------

// How long a rank has been in compute ops.
Seconds Machine::computed(int rank) const {
  const RankState& state = ranks_[std::size_t(rank)];
  if (state.op < 0) return state.computed;
  return state.computed + (network_.now() - state.started[std::size_t(Stream::Compute)]);
}

// A rank has sent and received `bytes` since `start`, when it had computed for `computed_before`.
// Its cores copy them at an even pace meanwhile; what falls into compute delays the next compute
// op, the rest falls into time in which the rank waits anyway.
void Machine::charge_copies(int rank, Bytes bytes, Seconds start, Seconds computed_before) {
  const Seconds lasted = network_.now() - start;
  if (lasted.value <= 0) return;
  const double beside_compute = (computed(rank) - computed_before) / lasted;
  ranks_[std::size_t(rank)].copying +=
      Seconds(input_.communication.cpu_seconds_per_byte * bytes.value * beside_compute);
}

}  // namespace

Trace run_machine(const MachineInput& input, Network& network) {
  return Machine(input, network).run();
}

}  // namespace windtunnel
