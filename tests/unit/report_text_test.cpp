#include <cstdlib>
#include <fstream>
#include <sstream>

#include "catch.hpp"
#include "report/format.hpp"
#include "report/report.hpp"
#include "unit/report_example.hpp"

using namespace windtunnel;

namespace {

// tests/golden/NAME; UPDATE_GOLDEN=1 writes it anew, and the diff shows what moved.
std::string golden(const std::string& name, const std::string& now) {
  const std::string path = std::string(WINDTUNNEL_SOURCE_DIR) + "/tests/golden/" + name;
  if (std::getenv("UPDATE_GOLDEN")) std::ofstream(path) << now;
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::size_t widest_line(const std::string& text) {
  std::size_t widest = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) widest = std::max(widest, line.size());
  return widest;
}

std::string text_of(const Job& job) {
  return to_text(summarize(job, example::plan(), example::trace()), job);
}

}  // namespace

TEST_CASE("the terminal report of the example") {
  const std::string text = text_of(example::job());
  CHECK(text == golden("report.txt", text));
  CHECK(widest_line(text) <= 100);
}

TEST_CASE("the title says how many blocks recompute where not all do") {
  Job job = example::job();
  job.recompute_layers = 1;
  CHECK(text_of(job).find("full recomputation of 1 block a stage\n") != std::string::npos);
  job.recompute_layers = 2;
  CHECK(text_of(job).find("full recomputation of 2 blocks a stage\n") != std::string::npos);
}

TEST_CASE("a long title breaks between its parts") {
  Job job = example::job();
  job.name = std::string(40, 'n');
  job.cluster.name = std::string(40, 'c');
  const std::string text = text_of(job);
  CHECK(widest_line(text) <= 100);
  CHECK(text.find(std::string(40, 'n') + ": toy_2b (2 B parameters),\n  8 x toy_gpu of " +
                  std::string(40, 'c')) == 0);
}

TEST_CASE("the terminal report leaves out what is not known") {
  Job job = example::job();
  job.price = std::nullopt;
  job.cluster.power = std::nullopt;
  job.total_tokens = std::nullopt;
  job.cluster.node_types[0].gpu.peak = {};
  const std::string text = text_of(job);
  for (const char* absent : {"$", "energy", "whole run", "MFU", "peak 1", "HFU"})
    CHECK(text.find(absent) == std::string::npos);
}

TEST_CASE("numbers in units that people read") {
  CHECK(readable(6.2e9, "B") == "6.2 GB");
  CHECK(readable(312e12, "FLOP/s") == "312 TFLOP/s");
  CHECK(readable(999.96, "B") == "1 kB");
  CHECK(readable(999.94, "B") == "999.9 B");
  CHECK(readable(0, "B") == "0 B");
  CHECK(readable_count(174604259328.0) == "174.6 B");
  CHECK(readable_count(12) == "12");
  CHECK(readable_time(Seconds(13.751)) == "13.75 s");
  CHECK(readable_time(Seconds(0.1234567)) == "123.5 ms");
  CHECK(readable_time(Seconds(2e-6)) == "2 us");
  CHECK(readable_time(Seconds(0)) == "0 s");
  CHECK(readable_time(Seconds(2750)) == "45.83 min");
  CHECK(readable_time(Seconds(9000)) == "2.5 h");
  CHECK(readable_time(Seconds(864000)) == "10 days");
  CHECK(readable_share(0.41651) == "41.7 %");
  CHECK(readable_usd(Usd(0.0533333)) == "$0.05333");
  CHECK(readable_usd(Usd(266.933)) == "$266.93");
  CHECK(readable_usd(Usd(1234567)) == "$1.235 M");
}

TEST_CASE("a job that does not fit is told where and by how much") {
  Job job = example::job();
  CHECK(memory_complaint(job, example::plan()) == "");  // 6.2 of 8 GB

  job.cluster.node_types[0].gpu.memory = Bytes(6.2e9);
  CHECK(memory_complaint(job, example::plan()) == "");  // just full

  // Stage 0 peaks at 6.2 GB in its first backward, stage 1 at 5.7 GB.
  job.cluster.node_types[0].gpu.memory = Bytes(6e9);
  CHECK(memory_complaint(job, example::plan()) ==
        "job 'toy_job' does not fit: 1 of 2 pipeline stages needs more memory than its GPUs have.\n"
        "Stage 0 needs 6.2 GB of 6 GB during 0B0.\n"
        "GB (1e9 bytes) on one GPU at the peak of each stage:\n"
        "stage  weights gradients optimizer activations  buffers   logits framework "
        "fragmentation    total capacity  over by\n"
        "    0     1.00      1.00      3.00        1.00     0.20     0.00      0.00          0.00 "
        "    6.20     6.00     0.20\n"
        "    1     1.00      1.00      3.00        0.50     0.20     0.00      0.00          0.00 "
        "    5.70     6.00        -\n");
}

TEST_CASE("the smallest GPU of a stage is what must hold it") {
  Job job = example::job();
  NodeType small = job.cluster.node_types[0];
  small.gpu.memory = Bytes(5e9);
  job.cluster.node_types.push_back(small);
  job.cluster.type_of_node = {1, 0};
  // Data is the slowest dimension: ranks 0-3 are one replica of both stages, on small GPUs.
  job.parallel.order = {Dimension::Tensor, Dimension::Pipeline, Dimension::Data};
  Plan plan = example::plan();
  plan.grid.order = job.parallel.order;
  const std::string complaint = memory_complaint(job, plan);
  CHECK(complaint.find("2 of 2 pipeline stages need") != std::string::npos);
  CHECK(complaint.find("needs 6.2 GB of 5 GB") != std::string::npos);
}

TEST_CASE("memory that is too small before the step begins") {
  Job job = example::job();
  Plan plan = example::plan();
  for (Program& program : plan.programs)
    for (Op& op : program.ops) op.on_start.clear(), op.on_end.clear();
  job.cluster.node_types[0].gpu.memory = Bytes(4e9);
  CHECK(memory_complaint(job, plan).find("needs 5 GB of 4 GB before the step begins.") !=
        std::string::npos);
}
