// Which kernels are measured on a device, in which sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "backend/torch.hpp"
#include "plan/job.hpp"

namespace windtunnel {

struct GemmShape {
  std::int64_t m = 0, n = 0, k = 0;
  auto operator<=>(const GemmShape&) const = default;
};

struct AttentionShape {
  std::int64_t batch = 1, heads = 1, sequence = 1, head_size = 64;
  bool causal = false;
};

struct ConvolutionShape {
  std::int64_t images = 1, channels = 1;  // 3 x 3, on 28 x 28 points
};

struct KernelGrid {
  DType type = DType::Fp32;          // of all kernels but the optimizer's, which are in fp32
  std::vector<DType> more_of_gemms;  // types in which GEMMs are measured besides
  std::vector<GemmShape> gemms;
  std::vector<AttentionShape> attentions;
  bool is_attention_fused = false;  // and then measured forward and backward
  std::vector<ConvolutionShape> convolutions;
  // Each of the three tensors of a sum; other elementwise kernels move as many bytes.
  std::vector<std::int64_t> tensor_bytes;
  bool has_norms = false;                // copies, norms, softmax and GELU beside the sum
  std::int64_t table_rows = 0, row = 0;  // of an embedding
  // Of a GPU: the GEMM that runs on end until power has settled, and the bytes of a large copy.
  std::optional<GemmShape> sustained;
  std::int64_t copied_bytes = 0;
};

// What fits a core: fp32, up to 1024^3, unfused attention as its layers compute it.
KernelGrid core_grid();

// What fills a GPU, in the format that the jobs compute in, GEMMs in the others that the card has
// a peak for and LibTorch a kernel; with the jobs' own GEMMs, heads and masks. Requires jobs.
KernelGrid gpu_grid(const std::vector<Job>& jobs);

}  // namespace windtunnel
