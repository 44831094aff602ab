#include "commands/sweep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "commands/cases.hpp"
#include "commands/files.hpp"
#include "commands/job_digest.hpp"
#include "commands/journal.hpp"
#include "commands/progress_bar.hpp"
#include "commands/ranks.hpp"
#include "commands/sweep_page.hpp"
#include "commands/sweep_row.hpp"
#include "commands/sweep_table.hpp"
#include "commands/workers.hpp"
#include "config/config_error.hpp"
#include "config/yaml_file.hpp"

namespace windtunnel {
namespace {

// One row on its way from the process that made it: what it was made from, and the row.
struct Result {
  std::size_t index = 0;
  std::uint64_t job = 0;
  std::string row;
};

std::string packed(const Result& result) {
  return fmt::format("{} {} {}", result.index, result.job, result.row);
}

Result unpacked(const std::string& text) {
  const std::size_t first = text.find(' '), second = text.find(' ', first + 1);
  return {std::stoul(text), std::stoull(text.substr(first)), text.substr(second + 1)};
}

class Sweep {
 public:
  Sweep(const SweepOptions& options, Ranks& ranks);
  const std::string& problem() const { return problem_; }
  SweepOutcome outcome();

 private:
  void find_finished();
  std::vector<std::size_t> share_of_this_rank();
  void run(const std::vector<std::size_t>& mine);
  Result result_of(std::size_t index) const;
  Result crashed(std::size_t index, const std::string& why) const;
  void record(const Result& result);
  SweepJob job(std::size_t index) const;
  std::uint64_t job_digest_of(std::size_t index) const;
  bool is_first() const { return ranks_.rank() == 0; }
  std::vector<std::string> header() const;
  std::vector<CsvRow> rows() const;

