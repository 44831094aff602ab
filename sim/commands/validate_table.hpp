// Published measurements as rows of text. A table has the columns of validation/published/README.md
// or, for one's own runs, `job,published_s`.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace windtunnel {

struct PublishedRow {
  std::string file;  // as the user gave it
  int line = 0;      // of the file, from 1
  std::map<std::string, std::string, std::less<>> cells;

  // Empty if the cell is empty, "NA", or the table has no such column.
  std::string text(std::string_view column) const;
  // The number in a cell; nothing where the text is no number ("mixed", "128..512").
  std::optional<double> number(std::string_view column) const;
  std::optional<long long> count(std::string_view column) const;  // a positive whole number
  // A name for the row: its row_id, or its line.
  std::string name() const;
};

// Throws ConfigError, "file:line: error: ...", for a file that cannot be read, an unknown or
// repeated column, a row of another width, or a time or rate that is no positive number.
std::vector<PublishedRow> read_published(const std::string& path);
std::vector<PublishedRow> published_rows(std::string_view text, const std::string& name);

// Samples of a step, from gbs, or from mbs and dp where the row says no more; one accumulation step
// if it does not say how many.
std::optional<long long> published_batch(const PublishedRow& row);

// What the row says the step took, and the column that says it. A printed MFU never counts.
struct PublishedTime {
  double seconds = 0;
  std::string column;
};
std::optional<PublishedTime> published_time(const PublishedRow& row);

// Bytes, from mem_gb: in `unit`, GB or GiB, or where that is empty in the unit that mem_kind says.
std::optional<double> published_memory(const PublishedRow& row, std::string_view unit = "");

}  // namespace windtunnel
