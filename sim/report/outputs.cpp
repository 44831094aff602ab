#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <functional>
#include <system_error>

#include "interchange/perfetto.hpp"
#include "report/chrome_trace.hpp"
#include "report/format.hpp"
#include "report/html.hpp"
#include "report/measured_run.hpp"
#include "report/report.hpp"
#include "report/trace_picture.hpp"

namespace windtunnel {

namespace {

namespace fs = std::filesystem;

using Sink = std::function<void(std::string_view)>;

struct Output {
  std::string name;
  std::function<void(const Sink&)> content;
};

std::string failure(std::string_view what, const fs::path& path, const std::string& reason) {
  return fmt::format("cannot {} '{}': {}", what, path.string(), reason);
}

std::string reason_of(int error) {
  return std::generic_category().message(error);
}

// Why the file could not be written completely, or empty. A full disk may show itself only when the
// last buffer is written, which fclose does.
std::string write_error(const fs::path& path, const std::function<void(const Sink&)>& content) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) return reason_of(errno);
  int error = 0;
  content([&](std::string_view text) {
    if (error == 0 && std::fwrite(text.data(), 1, text.size(), file) != text.size()) error = errno;
  });
  if (std::fclose(file) != 0 && error == 0) error = errno;
  return error == 0 ? "" : reason_of(error);
}

// The process id keeps two runs into one folder apart.
fs::path temporary_path(const fs::path& folder, const std::string& name) {
  return folder / fmt::format(".{}.{}.tmp", name, ::getpid());
}

// All are written before the first is renamed, so a full disk leaves the files of an earlier run
// whole.
std::string outputs_error(const fs::path& folder, const std::vector<Output>& outputs) {
  for (const Output& output : outputs) {
    const std::string error = write_error(temporary_path(folder, output.name), output.content);
    if (!error.empty()) return failure("write", folder / output.name, error);
  }
  for (const Output& output : outputs) {
    std::error_code error;
    fs::rename(temporary_path(folder, output.name), folder / output.name, error);
    if (error) return failure("write", folder / output.name, error.message());
  }
  return "";
}

// JSON of more events than this is more than a browser reads.
constexpr std::size_t kMostEventsOfJson = 1'000'000;

bool is_large(const Trace& trace) {
  std::size_t events = 0;
  for (const RankTrace& rank : trace.ranks) events += rank.spans.size();
  return events > kMostEventsOfJson;
}

}  // namespace

std::string trace_file_name(const Trace& trace) {
  return is_large(trace) ? "trace.pftrace" : "trace.json";
}

namespace {

// What went wrong, or empty; then no partly written file is left.
std::string written(const fs::path& folder, const std::vector<Output>& outputs) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return failure("make the folder", folder, error.message());
  std::string problem = outputs_error(folder, outputs);
  if (!problem.empty())
    for (const Output& output : outputs) fs::remove(temporary_path(folder, output.name), error);
  return problem;
}

}  // namespace

std::string write_outputs(const fs::path& folder, const Job& job, const Plan& plan,
                          const Trace& trace, const Report& report) {
  std::string problem = written(
      folder,
      {{"report.json", [&](const Sink& sink) { sink(to_json(report, job)); }},
       {"ranks.csv", [&](const Sink& sink) { sink(ranks_csv(report)); }},
       {trace_file_name(trace),
        [&](const Sink& sink) {
          if (is_large(trace))
            draw_trace(plan, trace, *perfetto_writer(sink));
          else
            write_chrome_trace(job, plan, trace, sink);
        }},
       {"report.html", [&](const Sink& sink) { write_html(job, plan, trace, report, sink); }}});
  // The picture of an earlier run in the other form is not this run's.
  std::error_code ignored;
  if (problem.empty())
    fs::remove(folder / (is_large(trace) ? "trace.json" : "trace.pftrace"), ignored);
  return problem;
}

std::string write_profile(const fs::path& path, const Profile& profile) {
  return written(path.has_parent_path() ? path.parent_path() : ".",
                 {{path.filename().string(), [&](const Sink& sink) { sink(to_yaml(profile)); }}});
}

std::string write_measured(const fs::path& folder, const MeasuredRun& run) {
  return written(folder, {{"measured.json", [&](const Sink& sink) { sink(to_json(run)); }}});
}

}  // namespace windtunnel
