#include "report/chrome_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "report/compute_stream.hpp"
#include "report/report.hpp"
#include "report/trace_index.hpp"

namespace windtunnel {

namespace {

constexpr std::size_t kFlushBytes = 1 << 20;
constexpr int kThreadsPerStream = 1000;
// Below the compute stream: why it idles.
constexpr int kIdleThread = kThreadsPerStream / 2;

std::string json_string(std::string_view text) {
  using Json = nlohmann::json;
  // Names come from file names, which need not be valid UTF-8.
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Whole picoseconds: spans that touch still touch after rounding, because ends are rounded and
// durations are differences of rounded times.
using Picoseconds = std::int64_t;
Picoseconds rounded(Seconds time) {
  return std::llround(time.value * 1e12);
}
std::string microseconds(Picoseconds time) {
  return fmt::format("{:.6f}", double(time) / 1e6);
}

// By op of a program: name, category and arguments of its slices, left open.
using ProgramText = std::vector<std::string>;

ProgramText program_text(const Program& program) {
  ProgramText text;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    std::string head =
        fmt::format(R"("name":{},"cat":{},"args":{{"purpose":{})", json_string(op_name(op)),
                    json_string(name_of(kPurposeNames, op.purpose)),
                    json_string(name_of(kPurposeNames, op.purpose)));
    auto put = std::back_inserter(head);
    if (op.stage >= 0) fmt::format_to(put, R"(,"stage":{})", op.stage);
    if (op.micro_batch >= 0) fmt::format_to(put, R"(,"micro_batch":{})", op.micro_batch);
    if (op.first_layer >= 0)
      fmt::format_to(put, R"(,"layers":"{}-{}")", op.first_layer, op.end_layer - 1);
    if (op.kind != OpKind::Compute) fmt::format_to(put, R"(,"bytes":{:.0f})", op.bytes.value);
    if (op.kind == OpKind::Collective)
      fmt::format_to(put, R"(,"collective":"{}")", name_of(kCollectiveKindNames, op.collective));
    text.push_back(std::move(head));
  }
  return text;
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
    const int thread = int(stream) * kThreadsPerStream + int(lane);
    layout.thread[std::size_t(index)] = thread;
    layout.thread_names.try_emplace(
        thread, lane == 0 ? std::string(kStreamNames[stream])
                          : fmt::format("{} {}", kStreamNames[stream], lane + 1));
  }
  return layout;
}

// Everything that the events are drawn from.
struct Picture {
  const Trace& trace;
  TraceIndex index;
  std::vector<ProgramText> programs;
  std::vector<RankLayout> layouts;  // by index into the trace's ranks
};

Picture picture_of(const Plan& plan, const Trace& trace) {
  Picture picture{trace, {plan, trace}, {}, {}};
  for (const Program& program : plan.programs) picture.programs.push_back(program_text(program));
  for (int i = 0; i < int(trace.ranks.size()); ++i)
    picture.layouts.push_back(rank_layout(picture.index.program(i), trace.ranks[std::size_t(i)]));
  return picture;
}

// The elements of the list of events, with commas between them.
class EventList {
 public:
  explicit EventList(const std::function<void(std::string_view)>& sink) : sink_(sink) {}
  // Where the text of the next event goes.
  std::back_insert_iterator<std::string> next() {
    if (buffer_.size() >= kFlushBytes) flush();
    buffer_ += is_first_ ? "\n" : ",\n";
    is_first_ = false;
    return std::back_inserter(buffer_);
  }
  void flush() {
    sink_(buffer_);
    buffer_.clear();
  }

 private:
  const std::function<void(std::string_view)>& sink_;
  std::string buffer_;
  bool is_first_ = true;
};

void add_names(EventList& events, const RankTrace& rank, int pipeline, const RankLayout& layout) {
  std::string name = fmt::format("rank {} (stage {})", rank.rank, pipeline);
  if (rank.represented > 1) name += fmt::format(" x{}", rank.represented);
  fmt::format_to(events.next(),
                 R"({{"ph":"M","pid":{},"name":"process_name","args":{{"name":{}}}}})", rank.rank,
                 json_string(name));
  fmt::format_to(
      events.next(),
      R"({{"ph":"M","pid":{0},"name":"process_sort_index","args":{{"sort_index":{0}}}}})",
      rank.rank);
  for (const auto& [thread, thread_name] : layout.thread_names) {
    fmt::format_to(events.next(),
                   R"({{"ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":{}}}}})",
                   rank.rank, thread, json_string(thread_name));
    auto put = events.next();
    fmt::format_to(put, R"({{"ph":"M","pid":{},"tid":{},"name":"thread_sort_index")", rank.rank,
                   thread);
    fmt::format_to(put, R"(,"args":{{"sort_index":{}}}}})", thread);
  }
}

void add_slices(EventList& events, const ProgramText& text, const RankTrace& rank,
                const RankLayout& layout) {
  for (const int index : layout.order) {
    const Span& span = rank.spans[std::size_t(index)];
    const Picoseconds start = rounded(span.start);
    auto put = events.next();
    fmt::format_to(put, R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},{})", rank.rank,
                   layout.thread[std::size_t(index)], microseconds(start),
                   microseconds(rounded(span.end) - start), text[std::size_t(span.op)]);
    if (span.communication > Seconds(0))
      fmt::format_to(put, R"(,"tensor_communication_us":{})",
                     microseconds(rounded(span.communication)));
    if (span.recompute > Seconds(0))
      fmt::format_to(put, R"(,"recompute_us":{})", microseconds(rounded(span.recompute)));
    fmt::format_to(put, "}}}}");
  }
}

