#include "report/chrome_trace.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "report/compute_stream.hpp"
#include "report/report.hpp"
#include "report/trace_picture.hpp"

namespace windtunnel {

namespace {

constexpr std::size_t kFlushBytes = 1 << 20;

std::string json_string(std::string_view text) {
  using Json = nlohmann::json;
  // Names come from file names, which need not be valid UTF-8.
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string microseconds(Picoseconds time) {
  return fmt::format("{:.6f}", double(time) / 1e6);
}

std::string argument_text(const SliceArgument& argument) {
  if (const auto* whole = std::get_if<std::int64_t>(&argument.value)) return std::to_string(*whole);
  if (const auto* number = std::get_if<double>(&argument.value))
    return fmt::format("{:.6f}", *number);
  return json_string(std::get<std::string>(argument.value));
}

// The elements of the list of events, with commas between them.
class ChromeWriter : public TraceWriter {
 public:
  explicit ChromeWriter(const std::function<void(std::string_view)>& sink) : sink_(sink) {}

  void process(int process, int place, const std::string& name) override {
    fmt::format_to(next(), R"({{"ph":"M","pid":{},"name":"process_name","args":{{"name":{}}}}})",
                   process, json_string(name));
    fmt::format_to(
        next(), R"({{"ph":"M","pid":{},"name":"process_sort_index","args":{{"sort_index":{}}}}})",
        process, place);
  }

  void thread(int process, int thread, const std::string& name) override {
    const std::string head = fmt::format(R"({{"ph":"M","pid":{},"tid":{})", process, thread);
    fmt::format_to(next(), R"({},"name":"thread_name","args":{{"name":{}}}}})", head,
                   json_string(name));
    fmt::format_to(next(), R"({},"name":"thread_sort_index","args":{{"sort_index":{}}}}})", head,
                   thread);
  }

  void slice(const TraceSlice& slice) override {
    auto put = next();
    fmt::format_to(put, R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"name":{},"cat":{})",
                   slice.process, slice.thread, microseconds(slice.start),
                   microseconds(slice.end - slice.start), json_string(slice.name),
                   json_string(slice.category));
    std::string_view separator;
    fmt::format_to(put, R"(,"args":{{)");
    for (const SliceArgument& argument : slice.arguments) {
      fmt::format_to(put, R"({}"{}":{})", separator, argument.key, argument_text(argument));
      separator = ",";
    }
    fmt::format_to(put, "}}}}");
    for (const int arrow : slice.arrows_out) arrow_end(slice, arrow, R"("s")");
    // The arrow ends in the slice that is there at its time.
    for (const int arrow : slice.arrows_in) arrow_end(slice, arrow, R"("f","bp":"e")");
  }

  void counter(int process, std::string_view name, std::string_view /*unit*/, Picoseconds time,
               std::span<const CounterValue> values) override {
    auto put = next();
    fmt::format_to(put, R"({{"ph":"C","pid":{},"ts":{},"name":"{}","args":{{)", process,
                   microseconds(time), name);
    std::string_view separator;
    for (const CounterValue& value : values) {
      fmt::format_to(put, R"({}"{}":{})", separator, value.series, value.value);
      separator = ",";
    }
    fmt::format_to(put, "}}}}");
  }

  void flush() {
    sink_(buffer_);
    buffer_.clear();
  }

 private:
  // Where the text of the next event goes.
  std::back_insert_iterator<std::string> next() {
    if (buffer_.size() >= kFlushBytes) flush();
    buffer_ += is_first_ ? "\n" : ",\n";
    is_first_ = false;
    return std::back_inserter(buffer_);
  }

  void arrow_end(const TraceSlice& slice, int arrow, std::string_view phase) {
    fmt::format_to(
        next(), R"({{"ph":{},"id":{},"pid":{},"tid":{},"ts":{},"name":"message","cat":"message"}})",
        phase, arrow, slice.process, slice.thread, microseconds(slice.start));
  }

  const std::function<void(std::string_view)>& sink_;
  std::string buffer_;
  bool is_first_ = true;
};

}  // namespace

void write_chrome_trace(const Job& job, const Plan& plan, const Trace& trace,
                        const std::function<void(std::string_view)>& sink) {
  sink(fmt::format(R"({{"displayTimeUnit":"ms","otherData":{{"job":{},"model":{},"cluster":{}}},)",
                   json_string(job.name), json_string(job.model.name),
                   json_string(job.cluster.name)));
  sink("\n\"traceEvents\":[");
  ChromeWriter writer(sink);
  draw_trace(plan, trace, writer);
  writer.flush();
  sink("\n]}\n");
}

std::string chrome_trace(const Job& job, const Plan& plan, const Trace& trace) {
  std::string text;
  write_chrome_trace(job, plan, trace, [&text](std::string_view piece) { text += piece; });
  return text;
}

}  // namespace windtunnel
