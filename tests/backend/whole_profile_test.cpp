// Measured times on their way through both programs: calibrate writes a profile, simulate and
// validate predict with it.
#include "backend/catch.hpp"

#include <nlohmann/json.hpp>
#include <string>

#include "backend/program.hpp"
#include "config/load.hpp"

namespace windtunnel {
namespace {

const std::string kProgram = WINDTUNNEL_PROGRAM;
const std::string kJob = WINDTUNNEL_SOURCE_DIR "/tests/data/backend/tiny-mlp.yaml";

nlohmann::json json_of(const std::filesystem::path& path) {
  return nlohmann::json::parse(text_of(path));
}

}  // namespace

TEST_CASE("a profile that calibrate wrote serves simulate and validate", "[gloo]") {
  const TemporaryFolder folder("profile");
  const std::string profile = (folder.path / "machine.yaml").string();
  const std::string with_profile = " --profile " + profile;
  const auto done = [&](const std::string& arguments) {
    const End end = end_of(kProgram + " " + arguments, folder);
    INFO(end.errors);
    REQUIRE(end.code == 0);
    return end.output;
  };
  const auto out = [&](const std::string& name) {
    return " --out " + (folder.path / name).string();
  };

  // One process measures layers and kernels, which is quick. Other programs may run beside the
  // tests: whether the figures are sound is not the question.
  CHECK(done("calibrate " + kJob + " --ranks 1 --allow-noise --out " + profile) ==
        "wrote " + profile + "\n");
  CHECK(done("check " + profile) == profile + ": profile, valid\n");

  const std::string prediction = done("simulate " + kJob + with_profile + out("simulated"));
  const std::size_t coverage = prediction.find("\nprofile 1 rank, ");
  REQUIRE(coverage != std::string::npos);
  const std::string sources =
      "\n  measured: block 0, block 1, gradient norm, head, input, optimizer\n"
      "  by the topology's models: all_reduce of 2 ranks on 1 node, kernels beside collectives of "
      "2 "
      "ranks on 1 node\n";
  CHECK(prediction.find(sources, coverage) != std::string::npos);

  const End trial = end_of(kProgram + " validate " + kJob + with_profile + out("trials"), folder);
  INFO(trial.errors);
  const auto result = json_of(folder.path / "trials/tiny-mlp/trial.json");
  // Without a tolerance only noise fails a job.
  CHECK(trial.code == (result.at("noise") == "" ? 0 : 1));
  CHECK(trial.output.find("\n" + kJob + ": predicted ") != std::string::npos);
  CHECK(trial.output.find(sources) != std::string::npos);
  CHECK(trial.output.find("\n" + result.at("verdict").get<std::string>() + "\n") !=
        std::string::npos);

  // The trial's prediction is that of simulate, and not the one from the topology.
  const auto predicted = [&](const std::string& name) {
    return json_of(folder.path / name / "report.json").at("step_time_s").get<double>();
  };
  const auto of_trial = result.at("predicted_step_s").get<double>();
  done("simulate " + kJob + out("modelled"));
  CHECK(of_trial == Approx(predicted("simulated")).epsilon(1e-9));
  CHECK(of_trial != Approx(predicted("modelled")).epsilon(1e-9));
}

TEST_CASE("what nccl-tests printed joins what calibrate measures", "[gloo]") {
  const TemporaryFolder folder("nccl_tests");
  const std::string test = folder.path / "all_reduce_perf.txt", profile = folder.path / "both.yaml";
  write_text(test,
             "#  Rank  0 Group  0 Pid   4711 on     node-1 device  0 [0x07] Made-up GPU 9000\n"
             "#  Rank  1 Group  0 Pid   4712 on     node-1 device  1 [0x0f] Made-up GPU 9000\n"
             "  1024  256  float  sum  -1  20.00  0.05  0.08  0  25.00  0.04  0.06  0\n");
  const End end = end_of(kProgram + " calibrate " + kJob + " --ranks 1 --allow-noise --out " +
                             profile + " --nccl-tests " + test,
                         folder);
  INFO(end.errors);
  REQUIRE(end.code == 0);
  const Profile both = load_profile(profile);
  CHECK(both.source == "windtunnel calibrate, nccl-tests");
  CHECK(both.gpu);
  CHECK(both.layers.size() == 3);                              // of four two are alike
  const MeasuredCurve curve{{{1024, {Seconds(25e-6), 0.2}}}};  // in place; 20 us out of place
  REQUIRE(both.collectives.size() == 1);
  CHECK(both.collectives[0] ==
        CollectiveTime{CollectiveKind::AllReduce, CollectivePurpose::Plain, 2, 1, curve});
}

}  // namespace windtunnel
