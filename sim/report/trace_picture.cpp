#include "report/trace_picture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "report/compute_stream.hpp"
#include "report/memory_course.hpp"
#include "report/trace_index.hpp"

namespace windtunnel {

namespace {

// Perfetto keeps process 0 and thread 0 for the idle task of a CPU and takes the thread whose
// number is its process's for the main one: https://perfetto.dev/docs/analysis/sql-tables.
constexpr int kThreadsPerStream = 1000, kFirstThread = 10'000'000;
// Below the compute stream: why it idles.
constexpr int kIdleThread = kFirstThread + kThreadsPerStream / 2;
int process_of(int rank) {
  return rank + 1;
}

// What slices of an op of a program say.
struct OpText {
  std::string name;
  std::vector<SliceArgument> arguments;
};
using ProgramText = std::vector<OpText>;

ProgramText program_text(const Program& program) {
  ProgramText texts;
  for (const Op& op : program.ops) {
    OpText& text = texts.emplace_back();
    text.name = op_name(op);
    const auto add = [&text](std::string_view key, auto value) {
      text.arguments.push_back({key, value});
    };
    add("purpose", std::string(name_of(kPurposeNames, op.purpose)));
    if (op.stage >= 0) add("stage", std::int64_t{op.stage});
    if (op.micro_batch >= 0) add("micro_batch", std::int64_t{op.micro_batch});
    if (op.first_layer >= 0) add("layers", fmt::format("{}-{}", op.first_layer, op.end_layer - 1));
    if (op.kind != OpKind::Compute) add("bytes", std::int64_t(std::llround(op.bytes.value)));
    if (op.kind == OpKind::Collective)
      add("collective", std::string(name_of(kCollectiveKindNames, op.collective)));
  }
  return texts;
}

// Where the slices of one rank are drawn.
struct RankLayout {
  std::vector<int> thread;  // by span
  std::vector<int> order;   // spans by start time
  std::map<int, std::string> thread_names;
};

// Puts a slice on the first thread of its stream that is free when it starts.
RankLayout rank_layout(const Program& program, const RankTrace& rank) {
  const std::vector<Span>& spans = rank.spans;
  RankLayout layout{.thread_names = {{kIdleThread, "idle"}}};
  layout.thread.resize(spans.size());
  for (int i = 0; i < int(spans.size()); ++i) layout.order.push_back(i);
  std::stable_sort(layout.order.begin(), layout.order.end(), [&spans](int a, int b) {
    return spans[std::size_t(a)].start < spans[std::size_t(b)].start;
  });
  std::array<std::vector<Picoseconds>, kStreams> free_from;
  for (const int index : layout.order) {
    const Span& span = spans[std::size_t(index)];
    const auto stream = std::size_t(program.ops[std::size_t(span.op)].stream);
    auto& free = free_from[stream];
    const Picoseconds start = rounded(span.start);
    const auto found =
        std::find_if(free.begin(), free.end(), [start](Picoseconds end) { return end <= start; });
    const auto lane = std::size_t(found - free.begin());
    if (found == free.end()) free.push_back(0);
    free[lane] = rounded(span.end);
    const int thread = kFirstThread + int(stream) * kThreadsPerStream + int(lane);
    layout.thread[std::size_t(index)] = thread;
    layout.thread_names.try_emplace(
        thread, lane == 0 ? std::string(kStreamNames[stream])
                          : fmt::format("{} {}", kStreamNames[stream], lane + 1));
  }
  return layout;
}

// By rank and span: the arrows that begin and end there. In a folded trace several senders may
// have one receiver.
struct Arrows {
  std::map<std::pair<int, int>, std::vector<int>> out, in;
};

Arrows arrows_of(const Trace& trace, const TraceIndex& index,
                 const std::vector<RankLayout>& layouts) {
  Arrows arrows;
  int number = 0;
  for (int sender = 0; sender < int(trace.ranks.size()); ++sender)
    for (const int i : layouts[std::size_t(sender)].order) {
      const Op& op = index.op(sender, trace.ranks[std::size_t(sender)].spans[std::size_t(i)]);
      if (op.kind != OpKind::Send) continue;
      const auto receiver = index.other_end(sender, op);
      if (!receiver) continue;
      const int far = int(receiver->span - index.spans(receiver->rank).data());
      arrows.out[{sender, i}].push_back(number);
      arrows.in[{receiver->rank, far}].push_back(number++);
    }
  return arrows;
}

// Times are rounded as those of slices are, so a pause touches its neighbours.
void draw_pauses(int process, const std::vector<Idle>& pauses, TraceWriter& writer) {
  for (const Idle& pause : pauses) {
    const Picoseconds start = rounded(pause.begin), end = rounded(pause.end);
    if (end <= start) continue;
    writer.slice({.process = process,
                  .thread = kIdleThread,
                  .start = start,
                  .end = end,
                  .name = std::string(kIdleCauseNames[std::size_t(pause.cause)]),
                  .category = "idle"});
  }
}

void draw_memory(const Program& program, const RankTrace& rank, TraceWriter& writer) {
  std::array<CounterValue, kMemoryKindNames.size()> values;
  for (const auto& [time, memory] : memory_course(program, rank)) {
    for (std::size_t kind = 0; kind < memory.size(); ++kind)
      values[kind] = {kMemoryKindNames[kind], std::round(memory[kind].value)};
    writer.counter(process_of(rank.rank), "memory_bytes", "bytes", time, values);
  }
}

// What part of the capacity of a class of links is in use, all links of the class together.
void draw_links(int process, int place, const Trace& trace, TraceWriter& writer) {
  std::size_t bins = 0;
  std::vector<CounterValue> values;
  for (const ClassActivity& activity : trace.activity) {
    bins = std::max(bins, activity.bytes.size());
    values.push_back({name_of(kLinkClassNames, activity.kind), 0});
  }
  if (bins == 0) return;
  writer.process(process, place, "links");
  for (std::size_t bin = 0; bin <= bins; ++bin) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const ClassActivity& activity = trace.activity[i];
      const bool carries = bin < activity.bytes.size() && activity.capacity > Rate(0);
      constexpr double kPercent = 100;
      values[i].value =
          carries ? kPercent * (activity.bytes[bin] / (activity.capacity * trace.activity_bin)) : 0;
    }
    writer.counter(process, "link_load_percent", "%", rounded(trace.activity_bin * double(bin)),
                   values);
  }
}

}  // namespace

