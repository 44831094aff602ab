// The program itself: exit codes, what goes to which stream, and files that are complete or absent.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shell.hpp"

namespace windtunnel {

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = WINDTUNNEL_SOURCE_DIR;
const std::string kTeaching = "workloads/zb-v-teaching.yaml";

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A folder of a test's own, gone with it.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("windtunnel-" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }
  fs::path operator/(const std::string& name) const { return path_ / name; }
  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }

 private:
  fs::path path_;
};

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::map<std::string, std::string> contents_in(const fs::path& folder) {
  std::map<std::string, std::string> contents;
  for (const std::string& name : names_in(folder)) contents[name] = content_of(folder / name);
  return contents;
}

struct Ran {
  int code = -1;
  std::string out, err;
};

// A shell command from the source folder; `windtunnel` in it is a function that runs the program.
Ran ran(const Folder& folder, const std::string& command) {
  const fs::path err = folder / ".stderr";
  const std::string script = "windtunnel() { '" WINDTUNNEL_PROGRAM
                             "' \"$@\"; }\n"
                             "cd '" +
                             kRoot.string() + "' && { " + command + "\n} 2>'" + err.string() + "'";
  const Ended run = ended(script);
  Ran result;
  result.code = run.code;
  result.out = run.output;
  result.err = content_of(err);
  fs::remove(err);
  return result;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Two stages of one layer each on two GPUs of a node. The schedule stands in line 7, column 11.
std::string small_job(const std::string& schedule) {
  return "model: {family: synthetic, layers: 2, forward: 1 ms, backward_input: 1 ms,\n"
         "        backward_weight: 1 ms, message: 1 kB, activation: 4 kB}\n"
         "cluster: " +
         (kRoot / "topologies/clusters/single-8xh100.yaml").string() +
         "\n"
         "gpus: 2\n"
         "parallel: {pipeline: 2}\n"
         "batch: {global: 2, micro: 1}\n"
         "schedule: " +
         schedule + "\n";
}

}  // namespace

TEST_CASE("command line: a valid job exits with 0 and says nothing on standard error") {
  const Folder folder;
  for (const std::string verb : {"simulate", "plan", "check"}) {
    INFO(verb);
    const Ran done = ran(folder, "windtunnel " + verb + " " + kTeaching);
    CHECK(done.code == 0);
    CHECK(!done.out.empty());
    CHECK(done.err.empty());
  }
  for (const std::string help : {"--help", "simulate --help", "plan --help", "check --help"}) {
    INFO(help);
    CHECK(ran(folder, "windtunnel " + help).code == 0);
  }
}

TEST_CASE("command line: bad input exits with 2, the place on standard error and nothing else") {
  const Folder folder;
  const fs::path job = folder.write("bad.yaml", small_job("1f1c"));
  for (const std::string verb : {"simulate", "plan", "check"}) {
    INFO(verb);
    const Ran refused = ran(folder, "windtunnel " + verb + " '" + job.string() + "'");
    CHECK(refused.code == 2);
    CHECK(refused.out.empty());
    CHECK(refused.err.starts_with(job.string() + ":7:11: error: "));
    CHECK(contains(refused.err, "1f1c"));
  }
}

TEST_CASE("command line: files that cannot be read exit with 2") {
  const Folder folder;
  for (const std::string& file :
       {(folder / "absent.yaml").string(), (folder / "").string(), std::string("/dev/null")})
    for (const std::string verb : {"simulate", "plan", "check"}) {
      INFO(verb << " " << file);
      const Ran refused = ran(folder, "windtunnel " + verb + " '" + file + "'");
      CHECK(refused.code == 2);
      CHECK(refused.out.empty());
      CHECK(contains(refused.err, "error: "));
    }
}

TEST_CASE("command line: what it does not know exits with 2") {
  const Folder folder;
  const std::vector<std::string> unknown = {"",
                                            "fly",
                                            "simulate",
                                            "check",
                                            "simulate --fast " + kTeaching,
                                            "plan --out x " + kTeaching,
                                            "check --set a=b " + kTeaching,
                                            "simulate " + kTeaching + " " + kTeaching,
                                            "simulate --set"};
  for (const std::string& arguments : unknown) {
    INFO("windtunnel " << arguments);
    const Ran refused = ran(folder, "windtunnel " + arguments);
    CHECK(refused.code == 2);
    CHECK(refused.out.empty());
    CHECK(!refused.err.empty());
  }
}

