#include "commands/plot.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "commands/files.hpp"
#include "commands/run_files.hpp"
#include "config/config_error.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

struct Kind {
  std::string_view name, file, verb;  // a file that it reads, and who writes that
  Picture (*picture)(const fs::path& folder);
};
constexpr std::array<Kind, 4> kKinds = {{
    {"timeline", "trace.json", "simulate", timeline_picture},
    {"breakdown", "report.json", "simulate", breakdown_picture},
    {"memory", "report.json", "simulate", memory_picture},
    {"scaling", "sweep.csv", "sweep", scaling_picture},
}};

struct Format {
  std::string_view name;
  std::string (*bytes)(const Picture& picture);
};
constexpr std::array<Format, 2> kFormats = {{{"svg", svg}, {"png", png}}};

// The row of that name in a table; throws ConfigError with all names.
template <class Table>
const auto& row_named(const Table& table, std::string_view option, const std::string& name) {
  std::string names;
  for (const auto& row : table) {
    if (row.name == name) return row;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
  }
  throw ConfigError(fmt::format("{} {}: error: expected one of {}", option, name, names));
}

}  // namespace

PlotOutcome plot(const PlotOptions& options) {
  const Kind& kind = row_named(kKinds, "--kind", options.kind);
  const Format& format = row_named(kFormats, "--format", options.format);
  std::error_code ignored;
  if (!fs::is_directory(options.folder, ignored)) refuse_file(options.folder, "no such folder");
  if (!fs::exists(options.folder / kind.file, ignored))
    refuse_file(options.folder,
                fmt::format("no {} in it: {} needs a folder of 'windtunnel {} --out'", kind.file,
                            kind.name, kind.verb));
  const fs::path out = options.out.empty()
                           ? options.folder / fmt::format("{}.{}", kind.name, format.name)
                           : options.out;
  return {out, replace_file(out, format.bytes(kind.picture(options.folder)))};
}

}  // namespace windtunnel
