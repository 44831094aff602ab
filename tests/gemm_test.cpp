// GEMMs by their tiles against measured ones. `held_out` shapes were not used for any parameter.
#include <algorithm>
#include <cmath>
#include <string>

#include "catch.hpp"
#include "config/load.hpp"
#include "measured_rows.hpp"

namespace windtunnel {

namespace {

struct Errors {
  double mean = 0, worst = 0;
  int rows = 0;
};

GpuSpec gpu_of(const std::string& cluster) {
  return load_job_text(
             "model: {family: gpt, hidden: 64, layers: 1, heads: 1, vocab: 64, "
             "max_sequence: 64}\n"
             "cluster: ../topologies/clusters/" +
                 cluster +
                 ".yaml\n"
                 "gpus: 1\nbatch: {global: 1, micro: 1, sequence: 64}\nprecision: bf16\n",
             WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml", {})
      .cluster.node_types.front()
      .gpu;
}

Errors errors(const GpuSpec& gpu, const std::string& table, const std::string& use) {
  Errors errors;
  for (const CsvRow& row : measured_rows(table)) {
    if (row.at(0) != use) continue;
    const Work work = matmul(std::stol(row.at(2)), std::stol(row.at(3)), std::stol(row.at(4)),
                             DType::Bf16, std::stol(row.at(1)));
    const double measured = work.flops.value / (std::stod(row.at(5)) * 1e12);
    const double error = std::abs(kernel_time(gpu, work, DType::Bf16).value / measured - 1);
    errors.mean += error;
    errors.worst = std::max(errors.worst, error);
    ++errors.rows;
  }
  errors.mean /= errors.rows;
  return errors;
}

}  // namespace

TEST_CASE("GEMMs of H100 by shape", "[gemm]") {
  GpuSpec gpu = gpu_of("single-8xh100");
  gpu.gemm.sustained = 1;  // single kernels: too short for the power limit
  const Errors fitted = errors(gpu, "h100_gemm.csv", "fitted");
  CHECK(fitted.rows == 37);
  CHECK(fitted.mean < 0.04);
  const Errors held_out = errors(gpu, "h100_gemm.csv", "held_out");
  CHECK(held_out.rows == 30);
  CHECK(held_out.mean < 0.04);
  CHECK(held_out.worst < 0.2);
}

TEST_CASE("GEMMs of A100 by shape", "[gemm]") {
  const GpuSpec gpu = gpu_of("single-8xa100");
  CHECK(errors(gpu, "a100_gemm.csv", "fitted").mean < 0.03);
  const Errors held_out = errors(gpu, "a100_gemm.csv", "held_out");
  CHECK(held_out.rows == 5);
  CHECK(held_out.mean < 0.09);
}

TEST_CASE("GEMMs under a power limit as the mean of measured pairs", "[gemm]") {
  double exponents = 0;
  int pairs = 0;
  for (const CsvRow& row : measured_rows("power_limits.csv")) {
    const double watts = std::stod(row.at(1)) / std::stod(row.at(2));
    exponents += std::log(std::stod(row.at(3)) / std::stod(row.at(4))) / std::log(watts);
    ++pairs;
  }
  REQUIRE(pairs == 4);
  GpuSpec gpu;
  gpu.tdp = Watts(800);
  gpu.power_limit = Watts(400);
  CHECK(std::log2(clock_under_limit(gpu)) == Approx(-exponents / pairs).epsilon(0.01));
}

TEST_CASE("GEMMs that add to a sum are slower by what that moves", "[gemm]") {
  double error = 0;
  int pairs = 0;
  for (const CsvRow& row : measured_rows("gemm_sums.csv")) {
    const long out = std::stol(row.at(1)), in = std::stol(row.at(2));
    const double forward = std::stod(row.at(3));
    const GpuSpec gpu = load_gpu(WINDTUNNEL_SOURCE_DIR "/topologies/gpus/" + row.at(0) + ".yaml");
    Work work = matmul(out, in, 4096, DType::Bf16);
    const Seconds plain = work.flops / (*gpu.peak[std::size_t(DType::Bf16)] * forward);
    for (const std::size_t column : {4, 5}) {  // sums in fp32, bf16
      if (row.at(column).empty()) continue;
      work.sums = Bytes((column == 4 ? 6.0 : 2.0) * double(out) * double(in));
      Work alone = work;
      alone.sums = Bytes(0);
      const Seconds more =
          kernel_time(gpu, work, DType::Bf16) - kernel_time(gpu, alone, DType::Bf16);
      error += std::abs((1 + more / plain) / (forward / std::stod(row.at(column))) - 1);
      ++pairs;
    }
  }
  CHECK(pairs == 25);
  CHECK(error / pairs < 0.015);  // without it 5.2 %
}

TEST_CASE("GEMMs of experts run one after another", "[gemm]") {
  double apart = 0, together = 0;
  int times = 0;
  for (const CsvRow& row : measured_rows("grouped_gemm.csv")) {
    const GpuSpec gpu = load_gpu(WINDTUNNEL_SOURCE_DIR "/topologies/gpus/" + row.at(0) + ".yaml");
    const long experts = std::stol(row.at(1)), rows = std::stol(row.at(2));
    const long out = std::stol(row.at(3)), in = std::stol(row.at(4));
    Work works[3] = {matmul(rows, out, in, DType::Bf16, experts),
                     matmul(rows, in, out, DType::Bf16, experts),
                     matmul(out, in, rows, DType::Bf16, experts)};
    works[2].sums = Bytes(2.0 * double(experts) * double(out) * double(in));
    for (std::size_t pass = 0; pass < 3; ++pass) {
      Work& work = works[pass];
      const double measured = std::stod(row.at(5 + pass));
      const auto error = [&] {
        const double time = kernel_time(gpu, work, DType::Bf16).value;
        const double peak = gpu.peak[std::size_t(DType::Bf16)]->value;
        return std::abs(time / (work.flops.value / (peak * measured)) - 1);
      };
      together += error();
      work.kernels = int(experts);
      apart += error();
      ++times;
    }
  }
  CHECK(times == 48);
  CHECK(apart / times < 0.14);
  CHECK(together / times > 0.3);
}

}  // namespace windtunnel