void draw_trace(const Plan& plan, const Trace& trace, TraceWriter& writer) {
  const TraceIndex index(plan, trace);
  std::vector<ProgramText> texts;
  std::vector<RankLayout> layouts;
  texts.reserve(plan.programs.size());
  layouts.reserve(trace.ranks.size());
  for (const Program& program : plan.programs) texts.push_back(program_text(program));
  for (int i = 0; i < int(trace.ranks.size()); ++i)
    layouts.push_back(rank_layout(index.program(i), trace.ranks[std::size_t(i)]));
  std::vector<std::vector<int>> behind;
  behind.reserve(plan.programs.size());
  for (const Program& program : plan.programs) behind.push_back(queued_behind(program));
  const Arrows arrows = arrows_of(trace, index, layouts);
  const auto arrows_at = [](const auto& map, int rank, int span) {
    const auto found = map.find({rank, span});
    return found == map.end() ? std::vector<int>() : found->second;
  };
  for (int i = 0; i < int(trace.ranks.size()); ++i) {
    const RankTrace& rank = trace.ranks[std::size_t(i)];
    const RankLayout& layout = layouts[std::size_t(i)];
    const Program& program = index.program(i);
    std::string name = fmt::format("rank {} (stage {})", rank.rank, program.pipeline);
    if (rank.represented > 1) name += fmt::format(" x{}", rank.represented);
    const int process = process_of(rank.rank);
    writer.process(process, rank.rank, name);
    for (const auto& [thread, thread_name] : layout.thread_names)
      writer.thread(process, thread, thread_name);
    for (const int s : layout.order) {
      const Span& span = rank.spans[std::size_t(s)];
      const OpText& text = texts[std::size_t(rank.program)][std::size_t(span.op)];
      TraceSlice slice{
          .process = process,
          .thread = layout.thread[std::size_t(s)],
          .start = rounded(span.start),
          .end = rounded(span.end),
          .name = text.name,
          .category = name_of(kPurposeNames, program.ops[std::size_t(span.op)].purpose),
          .arguments = text.arguments,
          .arrows_out = arrows_at(arrows.out, i, s),
          .arrows_in = arrows_at(arrows.in, i, s)};
      constexpr double kMicro = 1e-6;  // picoseconds in microseconds
      if (span.communication > Seconds(0))
        slice.arguments.push_back(
            {"tensor_communication_us", double(rounded(span.communication)) * kMicro});
      if (span.recompute > Seconds(0))
        slice.arguments.push_back({"recompute_us", double(rounded(span.recompute)) * kMicro});
      writer.slice(slice);
    }
    draw_pauses(process, pauses(index, i, behind[std::size_t(rank.program)], trace.end), writer);
    draw_memory(program, rank, writer);
  }
  draw_links(process_of(plan.grid.size()), plan.grid.size(), trace, writer);
}

}  // namespace windtunnel
