// The schedule of a job that names a file instead of a row of the table.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "config/loaders.hpp"
#include "config/yaml_text.hpp"
#include "schedules/csv.hpp"

namespace windtunnel {
namespace {

constexpr std::uintmax_t kLargestSchedule = std::uintmax_t{64} << 20;  // bytes

std::string content_of(const YamlValue& value, const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) value.fail("no such file: " + path);
  if (!std::filesystem::is_regular_file(path, error)) value.fail(path + " is not a file");
  if (std::filesystem::file_size(path, error) > kLargestSchedule)
    value.fail(path + " is larger than 64 MiB");
  std::ifstream stream(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(stream), {});
  if (!stream) value.fail(path + " cannot be read");
  return text;
}

}  // namespace

Schedule read_schedule_file(const YamlValue& value, const Job& job) {
  value.text();  // nothing of the file can be overridden
  const YamlSource source{.name = named_path(value), .folder = "", .lines = {}};
  const std::string text = content_of(value, source.name);
  ParsedSchedule parsed = parsed_schedule(text, {.devices = job.parallel.pipeline,
                                                 .chunks = job.parallel.virtual_stages,
                                                 .micro_batches = job.micro_batches()});
  if (parsed.problem.empty()) return std::move(parsed.schedule);
  // Any bytes may stand in the file; an excerpt of it must be text.
  YamlSource shown = source;
  shown.lines = lines_of(text);
  for (std::string& line : shown.lines)
    for (char& c : line)
      if (static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) > '~') c = '?';
  fail_at(shown, parsed.line, parsed.column, parsed.problem);
}

}  // namespace windtunnel