TEST_CASE("command line: --set overrides a key, and a wrong one is named") {
  const Folder folder;
  const std::string simulate = "windtunnel simulate " + kTeaching;
  CHECK(contains(ran(folder, simulate).out, " 8 micro-batches"));
  CHECK(contains(ran(folder, simulate + " --set batch.global=24").out, " 24 micro-batches"));
  CHECK(contains(ran(folder, simulate + " --set batch.global=24 --set batch.global=32").out,
                 " 32 micro-batches"));
  for (const std::string wrong : {"schedule=zb-x", "batch.globl=16", "batch.global=many"}) {
    INFO(wrong);
    const Ran refused = ran(folder, simulate + " --set " + wrong);
    CHECK(refused.code == 2);
    CHECK(refused.out.empty());
    CHECK(refused.err.starts_with("--set " + wrong + ": error: "));
  }
  const Ran refused = ran(folder, simulate + " --set schedule");
  CHECK(refused.code == 2);
  CHECK(contains(refused.err, "schedule"));
}

TEST_CASE("command line: check takes several files and tells of each") {
  const Folder folder;
  const std::string good =
      "topologies/gpus/h100-sxm5.yaml topologies/nodes/dgx-a100.yaml "
      "topologies/clusters/selene.yaml workloads/models/gpt3-175b.yaml " +
      kTeaching;
  const Ran all = ran(folder, "windtunnel check " + good);
  CHECK(all.code == 0);
  CHECK(std::count(all.out.begin(), all.out.end(), '\n') == 5);
  CHECK(all.err.empty());
  const fs::path bad = folder.write("bad.yaml", small_job("1f1c"));
  const Ran mixed = ran(folder, "windtunnel check '" + bad.string() + "' " + good);
  CHECK(mixed.code == 2);
  CHECK(mixed.out == all.out);
  CHECK(mixed.err.starts_with(bad.string() + ":7:11: error: "));
}

TEST_CASE("command line: a full disk exits with 1") {
  const Folder folder;
  for (const std::string verb : {"simulate", "plan", "check"}) {
    INFO(verb);
    const Ran failed = ran(folder, "windtunnel " + verb + " " + kTeaching + " >/dev/full");
    CHECK(failed.code == 1);
    CHECK(failed.err == "error: cannot write to standard output\n");
  }
}

TEST_CASE("command line: the same command gives the same bytes") {
  const Folder folder;
  for (const std::string& job : {kTeaching, std::string("workloads/gpt2-124m-straggler.yaml"),
                                 std::string("workloads/llama3-8b-mixed.yaml")}) {
    INFO(job);
    const std::string out = (folder / "out").string();
    std::vector<std::map<std::string, std::string>> results;
    for (int time = 0; time < 2; ++time) {
      const Ran done = ran(folder, "windtunnel simulate " + job + " --out '" + out + "'");
      REQUIRE(done.code == 0);
      for (const std::string name : {"ranks.csv", "report.json", "trace.json"})
        REQUIRE(fs::file_size(fs::path(out) / name) > 0);
      results.push_back(contents_in(out));
      results.back()["standard output"] = done.out;
    }
    CHECK(results[0] == results[1]);
  }
}

TEST_CASE("command line: --out where no folder can be exits with 1") {
  const Folder folder;
  const fs::path file = folder.write("file", "content\n");
  for (const fs::path& out : {file, file / "below"}) {
    INFO(out.string());
    const Ran failed =
        ran(folder, "windtunnel simulate " + kTeaching + " --out '" + out.string() + "'");
    CHECK(failed.code == 1);
    CHECK(failed.out.empty());
    CHECK(failed.err.starts_with("error: cannot "));
    CHECK(contains(failed.err, out.string()));
    CHECK(content_of(file) == "content\n");
    CHECK(names_in(file.parent_path()) == std::vector<std::string>{"file"});
  }
}

TEST_CASE("command line: a disk that fills up leaves no half-written file") {
  // Files may grow to 8 blocks of 512 B (1 KiB in some shells), which trace.json is larger than.
  // The signal that would end the program is ignored, as on a full disk there is none.
  const Folder folder;
  const std::string out = (folder / "out").string();
  const std::string simulate = "windtunnel simulate " + kTeaching + " --out '" + out + "'";
  const std::string limited = "(trap '' XFSZ; ulimit -f 8; " + simulate + ")";
  const Ran failed = ran(folder, limited);
  CHECK(failed.code == 1);
  CHECK(failed.out.empty());
  CHECK(contains(failed.err, "error: cannot write '" + out));
  CHECK(names_in(out).empty());
  // The files of an earlier run stay as they were.
  REQUIRE(ran(folder, simulate + " --set batch.global=16").code == 0);
  const auto before = contents_in(out);
  REQUIRE(before.at("trace.json").size() > 8 * 1024);
  CHECK(ran(folder, limited).code == 1);
  CHECK(contents_in(out) == before);
}