// Times are rounded as those of slices are, so a pause touches its neighbours.
void add_pauses(EventList& events, int rank, const std::vector<Idle>& pauses) {
  for (const Idle& pause : pauses) {
    const Picoseconds start = rounded(pause.begin), end = rounded(pause.end);
    if (end <= start) continue;
    const std::string_view cause = kIdleCauseNames[std::size_t(pause.cause)];
    fmt::format_to(
        events.next(),
        R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"name":"{}","cat":"idle","args":{{}}}})",
        rank, kIdleThread, microseconds(start), microseconds(end - start), cause);
  }
}

void add_memory_event(EventList& events, int rank, Picoseconds time, const MemoryByKind& memory) {
  auto put = events.next();
  fmt::format_to(put, R"({{"ph":"C","pid":{},"ts":{},"name":"memory_bytes","args":{{)", rank,
                 microseconds(time));
  for (std::size_t kind = 0; kind < memory.size(); ++kind)
    fmt::format_to(put, R"({}"{}":{})", kind > 0 ? "," : "", kMemoryKindNames[kind],
                   std::llround(memory[kind].value));
  fmt::format_to(put, "}}}}");
}

// One event for each moment at which something changes, after all changes of that moment.
void add_memory(EventList& events, const Program& program, const RankTrace& rank) {
  std::map<Picoseconds, MemoryByKind> changes;
  const auto collect = [&changes](Seconds time, const std::vector<MemoryChange>& list) {
    for (const MemoryChange& change : list)
      changes[rounded(time)][std::size_t(change.kind)] += Bytes(change.bytes);
  };
  for (const Span& span : rank.spans) {
    const Op& op = program.ops[std::size_t(span.op)];
    collect(span.start, op.on_start);
    collect(span.end, op.on_end);
  }
  MemoryByKind now = program.at_start;
  if (changes.empty() || changes.begin()->first > 0) add_memory_event(events, rank.rank, 0, now);
  for (const auto& [time, by_kind] : changes) {
    for (std::size_t kind = 0; kind < now.size(); ++kind) now[kind] += by_kind[kind];
    add_memory_event(events, rank.rank, time, now);
  }
}

// An arrow ends in the slice that is there at its time: "bp": "e" says so for the far end.
void add_arrow_end(EventList& events, const Picture& picture, const TraceIndex::End& end, int arrow,
                   std::string_view phase) {
  const RankTrace& rank = picture.trace.ranks[std::size_t(end.rank)];
  const auto span = std::size_t(end.span - rank.spans.data());
  fmt::format_to(
      events.next(),
      R"({{"ph":{},"id":{},"pid":{},"tid":{},"ts":{},"name":"message","cat":"message"}})", phase,
      arrow, rank.rank, picture.layouts[std::size_t(end.rank)].thread[span],
      microseconds(rounded(end.span->start)));
}

void add_arrows(EventList& events, const Picture& picture, int sender, int& arrows) {
  const RankTrace& rank = picture.trace.ranks[std::size_t(sender)];
  for (const int index : picture.layouts[std::size_t(sender)].order) {
    const Span& span = rank.spans[std::size_t(index)];
    const Op& op = picture.index.op(sender, span);
    if (op.kind != OpKind::Send) continue;
    const auto receiver = picture.index.other_end(sender, op);
    if (!receiver) continue;
    add_arrow_end(events, picture, {sender, &span}, arrows, R"("s")");
    add_arrow_end(events, picture, *receiver, arrows, R"("f","bp":"e")");
    ++arrows;
  }
}

}  // namespace

void write_chrome_trace(const Job& job, const Plan& plan, const Trace& trace,
                        const std::function<void(std::string_view)>& sink) {
  const Picture picture = picture_of(plan, trace);
  sink(fmt::format(R"({{"displayTimeUnit":"ms","otherData":{{"job":{},"model":{},"cluster":{}}},)",
                   json_string(job.name), json_string(job.model.name),
                   json_string(job.cluster.name)));
  sink("\n\"traceEvents\":[");
  EventList events(sink);
  std::vector<std::vector<int>> behind;
  for (const Program& program : plan.programs) behind.push_back(queued_behind(program));
  int arrows = 0;
  for (int i = 0; i < int(trace.ranks.size()); ++i) {
    const RankTrace& rank = trace.ranks[std::size_t(i)];
    const RankLayout& layout = picture.layouts[std::size_t(i)];
    const Program& program = picture.index.program(i);
    add_names(events, rank, program.pipeline, layout);
    add_slices(events, picture.programs[std::size_t(rank.program)], rank, layout);
    add_pauses(events, rank.rank,
               pauses(picture.index, i, behind[std::size_t(rank.program)], trace.end));
    add_memory(events, program, rank);
    add_arrows(events, picture, i, arrows);
  }
  events.flush();
  sink("\n]}\n");
}

std::string chrome_trace(const Job& job, const Plan& plan, const Trace& trace) {
  std::string text;
  write_chrome_trace(job, plan, trace, [&text](std::string_view piece) { text += piece; });
  return text;
}

}  // namespace windtunnel
