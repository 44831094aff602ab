#include "commands/job_digest.hpp"

#include <filesystem>

#include "commands/files.hpp"
#include "config/config_error.hpp"
#include "config/yaml_file.hpp"
#include "interchange/chakra.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 16;  // files that name files; a file that names itself ends there

using Overrides = std::vector<YamlNode::Override>;

void add_file(Digest& digest, const std::string& path, const std::vector<std::string>& options,
              const Overrides& waiting, int depth);

// Any scalar that is the name of an existing file counts as naming it: a file too many does no
// harm.
void add_named_files(Digest& digest, const YamlNode& node, int depth) {
  for (const YamlNode& item : node.items) add_named_files(digest, item, depth);
  for (const YamlNode::Override& waiting : node.overrides)
    add_named_files(digest, waiting.value, depth);
  if (node.kind != YamlNode::Kind::Scalar || node.text.empty()) return;
  fs::path path = fs::path(node.source->folder) / fs::path(node.text);
  std::error_code ignored;
  // A model may be the folder of its config.json.
  if (fs::is_directory(path, ignored)) path /= "config.json";
  for (int rank = 0;; ++rank) {  // the traces of a recorded step have a common prefix
    const auto trace = content_of(chakra_file(path.string(), rank));
    if (!trace) break;
    if (rank == 0) digest.add(content_of(chakra_groups_file(path.string())).value_or(""));
    digest.add(*trace);
  }
  if (fs::is_regular_file(path, ignored))
    add_file(digest, path.lexically_normal().string(), {}, node.overrides, depth + 1);
}

void add_file(Digest& digest, const std::string& path, const std::vector<std::string>& options,
              const Overrides& waiting, int depth) {
  digest.add(path);
  const auto content = content_of(path);
  digest.add(content ? "read" : "unreadable");
  if (!content || depth > kDeepest) return;
  digest.add(*content);
  try {
    YamlFile file = YamlFile::from_text(*content, path);
    for (const std::string& option : options) file.set(option);
    file.set(waiting);
    add_named_files(digest, file.root().node(), depth);
  } catch (const ConfigError&) {
    digest.add("no YAML");  // loading it fails with the reason
  }
}

}  // namespace

void Digest::add(std::string_view part) {
  constexpr std::uint64_t kPrime = 0x100000001b3;
  for (std::size_t size = part.size(), i = 0; i < sizeof size; ++i, size >>= 8)
    value_ = (value_ ^ (size & 0xff)) * kPrime;
  for (const char c : part) value_ = (value_ ^ static_cast<unsigned char>(c)) * kPrime;
}

std::uint64_t job_digest(const std::string& path, const std::vector<std::string>& overrides) {
  Digest digest;
  for (const std::string& option : overrides) digest.add(option);
  add_file(digest, path, overrides, {}, 0);
  return digest.value();
}

std::uint64_t program_digest() {
  const auto program = content_of("/proc/self/exe");
  if (!program) return 0;
  Digest digest;
  digest.add(*program);
  return digest.value();
}

}  // namespace windtunnel
