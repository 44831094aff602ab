#include "config/load.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "config/loaders.hpp"

namespace windtunnel {
namespace {

using Keys = std::vector<std::string_view>;

// Keys that tell a kind of file from the others, by FileKind. A key of the kind that is expected
// counts before those of other kinds.
const Keys& telling_keys(FileKind kind) {
  static const std::array<Keys, kFileKindNames.size()> keys = {{
      {"efficiency", "peak", "launch_overhead"},
      {"interconnect", "gpu", "cores"},
      {"nodes", "fabric"},
      {"on_demand", "spot", "gpus_per_node"},
      {"family", "model_type", "architectures"},
      {"cluster", "parallel", "batch"},
      {"hardware", "software"},
  }};
  return keys[static_cast<std::size_t>(kind)];
}

// The order decides where a file has keys of two kinds: a job may hold a whole cluster.
constexpr std::array<FileKind, kFileKindNames.size()> kFileKinds = {
    FileKind::Job,   FileKind::Profile, FileKind::Cluster, FileKind::Node,
    FileKind::Model, FileKind::Gpu,     FileKind::Price};

bool has_key_of(FileKind kind, const YamlNode& root) {
  const Keys& keys = telling_keys(kind);
  return std::any_of(root.keys.begin(), root.keys.end(), [&](const YamlNode& key) {
    return std::find(keys.begin(), keys.end(), key.text) != keys.end();
  });
}

std::optional<FileKind> kind_by_keys(const YamlNode& root) {
  for (const FileKind kind : kFileKinds)
    if (has_key_of(kind, root)) return kind;
  return std::nullopt;
}

std::optional<FileKind> kind_by_folder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().filename().string();
  if (folder == "gpus") return FileKind::Gpu;
  if (folder == "nodes") return FileKind::Node;
  if (folder == "clusters") return FileKind::Cluster;
  if (folder == "prices") return FileKind::Price;
  if (folder == "models") return FileKind::Model;
  if (folder == "workloads") return FileKind::Job;
  if (folder == "profiles") return FileKind::Profile;
  return std::nullopt;
}

// The kind that the file is of although another one is expected.
std::optional<FileKind> wrong_kind(const YamlFile& file, FileKind expected) {
  const YamlNode& root = file.root().node();
  if (has_key_of(expected, root)) return std::nullopt;
  return kind_by_keys(root);
}

YamlFile file_of_kind(YamlFile file, FileKind kind) {
  const YamlMap root = file.root().map();
  if (const auto other = wrong_kind(file, kind))
    root.fail(fmt::format("this is a {} file, not a {} file", name_of(kFileKindNames, *other),
                          name_of(kFileKindNames, kind)));
  return file;
}

YamlFile opened(const std::string& path, FileKind kind) {
  return file_of_kind(YamlFile::open(path), kind);
}

void read_as(FileKind kind, const YamlFile& file, const std::string& path) {
  const YamlMap root = file.root().map();
  switch (kind) {
    case FileKind::Gpu:
      read_gpu(root);
      break;
    case FileKind::Node:
      read_node(root);
      break;
    case FileKind::Cluster:
      read_cluster(root);
      break;
    case FileKind::Price:
      read_price(root);
      break;
    case FileKind::Model:
      read_model(root, path);
      break;
    case FileKind::Job:
      read_job(root, stem_of(path));
      break;
    case FileKind::Profile:
      read_profile(root);
      break;
  }
}

Job job_of(YamlFile file, const std::string& name, const std::vector<std::string>& overrides) {
  for (const std::string& option : overrides) file.set(option);
  return read_job(file_of_kind(std::move(file), FileKind::Job).root().map(), stem_of(name));
}

}  // namespace

std::string stem_of(const std::string& path) {
  return std::filesystem::path(path).stem().string();
}

std::string file_of_model(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) return path;
  return (std::filesystem::path(path) / "config.json").lexically_normal().string();
}

bool is_root(const YamlMap& map) {
  return map.value().path().empty();
}

YamlValue place(const YamlMap& map, std::initializer_list<std::string_view> keys) {
  YamlValue at = map.value();
  for (const std::string_view key : keys) {
    if (!at.is(YamlNode::Kind::Map)) break;
    const auto next = YamlMap(at).find(key);
    if (!next) break;
    at = *next;
  }
  return at;
}

void read_name(YamlMap& map, std::string& name, std::string& source) {
  const auto name_value = is_root(map) ? map.at("name") : map.find("name");
  name = name_value ? name_value->text() : "inline";
  const auto source_value = is_root(map) ? map.at("source") : map.find("source");
  if (source_value) source = source_value->text();
}

std::string named_path(const YamlValue& value) {
  const YamlNode& node = value.node();
  // text() would refuse the overrides that go on into the file.
  if (node.kind != YamlNode::Kind::Scalar || node.text.empty()) value.text();
  const std::filesystem::path path =
      std::filesystem::path(node.source->folder) / std::filesystem::path(node.text);
  return path.lexically_normal().string();
}

YamlFile named_file(const YamlValue& value, FileKind kind) {
  std::string path = named_path(value);
  if (kind == FileKind::Model) path = file_of_model(path);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) value.fail(fmt::format("no such file: {}", path));
  YamlFile file = YamlFile::open(path);
  if (const auto other = wrong_kind(file, kind))
    value.fail(fmt::format("{} is a {} file, not a {} file", path, name_of(kFileKindNames, *other),
                           name_of(kFileKindNames, kind)));
  file.set(value.node().overrides);
  return file;
}

GpuSpec load_gpu(const std::string& path) {
  return read_gpu(opened(path, FileKind::Gpu).root().map());
}

NodeType load_node(const std::string& path) {
  return read_node(opened(path, FileKind::Node).root().map());
}

ClusterSpec load_cluster(const std::string& path) {
  return read_cluster(opened(path, FileKind::Cluster).root().map());
}

Price load_price(const std::string& path) {
  Price price = read_price(opened(path, FileKind::Price).root().map());
  price.name = stem_of(path);
  return price;
}

Profile load_profile(const std::string& path) {
  return read_profile(opened(path, FileKind::Profile).root().map());
}

Model load_model(const std::string& path) {
  const std::string file = file_of_model(path);
  return read_model(opened(file, FileKind::Model).root().map(), file);
}

Job load_job(const std::string& path, const std::vector<std::string>& overrides) {
  return job_of(YamlFile::open(path), path, overrides);
}

Job load_job_text(std::string_view text, const std::string& name,
                  const std::vector<std::string>& overrides) {
  return job_of(YamlFile::from_text(text, name), name, overrides);
}

FileKind check_file(const std::string& path) {
  const std::string name = file_of_model(path);
  const YamlFile file = YamlFile::open(name);
  const YamlMap root = file.root().map();
  std::optional<FileKind> kind = kind_by_keys(file.root().node());
  if (!kind) kind = kind_by_folder(name);
  if (!kind) {
    std::string signs;
    for (const FileKind each : kFileKinds)
      signs += fmt::format("{}'{}' ({})", signs.empty() ? "" : ", ", telling_keys(each).front(),
                           name_of(kFileKindNames, each));
    root.fail("cannot tell what this file describes; it has none of " + signs);
  }
  read_as(*kind, file, name);
  return *kind;
}

void check_text(FileKind kind, std::string_view text, const std::string& name) {
  read_as(kind, file_of_kind(YamlFile::from_text(text, name), kind), name);
}

}  // namespace windtunnel
