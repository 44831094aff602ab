#include "backend/execute/measured_trace.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <map>
#include <tuple>

#include "base/check.hpp"

namespace windtunnel {

namespace {

using Times = std::vector<std::vector<OpTime>>;

const Program& program_of(const Plan& plan, int rank) {
  return plan.programs[std::size_t(plan.grid.coordinates(rank).pipeline)];
}

// Members run the same collectives of a group in the same order, so the number tells which ones
// belong together, also between programs.
void start_collectives_together(const Plan& plan, Times& times) {
  std::map<std::tuple<GroupName, Stream, int, int>, std::vector<OpTime*>> joined;
  for (int rank = 0; rank < plan.grid.size(); ++rank) {
    std::map<std::pair<GroupName, Stream>, int> count;
    const Program& program = program_of(plan, rank);
    for (std::size_t i = 0; i < program.ops.size(); ++i) {
      const Op& op = program.ops[i];
      if (op.kind != OpKind::Collective) continue;
      const int first = plan.grid.members(op.group, rank).front();
      joined[{op.group, op.stream, first, count[{op.group, op.stream}]++}].push_back(
          &times[std::size_t(rank)][i]);
    }
  }
  for (auto& [collective, members] : joined) {
    double begin = 0;
    for (const OpTime* member : members) begin = std::max(begin, member->begin);
    for (OpTime* member : members) member->begin = std::min(begin, member->end);
  }
}

void join_messages(const Plan& plan, Times& times) {
  struct Message {
    OpTime *send = nullptr, *receive = nullptr;
  };
  // By tensor and data coordinate, purpose, stage and micro-batch.
  std::map<std::tuple<int, int, Purpose, int, int>, Message> messages;
  for (int rank = 0; rank < plan.grid.size(); ++rank) {
    const Coordinates at = plan.grid.coordinates(rank);
    const Program& program = program_of(plan, rank);
    for (std::size_t i = 0; i < program.ops.size(); ++i) {
      const Op& op = program.ops[i];
      if (op.kind != OpKind::Send && op.kind != OpKind::Receive) continue;
      Message& message = messages[{at.tensor, at.data, op.purpose, op.stage, op.micro_batch}];
      (op.kind == OpKind::Send ? message.send : message.receive) = &times[std::size_t(rank)][i];
    }
  }
  for (auto& [key, message] : messages) {
    SIM_CHECK(message.send && message.receive, "a message without sender or receiver");
    message.receive->begin =
        std::min(message.receive->end, std::max(message.receive->begin, message.send->begin));
    message.send->end = std::max(message.send->end, message.receive->end);
  }
}

// Sends of one stream follow one another.
void order_sends(const Plan& plan, Times& times) {
  for (int rank = 0; rank < plan.grid.size(); ++rank) {
    std::map<Stream, double> last;
    const Program& program = program_of(plan, rank);
    for (std::size_t i = 0; i < program.ops.size(); ++i) {
      if (program.ops[i].kind != OpKind::Send) continue;
      OpTime& send = times[std::size_t(rank)][i];
      double& before = last[program.ops[i].stream];
      send.begin = std::min(send.end, std::max(send.begin, before));
      before = send.end;
    }
  }
}

}  // namespace

Trace measured_trace(const Plan& plan, std::vector<std::vector<OpTime>> times) {
  SIM_CHECK(int(times.size()) == plan.grid.size(), "one list of times for each rank");
  double origin = std::numeric_limits<double>::infinity();
  for (const auto& rank : times)
    for (const OpTime& op : rank) origin = std::min(origin, op.begin);
  start_collectives_together(plan, times);
  join_messages(plan, times);
  order_sends(plan, times);
  Trace trace;
  for (int rank = 0; rank < plan.grid.size(); ++rank) {
    RankTrace& spans =
        trace.ranks.emplace_back(RankTrace{rank, 1, plan.grid.coordinates(rank).pipeline, {}});
    for (std::size_t i = 0; i < times[std::size_t(rank)].size(); ++i) {
      const OpTime& op = times[std::size_t(rank)][i];
      spans.spans.push_back({int(i), Seconds(op.begin - origin), Seconds(op.end - origin),
                             op.parts.communication, op.parts.recompute});
      trace.end = std::max(trace.end, spans.spans.back().end);
    }
    std::sort(spans.spans.begin(), spans.spans.end(), [](const Span& a, const Span& b) {
      return a.end != b.end ? a.end < b.end : a.op < b.op;
    });
  }
  return trace;
}

namespace {

using Record = std::array<double, 4>;

}  // namespace

std::string serialized(const std::vector<OpTime>& times) {
  std::string text(times.size() * sizeof(Record), '\0');
  for (std::size_t i = 0; i < times.size(); ++i) {
    const OpTime& op = times[i];
    const Record record = {op.begin, op.end, op.parts.communication.value,
                           op.parts.recompute.value};
    std::memcpy(&text[i * sizeof record], record.data(), sizeof record);
  }
  return text;
}

std::vector<OpTime> op_times(const std::string& serialized) {
  std::vector<OpTime> times(serialized.size() / sizeof(Record));
  for (std::size_t i = 0; i < times.size(); ++i) {
    Record record{};
    std::memcpy(record.data(), &serialized[i * sizeof record], sizeof record);
    times[i] = {record[0], record[1], {Seconds(record[2]), Seconds(record[3])}};
  }
  return times;
}

}  // namespace windtunnel
