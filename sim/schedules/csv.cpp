#include "schedules/csv.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <utility>

namespace windtunnel {
namespace {

constexpr std::string_view kTypeLetters = "FBIW";  // by ActionType

struct Cell {
  std::string_view text;  // without spaces and quotes around it
  int column = 0;
};

// Spaces and one pair of quotes around the text taken away.
Cell trimmed(std::string_view line, std::size_t begin, std::size_t end) {
  const auto skip = [&](std::string_view what) {
    while (begin < end && what.find(line[begin]) != std::string_view::npos) ++begin;
    while (begin < end && what.find(line[end - 1]) != std::string_view::npos) --end;
  };
  skip(" ");
  if (end - begin >= 2 && line[begin] == '"' && line[end - 1] == '"') ++begin, --end;
  skip(" ");
  return {line.substr(begin, end - begin), int(begin)};
}

// The cells of a line that are not empty.
std::vector<Cell> cells_of(std::string_view line) {
  std::vector<Cell> cells;
  for (std::size_t start = 0; start <= line.size();) {
    const std::size_t end = std::min(line.find(',', start), line.size());
    if (const Cell cell = trimmed(line, start, end); !cell.text.empty()) cells.push_back(cell);
    start = end + 1;
  }
  return cells;
}

std::optional<int> number_at(std::string_view& text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return std::nullopt;
  text.remove_prefix(std::size_t(end - text.data()));
  return number;
}

std::optional<Action> action_of(std::string_view text) {
  const auto stage = number_at(text);
  if (!stage || text.empty()) return std::nullopt;
  const std::size_t type = kTypeLetters.find(text.front());
  if (type == std::string_view::npos) return std::nullopt;
  text.remove_prefix(1);
  const auto micro_batch = number_at(text);
  if (!micro_batch || !text.empty()) return std::nullopt;
  return Action{ActionType(type), *stage, *micro_batch};
}

// Any bytes may stand in a cell; a message about it is text.
std::string shown(std::string_view cell) {
  constexpr std::size_t kMost = 40;
  std::string text(cell.substr(0, kMost));
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';
  return text;
}

std::string counted(int count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

class Parser {
 public:
  explicit Parser(const ScheduleShape& shape) : shape_(shape) {
    Schedule& schedule = parsed_.schedule;
    schedule.devices = shape.devices;
    schedule.micro_batches = shape.micro_batches;
    schedule.device_of_stage.assign(std::size_t(shape.devices) * std::size_t(shape.chunks), -1);
    stages_of_device_.resize(std::size_t(shape.devices));
  }

  ParsedSchedule parsed(std::string_view csv) {
    while (!csv.empty() && parsed_.problem.empty()) {
      const std::size_t end = std::min(csv.find('\n', 0), csv.size());
      std::string_view line = csv.substr(0, end);
      if (line.ends_with('\r')) line.remove_suffix(1);
      csv.remove_prefix(std::min(end + 1, csv.size()));
      read_line(line);
    }
    if (parsed_.problem.empty()) check();
    return std::move(parsed_);
  }

 private:
  void fail(int line, int column, std::string problem) {
    parsed_.problem = std::move(problem);
    parsed_.line = line;
    parsed_.column = column;
  }

  std::string shape_text() const {
    return "pipeline " + std::to_string(shape_.devices) + " x virtual_stages " +
           std::to_string(shape_.chunks);
  }

  void read_line(std::string_view line) {
    const int device = int(columns_.size());
    if (device == shape_.devices) {
      fail(device, 0, "a line too many: the job has " + counted(device, "pipeline rank"));
      return;
    }
    columns_.emplace_back();
    parsed_.schedule.actions.emplace_back();
    for (const Cell& cell : cells_of(line)) {
      add(device, cell);
      if (!parsed_.problem.empty()) return;
    }
  }

  void add(int device, const Cell& cell) {
    const auto wrong = [&](const std::string& why) { fail(device, cell.column, why); };
    const auto action = action_of(cell.text);
    const std::string text = shown(cell.text);
    if (!action)
      return wrong("'" + text +
                   "' is not an action such as 2F0: stage, one of F B I W, "
                   "micro-batch (messages follow from the actions)");
    Schedule& schedule = parsed_.schedule;
    if (action->stage >= schedule.stages())
      return wrong(text + ": the job has stages 0 to " + std::to_string(schedule.stages() - 1) +
                   " (" + shape_text() + ")");
    if (action->micro_batch >= shape_.micro_batches)
      return wrong(text + ": the job has micro-batches 0 to " +
                   std::to_string(shape_.micro_batches - 1));
    int& owner = schedule.device_of_stage[std::size_t(action->stage)];
    if (owner >= 0 && owner != device)
      return wrong(text + ": stage " + std::to_string(action->stage) + " is on the rank of line " +
                   std::to_string(owner + 1) + " already");
    if (owner < 0 && ++stages_of_device_[std::size_t(device)] > shape_.chunks)
      return wrong(text + ": one stage more than the " + std::to_string(shape_.chunks) +
                   " of a rank (virtual_stages)");
    owner = device;
    schedule.actions.back().push_back(*action);
    columns_.back().push_back(cell.column);
  }

  void check() {
    const int lines = int(columns_.size());
    if (lines < shape_.devices)
      return fail(lines, 0,
                  counted(lines, "line") + " for " + counted(shape_.devices, "pipeline rank") +
                      " of the job");
    for (int device = 0; device < shape_.devices; ++device)
      if (const int stages = stages_of_device_[std::size_t(device)]; stages < shape_.chunks)
        return fail(device, 0,
                    counted(stages, "stage") + " on this rank instead of " +
                        std::to_string(shape_.chunks) + " (virtual_stages)");
    const ScheduleProblem problem = find_problem(parsed_.schedule);
    if (problem.text.empty()) return;
    const int column =
        problem.action < 0 ? 0 : columns_[std::size_t(problem.device)][std::size_t(problem.action)];
    fail(problem.device, column, problem.text);
  }

  const ScheduleShape& shape_;
  ParsedSchedule parsed_;
  std::vector<std::vector<int>> columns_;  // by device and action: where its cell starts
  std::vector<int> stages_of_device_;
};

}  // namespace

std::string to_csv(const Schedule& schedule) {
  std::string text;
  for (const std::vector<Action>& list : schedule.actions) {
    std::string_view separator;
    for (const Action& action : list) {
      text.append(separator).append(to_text(action));
      separator = ",";
    }
    text += '\n';
  }
  return text;
}

ParsedSchedule parsed_schedule(std::string_view csv, const ScheduleShape& shape) {
  return Parser(shape).parsed(csv);
}

}  // namespace windtunnel