  const SweepOptions& options_;
  Ranks& ranks_;
  std::vector<Axis> axes_;
  std::vector<SweepCase> cases_;
  std::vector<std::string> columns_;  // without the varied keys
  Journal journal_;                   // of rank 0
  std::vector<std::uint64_t> job_digests_, row_digests_;
  std::vector<std::string> lines_;  // of sweep.csv by case; empty: not there yet
  std::size_t done_ = 0, reused_ = 0;
  std::string problem_;
};

Sweep::Sweep(const SweepOptions& options, Ranks& ranks) : options_(options), ranks_(ranks) {
  for (const std::string& option : options.vary) axes_.push_back(parsed_axis(option));
  cases_ = cases_of(axes_);
  columns_ = sweep_columns(keys_of(axes_));
  YamlFile::open(options.job);  // a sweep of a file that does not exist is no sweep
  if (is_first()) find_finished();
}

SweepJob Sweep::job(std::size_t index) const {
  SweepJob job{options_.job, options_.overrides, options_.allow_oom};
  for (std::string& varied : overrides_of(axes_, cases_[index]))
    job.overrides.push_back(std::move(varied));
  return job;
}

std::uint64_t Sweep::job_digest_of(std::size_t index) const {
  return job_digest(options_.job, job(index).overrides);
}

std::vector<std::string> Sweep::header() const {
  std::vector<std::string> header = keys_of(axes_);
  header.insert(header.end(), columns_.begin(), columns_.end());
  return header;
}

void Sweep::find_finished() {
  problem_ = journal_.open(options_.out / "sweep.journal");
  if (!problem_.empty()) return;
  const std::uint64_t program = program_digest();
  lines_.resize(cases_.size());
  const std::size_t status = column_of(header(), "status");
  for (std::size_t i = 0; i < cases_.size(); ++i) {
    job_digests_.push_back(job_digest_of(i));
    Digest digest;
    digest.add(fmt::format("{} {} {}", program, job_digests_[i], options_.allow_oom));
    digest.add(csv_line(header()));
    row_digests_.push_back(digest.value());
    const auto line = journal_.row(digest.value());
    // What crashed may have been killed for reasons outside of it.
    if (!line || csv_fields(*line).size() != header().size() ||
        csv_fields(*line)[status] == kCrashed)
      continue;
    lines_[i] = *line;
    ++reused_;
  }
  done_ = reused_;
}

// Rank r takes every n-th case of those that are to do.
std::vector<std::size_t> Sweep::share_of_this_rank() {
  std::string to_do;
  for (std::size_t i = 0; is_first() && i < cases_.size(); ++i)
    to_do += lines_[i].empty() ? 'x' : '.';
  to_do = ranks_.broadcast(to_do);
  std::vector<std::size_t> mine;
  std::size_t count = 0;
  for (std::size_t i = 0; i < to_do.size(); ++i)
    if (to_do[i] == 'x' && int(count++ % std::size_t(ranks_.size())) == ranks_.rank())
      mine.push_back(i);
  return mine;
}

Result Sweep::result_of(std::size_t index) const {
  const CsvRow row = simulated_row(job(index), columns_);
  return {index, job_digest_of(index), csv_line(row)};
}

Result Sweep::crashed(std::size_t index, const std::string& why) const {
  return {index, job_digest_of(index), csv_line(failed_row(kCrashed, why, columns_))};
}

void Sweep::record(const Result& result) {
  if (!is_first()) return ranks_.send(packed(result));
  ++done_;
  if (!problem_.empty()) return;
  if (result.job != job_digests_[result.index]) {
    problem_ = fmt::format("'{}' or a file that it names changed while the sweep ran; start again",
                           options_.job);
    return;
  }
  std::string& line = lines_[result.index];
  line = csv_line(cases_[result.index].values) + "," + result.row;
  problem_ = journal_.append(row_digests_[result.index], line);
}

void Sweep::run(const std::vector<std::size_t>& mine) {
  const bool is_alone = ranks_.size() == 1;
  const int most = options_.workers > 0 ? options_.workers : is_alone ? available_cores() : 1;
  Workers workers(most, [this](std::size_t index) { return packed(result_of(index)); });
  ProgressBar progress(is_first(), cases_.size(), done_);
  std::size_t next = 0;
  const auto has_more = [&] {
    return workers.is_busy() || (next < mine.size() && problem_.empty()) ||
           (is_first() && !is_alone && done_ < cases_.size());
  };
  while (has_more()) {
    for (; next < mine.size() && problem_.empty() && workers.has_room(); ++next) {
      const std::string refusal = workers.start(mine[next]);
      if (refusal.empty()) continue;
      if (workers.is_busy()) break;  // there may be room when these have ended
      record(crashed(mine[next], refusal));
    }
    progress.show(done_);
    constexpr int kPoll = 5;  // ms between looks for what other ranks sent
    const int patience = !is_alone ? kPoll : progress.is_shown() ? ProgressBar::kTick : -1;
    for (const Workers::Ended& ended : workers.wait(patience))
      record(ended.completed ? unpacked(ended.text) : crashed(ended.index, ended.text));
    while (const auto sent = ranks_.receive()) record(unpacked(*sent));
  }
}

std::vector<CsvRow> Sweep::rows() const {
  std::vector<CsvRow> rows;
  for (const std::string& line : lines_) rows.push_back(csv_fields(line));
  return rows;
}

SweepOutcome Sweep::outcome() {
  run(share_of_this_rank());
  if (!is_first()) return {.problem = problem_};
  SweepOutcome outcome{.problem = problem_, .cases = cases_.size(), .reused = reused_};
  if (!problem_.empty()) return outcome;
  std::string csv = csv_line(header()) + "\n";
  for (const std::string& line : lines_) csv += line + "\n";
  const std::size_t status = column_of(header(), "status");
  const std::vector<CsvRow> all = rows();
  outcome.all_invalid = std::all_of(all.begin(), all.end(),
                                    [&](const CsvRow& row) { return row[status] == kInvalid; });
  const SweepPoints points = sweep_points(header(), all);
  outcome.text = to_text(sweep_table(points));
  const std::string title = "Sweep of " + std::filesystem::path(options_.job).stem().string();
  // The page first: whoever waits for sweep.csv finds both.
  outcome.problem = replace_file(options_.out / "sweep.html", sweep_page(title, points));
  if (outcome.problem.empty()) outcome.problem = replace_file(options_.out / "sweep.csv", csv);
  return outcome;
}

}  // namespace

SweepOutcome sweep(const SweepOptions& options) {
  Ranks ranks;
  // Rank 0 looks at the options first; the others go on only if it found nothing wrong.
  std::optional<Sweep> sweep;
  if (ranks.rank() == 0) {
    try {
      sweep.emplace(options, ranks);
    } catch (const ConfigError&) {
      ranks.broadcast("");
      throw;
    }
    if (!sweep->problem().empty()) {
      ranks.broadcast("");
      return {.problem = sweep->problem()};
    }
  }
  if (ranks.broadcast("go").empty()) return {};
  if (ranks.rank() > 0) sweep.emplace(options, ranks);
  return sweep->outcome();
}

}  // namespace windtunnel
