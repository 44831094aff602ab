// The accuracy harness: its tables are read, no row is lost on the way, and its command line.
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "commands/validate_collectives.hpp"
#include "commands/validate_run.hpp"
#include "commands/validate_summary.hpp"
#include "config/config_error.hpp"
#include "folder.hpp"
#include "published_tables.hpp"
#include "shell.hpp"

using namespace windtunnel;

namespace {

const std::string kRoot = WINDTUNNEL_SOURCE_DIR;

std::string error_of(const std::string& csv) {
  try {
    published_rows(csv, "t.csv");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("bad tables name file, line and what is wrong") {
  const std::string header = "model,arch,gpus,gpu_type,gbs,s_per_iter\n";
  CHECK(error_of("") == "t.csv:1: error: the table is empty");
  CHECK(error_of("model,arch,gpus,gpu_typ,gbs\n") ==
        "t.csv:1: error: unknown column 'gpu_typ' (did you mean 'gpu_type'?)");
  CHECK(error_of("model,arch,model\n") == "t.csv:1: error: column 'model' for the second time");
  CHECK(error_of("model,arch,gpus,gbs\n") == "t.csv:1: error: missing column 'gpu_type'");
  CHECK(error_of("job\n") == "t.csv:1: error: missing column 'published_s'");
  CHECK(error_of(header + "m,decoder,8\n") == "t.csv:2: error: 3 fields, but the header has 6");
  CHECK(error_of(header + "m,decoder,8,A100,64,fast\n") ==
        "t.csv:2: error: s_per_iter: expected a positive number or NA, got 'fast'");
  CHECK(error_of(header + "\"m,decoder,8,A100,64,1\n") ==
        "t.csv:2: error: a quoted field without its closing quote");
  CHECK(error_of("split,model,arch,gpus,gpu_type,gbs\ntrain,m,decoder,8,A100,64\n") ==
        "t.csv:2: error: split: expected test or calibrate, got 'train'");
  CHECK(error_of(header + "m,\"decoder, causal\",8,A100,64,1\n").empty());
}

TEST_CASE("no row disappears, and two runs print the same bytes") {
  const std::vector<std::string> files = {kPublished + "01_korthikanti_2022.csv",
                                          kPublished + "12_vtrain_multinode.csv"};
  const Validation validation = validated(files, rules(), Split::All, 2);
  CHECK(validation.rows.size() == 17 + 71);
  const std::vector<TableSummary> tables = summaries(validation);
  REQUIRE(tables.size() == 3);
  for (const TableSummary& table : tables) {
    std::size_t refused = 0;
    for (const auto& [reason, rows] : table.refused) {
      CHECK_FALSE(reason.empty());
      refused += std::size_t(rows);
    }
    CHECK(table.rows == table.timed + table.memory_only + refused);
  }
  CHECK(tables[0].timed == 4);
  CHECK(tables[1].timed == 71);
  CHECK(tables[1].null_flops.has_value());
  CHECK(tables[1].null_regression.has_value());
  const Validation again = validated(files, rules(), Split::All, 1);
  CHECK(rows_csv(validation) == rows_csv(again));
  CHECK(summary_json(tables) == summary_json(summaries(again)));
}

TEST_CASE("the accuracy table goes between its marks") {
  const std::string begin = "<!-- accuracy: begin -->", end = "<!-- accuracy: end -->";
  CHECK(between_marks("a\n" + begin + "\nold\n" + end + "\nb\n", "accuracy", "new\n", "r.md") ==
        "a\n" + begin + "\nnew\n" + end + "\nb\n");
  CHECK_THROWS_AS(between_marks("no marks", "accuracy", "new\n", "r.md"), ConfigError);
}

TEST_CASE("collectives: rows are predicted, refused with a reason, and fitted on other systems") {
  const TemporaryFolder folder("collectives");
  const std::string header =
      "row_id,system,gpu,gpus_per_node,nodes,ranks,intra_link,lib,algo,collective,size_bytes,"
      "time_us,algbw_GBps,note\n";
  const std::string table = (folder.path / "sweeps.csv").string();
  write_text(table,
             header + "a,8xA100 node,A100,8,1,8,NVLink3,nccl,,all_reduce,1073741824,8000,,\n" +
                 "b,DGX Cloud H100,H100,8,1,8,NVLink4,nccl,,all_reduce,1073741824,,214.7483648,\n" +
                 "c,8xA100 node,A100,8,1,8,NVLink3,nccl,,sendrecv,1024,10,,\n" +
                 "d,8xA100 node,A100,8,1,8,NVLink3,mscclpp (not NCCL),,all_gather,1024,10,,\n");
  CHECK(is_collective_table(table));
  CHECK_FALSE(is_collective_table(kPublished + "01_korthikanti_2022.csv"));
  const std::vector<CollectiveRow> rows = collective_rows({table}, rules());
  REQUIRE(rows.size() == 4);
  CHECK(rows[0].seconds.published == Approx(8e-3));
  CHECK(rows[1].seconds.published == Approx(5e-3));  // from the bandwidth
  CHECK(rows[2].refusal == "no such collective: sendrecv");
  CHECK(rows[3].refusal == "not NCCL");
  REQUIRE(rows[0].fitted);
  REQUIRE(rows[1].fitted);
  // Each is corrected by the other's ratio of measured to predicted.
  CHECK(*rows[0].fitted ==
        Approx(rows[0].seconds.predicted * rows[1].seconds.published / rows[1].seconds.predicted));
  CHECK(*rows[1].fitted ==
        Approx(rows[1].seconds.predicted * rows[0].seconds.published / rows[0].seconds.predicted));
  CHECK(collectives_text(rows).find("8xA100 node, 1 x 8") != std::string::npos);
  CHECK(collectives_csv(rows).find("d,8xA100 node,all_gather,1,8,1024,1e-05,,,not NCCL\n") !=
        std::string::npos);
}

TEST_CASE("collectives: bad tables name file, line and what is wrong") {
  const TemporaryFolder folder("bad_collectives");
  const auto error = [&](const std::string& csv) -> std::string {
    const std::string table = (folder.path / "t.csv").string();
    write_text(table, csv);
    try {
      collective_rows({table}, rules());
    } catch (const ConfigError& caught) {
      const std::string text = caught.what();
      return text.substr(text.rfind("t.csv"));
    }
    return "";
  };
  CHECK(error("collective,system\n") == "t.csv:1: error: missing column 'gpu'");
  const std::string header =
      "system,gpu,gpus_per_node,nodes,ranks,intra_link,lib,algo,collective,size_bytes,"
      "time_us,algbw_GBps,note\n";
  CHECK(error(header + "a,b\n") == "t.csv:2: error: 2 fields, but the header has 13");
}

TEST_CASE("validate on the command line: wrong input exits with 2") {
  const Ended missing = program("validate no-such-table.csv --rules " + rules().path);
  CHECK(missing.code == 2);
  CHECK(missing.output == "no-such-table.csv: error: cannot be read\n");
  const Ended split = program("validate " + kPublished + "01_korthikanti_2022.csv --split most");
  CHECK(split.code == 2);
  const Ended rules = program("validate " + kRoot + "/README.md");
  CHECK(rules.code == 2);
  const Ended works = program("validate " + kPublished + "01_korthikanti_2022.csv");
  CHECK(works.code == 0);
  CHECK(works.output.find("10 of 14 rows not simulated") != std::string::npos);
}

TEST_CASE("validate on the command line: an option that its files cannot take is refused") {
  const auto refused = [](const std::string& file, const std::string& option,
                          const std::string& value) {
    const Ended run = program("validate " + file + " " + option + " " + value);
    CHECK(run.code == 2);
    return run.output;
  };
  const std::string job = kRoot + "/workloads/lab/1f1b.yaml";
  for (const auto& [option, value] : std::map<std::string, std::string>{
           {"--profile", "machine.yaml"}, {"--set", "gpus=2"}, {"--lab", ""}})
    CHECK(refused(kPublished + "01_korthikanti_2022.csv", option, value) ==
          option + ": error: is for jobs (YAML), not for tables (CSV)\n");
  for (const auto& [option, value] : std::map<std::string, std::string>{{"--split", "test"},
                                                                        {"--rules", "rules.yaml"},
                                                                        {"--jobs", "2"},
                                                                        {"--write-readme", "a.md"},
                                                                        {"--write-intervals", "a"},
                                                                        {"--zero-shot", ""}})
    CHECK(refused(job, option, value) ==
          option + ": error: is for tables (CSV), not for jobs (YAML)\n");
  CHECK(refused(job, kPublished + "01_korthikanti_2022.csv", "") ==
        "error: validate takes tables (CSV) or jobs (YAML), not both at once\n");
}
