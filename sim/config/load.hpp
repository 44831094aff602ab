// The files of a user -> the types of the other rooms. Values are valid after a loader returns: a
// job that loads can be planned and simulated.
//
// Every function throws ConfigError, and nothing else, for whatever is wrong with a file: it cannot
// be read, is not YAML, has an unknown, missing or duplicate key, a value of the wrong type or
// without unit, or values that do not fit together. The first error ends the loading.
// A file names another one relative to itself; in place of a name it may hold the other file's
// content as a mapping, whose `name` and `source` are then optional.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cluster/cluster.hpp"
#include "model/model.hpp"
#include "plan/job.hpp"

namespace windtunnel {

// `path` as the user gave it: messages show it so.
GpuSpec load_gpu(const std::string& path);
// A node of CPUs comes out as cpu_node() makes it with one task on all cores.
NodeType load_node(const std::string& path);
ClusterSpec load_cluster(const std::string& path);
Price load_price(const std::string& path);
Profile load_profile(const std::string& path);
// What programs of nccl-tests printed (all_reduce_perf and its sisters), one run a file, as one
// profile. Source of the form: github.com/NVIDIA/nccl-tests, src/common.cu and doc/PERFORMANCE.md.
Profile load_nccl_tests(const std::vector<std::string>& paths);
// A model file, or the config.json of a Hugging Face model or the folder that holds it.
Model load_model(const std::string& path);

// `overrides` are "path.to.key=value" with the value in YAML, as --set takes them; they apply in
// order before anything is read. A missing key is made, an empty value takes a key away, and a
// number steps into a list. A path may go on into the file that a key names:
// "cluster.fabric.efficiency=0.9". Relative file names in a value start at the current directory.
// Errors about an overridden value begin with "--set path.to.key=value: error: ".
Job load_job(const std::string& path, const std::vector<std::string>& overrides = {});
// The same for text that stands in no file; `name` is for messages and as the start of relative
// file names.
Job load_job_text(std::string_view text, const std::string& name,
                  const std::vector<std::string>& overrides = {});

enum class FileKind { Gpu, Node, Cluster, Price, Model, Job, Profile };
inline constexpr std::array<std::string_view, 7> kFileKindNames = {
    "GPU", "node", "cluster", "price", "model", "job", "profile"};

// Loads the file by the loader of its kind, which its keys tell, or else its folder's name.
FileKind check_file(const std::string& path);
// Loads the text as a file of this kind.
void check_text(FileKind kind, std::string_view text, const std::string& name);

}  // namespace windtunnel
