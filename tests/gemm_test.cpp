// GEMMs by their tiles against measured ones. `held_out` shapes were not used for any parameter.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>

#include "catch.hpp"
#include "config/load.hpp"

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
  std::ifstream file(WINDTUNNEL_SOURCE_DIR "/tests/data/" + table);
  REQUIRE(file);
  Errors errors;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(use + ",")) continue;
    long batch = 0, m = 0, n = 0, k = 0;
    double tflops = 0;
    REQUIRE(std::sscanf(line.c_str() + use.size(), ",%ld,%ld,%ld,%ld,%lf", &batch, &m, &n, &k,
                        &tflops) == 5);
    const Work work = matmul(m, n, k, DType::Bf16, batch);
    const double measured = work.flops.value / (tflops * 1e12);
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
  std::ifstream file(WINDTUNNEL_SOURCE_DIR "/tests/data/power_limits.csv");
  REQUIRE(file);
  double exponents = 0;
  int pairs = 0;
  for (std::string line; std::getline(file, line);) {
    double low_watts = 0, high_watts = 0, low = 0, high = 0;
    const auto comma = line.find(',');
    if (line.starts_with('#') || comma == std::string::npos ||
        std::sscanf(line.c_str() + comma, ",%lf,%lf,%lf,%lf", &low_watts, &high_watts, &low,
                    &high) != 4)
      continue;
    exponents += std::log(low / high) / std::log(low_watts / high_watts);
    ++pairs;
  }
  REQUIRE(pairs == 4);
  GpuSpec gpu;
  gpu.tdp = Watts(800);
  gpu.power_limit = Watts(400);
  CHECK(std::log2(clock_under_limit(gpu)) == Approx(-exponents / pairs).epsilon(0.01));
}

TEST_CASE("GEMMs that add to a sum are slower by what that moves", "[gemm]") {
  std::ifstream file(WINDTUNNEL_SOURCE_DIR "/tests/data/gemm_sums.csv");
  REQUIRE(file);
  double error = 0;
  int pairs = 0;
  for (std::string line; std::getline(file, line);) {
    char name[32];
    long out = 0, in = 0;
    double forward = 0, sums[2] = {0, 0};  // fp32, bf16
    if (std::sscanf(line.c_str(), "%31[^,],%ld,%ld,%lf,%lf,%lf", name, &out, &in, &forward,
                    &sums[0], &sums[1]) < 5)
      continue;
    const GpuSpec gpu =
        load_gpu(WINDTUNNEL_SOURCE_DIR "/topologies/gpus/" + std::string(name) + ".yaml");
    Work work = matmul(out, in, 4096, DType::Bf16);
    const Seconds plain = work.flops / (*gpu.peak[std::size_t(DType::Bf16)] * forward);
    for (const int i : {0, 1}) {
      if (sums[i] == 0) continue;
      work.sums = Bytes((i == 0 ? 6.0 : 2.0) * double(out) * double(in));
      Work alone = work;
      alone.sums = Bytes(0);
      const Seconds more =
          kernel_time(gpu, work, DType::Bf16) - kernel_time(gpu, alone, DType::Bf16);
      error += std::abs((1 + more / plain) / (forward / sums[i]) - 1);
      ++pairs;
    }
  }
  CHECK(pairs == 25);
  CHECK(error / pairs < 0.015);  // without it 5.2 %
}

TEST_CASE("GEMMs of experts run one after another", "[gemm]") {
  std::ifstream file(WINDTUNNEL_SOURCE_DIR "/tests/data/grouped_gemm.csv");
  REQUIRE(file);
  double apart = 0, together = 0;
  int times = 0;
  for (std::string line; std::getline(file, line);) {
    char name[32];
    long experts = 0, rows = 0, out = 0, in = 0;
    double measured[3] = {0, 0, 0};
    if (std::sscanf(line.c_str(), "%31[^,],%ld,%ld,%ld,%ld,%lf,%lf,%lf", name, &experts, &rows,
                    &out, &in, &measured[0], &measured[1], &measured[2]) != 8)
      continue;
    const GpuSpec gpu =
        load_gpu(WINDTUNNEL_SOURCE_DIR "/topologies/gpus/" + std::string(name) + ".yaml");
    Work works[3] = {matmul(rows, out, in, DType::Bf16, experts),
                     matmul(rows, in, out, DType::Bf16, experts),
                     matmul(out, in, rows, DType::Bf16, experts)};
    works[2].sums = Bytes(2.0 * double(experts) * double(out) * double(in));
    for (int pass = 0; pass < 3; ++pass) {
      Work& work = works[pass];
      const auto error = [&] {
        const double time = kernel_time(gpu, work, DType::Bf16).value;
        const double peak = gpu.peak[std::size_t(DType::Bf16)]->value;
        return std::abs(time / (work.flops.value / (peak * measured[pass])) - 1);
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
