#include "commands/csv.hpp"

#include "base/check.hpp"

namespace windtunnel {

std::string csv_line(const CsvRow& fields) {
  std::string line;
  for (const std::string& field : fields) {
    SIM_CHECK(field.find_first_of("\r\n") == std::string::npos, "a line break in a row");
    if (&field != &fields.front()) line += ',';
    if (field.find_first_of(",\"") == std::string::npos) {
      line += field;
      continue;
    }
    line += '"';
    for (const char c : field) line += c == '"' ? std::string("\"\"") : std::string(1, c);
    line += '"';
  }
  return line;
}

CsvRow csv_fields(std::string_view line) {
  CsvRow fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    const bool is_doubled = quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"';
    if (is_doubled) {
      fields.back() += line[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

}  // namespace windtunnel
