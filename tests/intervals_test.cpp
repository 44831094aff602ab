// validation/intervals.json: how the harness makes it, and that it covers the cards of the tables.

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "commands/validate_intervals.hpp"
#include "commands/validate_rules.hpp"
#include "commands/validate_statistics.hpp"
#include "config/load.hpp"
#include "folder.hpp"
#include "shell.hpp"

using namespace windtunnel;

namespace {

namespace fs = std::filesystem;
const std::string kRoot = WINDTUNNEL_SOURCE_DIR;

PublishedRun run_on(const std::string& card, ParallelismKind kind, double ratio, double gpus,
                    const std::string& family) {
  PublishedRun run{.traits = {.card = card, .parallelism = kind, .precision = "bf16"},
                   .ratio = ratio};
  run.traits.family = family;
  run.traits.sizes[0] = gpus;
  return run;
}

// The card that a rule of systems.yaml gives, by its file.
std::string card_of(const Rule& rule) {
  const fs::path folder = kRoot + "/validation";
  return rule["gpu"].empty() ? load_node((folder / rule["node"]).string()).gpu.name
                             : load_gpu((folder / rule["gpu"]).string()).name;
}

}  // namespace

TEST_CASE("quantiles interpolate between ranks") {
  CHECK(quantile({7}, 0.1) == 7);
  CHECK(quantile({3, 1}, 0.5) == 2);
  // Eleven values are ranks 0 to 10: 0.1 is rank 1, 0.9 rank 9.
  const std::vector<double> eleven = {10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
  CHECK(quantile(eleven, 0.1) == 1);
  CHECK(quantile(eleven, 0.9) == 9);
  // 0.1 of ranks 0 to 3 is 0.3 up from the first, 0.9 is 0.7 up from the third.
  CHECK(quantile({1, 2, 4, 8}, 0.1) == Approx(1.3));
  CHECK(quantile({1, 2, 4, 8}, 0.9) == Approx(4 + 0.7 * 4));
}

TEST_CASE("runs by card and kind, by card, and all") {
  const std::vector<PublishedRun> runs = {
      run_on("b", ParallelismKind::Data, 1.0, 8, "gpt"),
      run_on("b", ParallelismKind::Data, 2.0, 64, "llama"),
      run_on("b", ParallelismKind::Pipeline, 4.0, 16, "gpt"),
      run_on("a", ParallelismKind::Tensor, 1.23456, 2, "bert"),
  };
  const std::vector<RunClass> classes = run_classes(runs);
  REQUIRE(classes.size() == 6);
  const auto check = [&](std::size_t i, const char* card, std::optional<ParallelismKind> kind,
                         int count, double p10, double p90) {
    INFO(i);
    CHECK(classes[i].card == card);
    CHECK(classes[i].parallelism == kind);
    CHECK(classes[i].runs == count);
    CHECK(classes[i].p10 == Approx(p10));
    CHECK(classes[i].p90 == Approx(p90));
  };
  check(0, "a", ParallelismKind::Tensor, 1, 1.2346, 1.2346);
  check(1, "b", ParallelismKind::Data, 2, 1.1, 1.9);
  check(2, "b", ParallelismKind::Pipeline, 1, 4, 4);
  check(3, "a", std::nullopt, 1, 1.2346, 1.2346);
  check(4, "b", std::nullopt, 3, 1.2, 3.6);
  // 1, 1.23456, 2, 4: 0.3 up from the first, 0.7 up from the third.
  check(5, "", std::nullopt, 4, 1.0704, 3.4);
  CHECK(classes[5].families == std::vector<std::string>{"bert", "gpt", "llama"});
  CHECK(classes[5].precisions == std::vector<std::string>{"bf16"});
  CHECK(classes[5].sizes[0] == SizeRange{2, 64});
  CHECK(classes[4].sizes[0] == SizeRange{8, 64});
  CHECK_FALSE(classes[5].sizes[1]);
  CHECK(run_classes({}).empty());
}

TEST_CASE("every card that the tables are mapped to has a class, and every class a profile") {
  std::set<std::string> profiles, mapped, covered;
  for (const auto& entry : fs::directory_iterator(kRoot + "/topologies/gpus"))
    if (entry.path().extension() == ".yaml") profiles.insert(load_gpu(entry.path().string()).name);
  const Rules rules = load_rules(kRoot + "/validation/systems.yaml");
  for (const Rule& rule : rules.sections.at("gpus"))
    if (rule["reason"].empty()) mapped.insert(card_of(rule));
  for (const RunClass& runs : published_classes())
    if (!runs.card.empty()) covered.insert(runs.card);
  REQUIRE(mapped.size() >= 5);
  CHECK(covered == mapped);
  for (const std::string& card : covered) {
    INFO(card);
    CHECK(profiles.contains(card));
  }
}

TEST_CASE("the program carries the file that is in the tree") {
  CHECK(run_classes_from(text_of(kRoot + "/validation/intervals.json")) == published_classes());
}

TEST_CASE("validate: --write-intervals writes classes, from rows of all splits only") {
  const TemporaryFolder folder("intervals");
  const std::string table = "'" + kRoot + "/validation/published/korthikanti-2022.csv'";
  const std::string file = (folder.path / "intervals.json").string();
  const Ended refused = program("validate " + table + " --write-intervals '" + file + "'");
  CHECK(refused.code == 2);
  CHECK(refused.output == "--write-intervals: error: needs --split all, without --zero-shot\n");
  const std::string all = " --split all --write-intervals '" + file + "'";
  CHECK(program("validate " + table + all + " --zero-shot").code == 2);
  const Ended collectives =
      program("validate '" + kRoot + "/validation/published/systems/collectives.csv'" + all);
  CHECK(collectives.code == 2);
  CHECK(collectives.output == "--write-intervals: error: needs a table of runs\n");
  CHECK_FALSE(fs::exists(file));

  // One job twice, published at 20 and at 30 s.
  const std::string job = kRoot + "/workloads/korthikanti/22b-full.yaml";
  write_text(folder.path / "own.csv", "job,published_s\n" + job + ",20\n" + job + ",30\n");
  const Ended done = program("validate '" + (folder.path / "own.csv").string() + "' --rules '" +
                             kRoot + "/validation/systems.yaml'" + all);
  INFO(done.output);
  REQUIRE(done.code == 0);
  const std::vector<RunClass> classes = run_classes_from(text_of(file));
  REQUIRE(classes.size() == 3);
  CHECK(classes[0].card == "NVIDIA A100-SXM4-80GB");
  CHECK(classes[0].parallelism == ParallelismKind::Tensor);
  CHECK(classes[0].runs == 2);
  // 10 % and 90 % of the way from 20 to 30 s, over the same prediction.
  CHECK(classes[0].p90 / classes[0].p10 == Approx(29.0 / 21).epsilon(1e-4));
  CHECK(classes[0].sizes[0] == SizeRange{8, 8});
}