TEST_CASE("command line: a job that does not fit is refused with the table") {
  // Llama-2 7B without ZeRO: 6.74e9 parameters at 16 B (weights and gradients in bf16, Adam with a
  // master copy) are 107.8 GB, before activations; an A100 has
  // 79.25 GiB = 85.09 GB.
  const Folder folder;
  const std::string simulate =
      "windtunnel simulate workloads/llama2-7b-zero.yaml --set parallel.zero_stage=0 "
      "--set cluster=topologies/clusters/selene.yaml --set precision=bf16";
  const Ran refused = ran(folder, simulate);
  CHECK(refused.code == 2);
  CHECK(refused.out.empty());
  for (const std::string part : {"does not fit", "weights", "gradients", "optimizer", "85.09",
                                 "13.48", "80.86", "--allow-oom"}) {
    INFO(part);  // 2 B, 2 B and 12 B of 6738415616: 13.48, 13.48 and 80.86 GB
    CHECK(contains(refused.err, part));
  }
  const Ran allowed = ran(folder, simulate + " --allow-oom");
  CHECK(allowed.code == 0);
  CHECK(contains(allowed.out, "step time"));
}

TEST_CASE("command line: plan prints what can be worked out by hand") {
  // 1F1B on two ranks with two micro-batches: rank 0 warms up with one forward more than rank 1 and
  // so stores two activations of 4 kB; every message is 1 kB.
  const Folder folder;
  const fs::path job = folder.write("small.yaml", small_job("1f1b"));
  const Ran done = ran(folder, "windtunnel plan '" + job.string() + "'");
  CHECK(done.code == 0);
  CHECK(done.out == content_of(kRoot / "tests/golden/plan-1f1b-two-ranks.txt"));
}

TEST_CASE("command line: what no graph of ops can say is not exported") {
  const Folder folder;
  const std::string job = "workloads/mixtral-8x7b-experts.yaml";
  for (const auto& [setting, why] :
       {std::pair("overlap_experts=true",
                  "overlap_experts: a graph of ops has no place for exchanges beside another "
                  "micro-batch"),
        std::pair("expert_dispatch=two_level",
                  "expert_dispatch: a graph of ops has all-to-alls only")}) {
    const Ran refused = ran(folder, "windtunnel export " + job + " --set parallel." + setting +
                                        " --chakra '" + (folder / "graph").string() + "'");
    CHECK(refused.code == 2);
    CHECK(refused.out.empty());
    CHECK(refused.err == job + ": error: " + why + "\n");
    CHECK_FALSE(fs::exists(folder / "graph"));
  }
}

TEST_CASE("command line: every job of workloads simulates") {
  const Folder folder;
  int jobs = 0;
  for (const std::string place :
       {"workloads", "workloads/korthikanti", "workloads/one-gpu", "workloads/one-gpu/profile"})
    for (const auto& entry : fs::directory_iterator(kRoot / place)) {
      if (entry.path().extension() != ".yaml") continue;
      const std::string file = fs::relative(entry.path(), kRoot).string();
      INFO(file);
      const Ran done = ran(folder, "windtunnel simulate " + file);
      ++jobs;
      // A job may be there to show that it does not fit; its comment then says so.
      if (done.code == 2 && contains(content_of(entry.path()), "does not fit")) {
        CHECK(contains(done.err, "does not fit"));
        continue;
      }
      CHECK(done.code == 0);
      CHECK(done.err.empty());
      CHECK(contains(done.out, "step time"));
    }
  CHECK(jobs >= 47);
}

TEST_CASE("command line: a topology that no lab can have exits with 2, and nothing is built") {
  const Folder folder;
  const Ran torus = ran(folder, "windtunnel lab up topologies/clusters/torus-8x8.yaml");
  CHECK(torus.code == 2);
  CHECK(torus.out.empty());
  CHECK(torus.err ==
        "topologies/clusters/torus-8x8.yaml: error: A lab has a fabric of the family star or "
        "fat_tree, not torus.\n");
  CHECK(ran(folder, "windtunnel lab").code == 2);
  CHECK(ran(folder, "windtunnel lab up").code == 2);
  CHECK(ran(folder, "windtunnel lab up '" + (folder / "absent.yaml").string() + "'").code == 2);
  CHECK(ran(folder, "windtunnel lab status").code == 0);
}

}  // namespace windtunnel
