// The figures of norm_kernels.hpp, recomputed from the measurements they are means of.
#include "model/norm_kernels.hpp"

#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "config/load.hpp"
#include "measured_rows.hpp"
#include "model/operation.hpp"

namespace windtunnel {

namespace {

struct Measurement {
  std::string kernels, pass, card, type;
  double rows = 0, width = 0, seconds = 0;
};

std::vector<Measurement> measurements() {
  std::vector<Measurement> all;
  for (const CsvRow& row : measured_rows("norm_kernels.csv"))
    all.push_back({.kernels = row.at(0),
                   .pass = row.at(1),
                   .card = row.at(2),
                   .type = row.at(3),
                   .rows = std::stod(row.at(4)),
                   .width = std::stod(row.at(5)),
                   .seconds = std::stod(row.at(6)) * 1e-3});
  return all;
}

GpuSpec card(const std::string& name) {
  return load_gpu(WINDTUNNEL_SOURCE_DIR "/topologies/gpus/" + name + ".yaml");
}

// Bytes of an element and kernels. Eager RMSNorm forward: cast 2 + 4, square 8, mean 4, scaling 8,
// cast 4 + 2, weight 4 = 36. Backward: weight's two products 4 + 6 and its sum 2; cast 2 + 4;
// scaling's product 8, the scale's product 12 and its sum 4; the square's: power 8, twice 8, the
// mean's gradient 4, product 12; sum of the two branches 12; cast 4 + 2: 92.
Work work_of(const Measurement& row) {
  const double elements = row.rows * row.width, e = row.type == "fp32" ? 4 : 2;
  const bool is_forward = row.pass == "forward";
  if (row.kernels == "eager RMSNorm")
    return elementwise_kernels((is_forward ? 36 : 92) * elements, is_forward ? 6 : 15);
  if (row.kernels == "compiled rotary") return elementwise_kernels(2 * e * elements, 2);
  return elementwise_kernels((is_forward ? 2 : 3) * e * elements, is_forward ? 1 : 2);
}

// Measured time over the curve's: the mean over cards of the mean over sizes.
double mean_ratio(const std::string& kernels, const std::string& pass) {
  std::map<std::string, std::pair<double, int>> cards;
  for (const Measurement& row : measurements()) {
    if (row.kernels != kernels || (!pass.empty() && row.pass != pass)) continue;
    const double curve = kernel_time(card(row.card), work_of(row), DType::Bf16).value;
    auto& [sum, count] = cards[row.card];
    sum += row.seconds / curve;
    ++count;
  }
  REQUIRE_FALSE(cards.empty());
  double mean = 0;
  for (const auto& [name, sum] : cards) mean += sum.first / sum.second / double(cards.size());
  return mean;
}

}  // namespace

TEST_CASE("times of norms as measured", "[norms]") {
  struct Case {
    const char *kernels, *pass;
    double figure;
  };
  const Case cases[] = {{"eager RMSNorm", "", kMixedTypes},
                        {"PyTorch LayerNorm", "forward", kPyTorchNorms.forward},
                        {"PyTorch LayerNorm", "backward", kPyTorchNorms.backward},
                        {"compiled RMSNorm", "forward", kCompiledNorms.forward},
                        {"compiled RMSNorm", "backward", kCompiledNorms.backward},
                        {"compiled rotary", "forward", kCompiledRotary.forward},
                        {"compiled rotary", "backward", kCompiledRotary.backward},
                        {"apex LayerNorm", "forward", kApexNorms.forward},
                        {"apex LayerNorm", "backward", kApexNorms.backward}};
  for (const Case& c : cases) {
    INFO(c.kernels << " " << c.pass);
    CHECK(mean_ratio(c.kernels, c.pass) == Approx(c.figure).epsilon(0.01));
  }
  // One pass over its tensors: nothing on top of the curve.
  CHECK(mean_ratio("apex FastLayerNorm", "") == Approx(1.0).epsilon(0.05));
}

}  // namespace windtunnel
