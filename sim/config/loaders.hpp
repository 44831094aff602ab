// Private to config/: what the loaders share. One reader a kind of file; each takes the file's
// mapping, or an inline one, and finishes it.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/parameters.hpp"
#include "config/load.hpp"
#include "config/yaml_file.hpp"

namespace windtunnel {

GpuSpec read_gpu(YamlMap map);
// How a node of CPUs is divided into ranks.
struct CpuTasks {
  int tasks_per_node = 1;
  int cpus_per_task = 1;
};
// Without `tasks` a node of CPUs has one task on all its cores.
NodeType read_node(YamlMap map, const std::optional<CpuTasks>& tasks = std::nullopt);
// Whether the mapping is a node of CPUs.
bool is_cpu_node(const YamlMap& map);
Price read_price(YamlMap map);
Profile read_profile(YamlMap map);
ClusterSpec read_cluster(YamlMap map);
// Of a model file or, from its keys, a Hugging Face config.json. The path gives such a model its
// name where the file does not.
Model read_model(YamlMap map, const std::string& path);
Model read_hugging_face(YamlMap map, const std::string& path);
// Refuses parameters that the family cannot make a model of.
Model checked_model(YamlMap& map, const std::string& name, const ModelFamily& family,
                    const Parameters& parameters);
// Larger than any dimension of a model; products of dimensions below it stay within 64 bits.
constexpr std::int64_t kLargestDimension = 1 << 22;
Job read_job(YamlMap map, const std::string& name);
// The schedule in the CSV file that the value names. The job's layout and batch are checked.
Schedule read_schedule_file(const YamlValue& value, const Job& job);

// The value at the end of a chain of keys, or as far as the chain exists: where a message about a
// combination of values points.
YamlValue place(const YamlMap& map, std::initializer_list<std::string_view> keys);

// Whether the mapping is a whole file.
bool is_root(const YamlMap& map);
// `name` and `source`, which an inline mapping may leave out.
void read_name(YamlMap& map, std::string& name, std::string& source);

// What the family declares, with fallbacks for what is absent. Counts are at most `most`.
Parameters read_parameters(YamlMap& map, std::span<const ParameterSpec> specs,
                           std::int64_t most = 1 << 30);

// The row of a table whose `name` is the value.
template <class Row>
const Row& row_of(std::span<const Row> table, const YamlValue& value) {
  std::vector<std::string_view> names;
  for (const Row& row : table) names.push_back(row.name);
  return table[value.index_in(names)];
}

// The file that a value names, as it should be shown and opened.
std::string named_path(const YamlValue& value);
// That file with what waits for it from the command line applied. An error at the value if the file
// does not exist or is of another kind.
YamlFile named_file(const YamlValue& value, FileKind kind);

// An inline mapping or the file that the value names, read.
template <class Read>
auto read_named(const YamlValue& value, FileKind kind, const Read& read) {
  if (value.is(YamlNode::Kind::Map)) return read(value.map());
  const YamlFile file = named_file(value, kind);
  return read(file.root().map());
}
// A folder stands for the config.json in it.
std::string file_of_model(const std::string& path);

// "a100.yaml" -> "a100".
std::string stem_of(const std::string& path);

}  // namespace windtunnel
