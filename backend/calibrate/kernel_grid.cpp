#include "backend/calibrate/kernel_grid.hpp"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

namespace windtunnel {

namespace {

// The GEMMs of the jobs' layers that are one kernel of one product.
std::set<GemmShape> gemms_of(const std::vector<Job>& jobs) {
  std::set<GemmShape> gemms;
  for (const Job& job : jobs) {
    const Plan plan = build_plan(job);
    for (const Block& block : plan.blocks)
      for (const BlockPiece& piece : block) {
        const auto* work = std::get_if<Work>(&piece.piece.what);
        if (work && work->op == OpClass::Matmul && work->batch == 1)
          gemms.insert({work->m, work->n, work->k});
      }
  }
  return gemms;
}

// Size of a head and whether it has a causal mask; nothing of models without attention.
std::set<std::pair<std::int64_t, bool>> heads_of(const std::vector<Job>& jobs) {
  std::set<std::pair<std::int64_t, bool>> heads;
  for (const Job& job : jobs) {
    const Parameters& parameters = job.model.parameters;
    if (!parameters.has("heads")) continue;
    const bool has_size = parameters.has("head_size") && parameters.count("head_size") > 0;
    const std::int64_t size = has_size ? parameters.count("head_size")
                                       : parameters.count("hidden") / parameters.count("heads");
    const std::string_view family = job.model.family->name;
    heads.insert({size, family == "gpt" || family == "llama"});
  }
  if (heads.empty()) heads.insert({128, true});
  return heads;
}

}  // namespace

KernelGrid core_grid() {
  KernelGrid grid;
  // Cubes, and GEMMs of four times as many rows: twice and eight times the cube of a power of two.
  for (std::int64_t size = 32; size <= 1024; size *= 2)
    for (const std::int64_t rows : {size, 4 * size}) grid.gemms.push_back({rows, size, size});
  for (std::int64_t s = 32; s <= 1024; s *= 2) grid.attentions.push_back({1, 4, s, 64, false});
  for (std::int64_t channels = 8; channels <= 256; channels *= 2)
    grid.convolutions.push_back({1, channels});
  for (std::int64_t bytes = 1 << 14; bytes <= 1 << 26; bytes *= 8)
    grid.tensor_bytes.push_back(bytes);
  grid.table_rows = 4096;
  grid.row = 256;
  return grid;
}

KernelGrid gpu_grid(const std::vector<Job>& jobs) {
  KernelGrid grid;
  grid.type = jobs.front().precision.compute;
  const GpuSpec& card = jobs.front().cluster.node_types.front().gpu;
  for (const DType type : {DType::Fp32, DType::Tf32, DType::Fp16, DType::Bf16})
    if (card.peak[std::size_t(type)] && type != grid.type) grid.more_of_gemms.push_back(type);
  const std::vector<std::int64_t> sizes = {128, 512, 2048, 8192};
  std::set<GemmShape> gemms = gemms_of(jobs);
  for (const std::int64_t m : sizes)
    for (const std::int64_t n : sizes)
      for (const std::int64_t k : sizes) gemms.insert({m, n, k});
  grid.gemms.assign(gemms.begin(), gemms.end());
  grid.is_attention_fused = kHasFusedAttention;
  constexpr std::int64_t kTokens = 16384, kWidth = 2048;
  for (const auto& [head_size, causal] : heads_of(jobs))
    for (std::int64_t s = 256; s <= kTokens; s *= 2)
      grid.attentions.push_back({kTokens / s, kWidth / head_size, s, head_size, causal});
  for (std::int64_t channels = 32; channels <= 512; channels *= 2)
    grid.convolutions.push_back({64, channels});
  for (std::int64_t bytes = 1 << 16; bytes <= 1 << 28; bytes *= 8)
    grid.tensor_bytes.push_back(bytes);
  grid.has_norms = true;
  grid.table_rows = 65536;
  grid.row = 2048;
  grid.sustained = {8192, 8192, 8192};
  grid.copied_bytes = 1 << 30;
  return grid;
}

}  // namespace windtunnel
