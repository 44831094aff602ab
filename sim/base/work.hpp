// What one GPU kernel has to do, in FLOPs and bytes, never in seconds: one Plan serves any device.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/units.hpp"

namespace windtunnel {

// Fp4 is NVFP4: blocks of 16 numbers of 4 bits share a scale of 8. Source: TransformerEngine,
// NVFP4BlockScaling; NVIDIA 2025, arXiv:2509.25149.
enum class DType { Fp32, Tf32, Fp16, Bf16, Fp8, Fp4 };
inline constexpr std::array<std::string_view, 6> kDTypeNames = {"fp32", "tf32", "fp16",
                                                                "bf16", "fp8",  "fp4"};
constexpr double bytes_of(DType type) {
  switch (type) {
    case DType::Fp32:
    case DType::Tf32:
      return 4;
    case DType::Fp16:
    case DType::Bf16:
      return 2;
    case DType::Fp8:
      return 1;
    case DType::Fp4:
      return (4 + 8.0 / 16) / 8;
  }
  return 4;
}
// Only operands of linears have such a format, the rest of the job is in bf16.
constexpr bool is_of_operands(DType type) {
  return type == DType::Fp8 || type == DType::Fp4;
}

// A GPU has one efficiency curve for each of these classes of kernel.
enum class OpClass { Matmul, Attention, Convolution, Elementwise, Embedding, Optimizer, Fixed };
inline constexpr std::array<std::string_view, 7> kOpClassNames = {
    "matmul", "attention", "convolution", "elementwise", "embedding", "optimizer", "fixed"};

// One kernel (or a fused group of kernels): `flops` executed, `bytes` moved to and from memory.
// For a matmul, m, n, k and batch are the shape (2*batch*m*n*k FLOPs); 0 elsewhere.
// `duration` is set for Fixed only: the stage times of a synthetic model.
struct Work {
  OpClass op = OpClass::Elementwise;
  Flops flops{};
  Bytes bytes{};
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  int kernels = 1;        // launches that this work stands for
  double efficiency = 1;  // of its FLOPs, relative to the kernel that the device's curve is of
  bool is_cudnn = false;  // attention by cuDNN, whose speed the device knows
  // Of a matmul: C is a weight gradient, which a framework may add to those of earlier
  // micro-batches. `sums` is then what reading them and writing the sum moves beyond the C that
  // `bytes` has.
  bool is_weight_gradient = false;
  bool is_awaited = false;  // the process issues the kernels in a loop for which the device waits
  Bytes sums{};
  Seconds duration{};
  std::optional<DType> format{};  // where it is not the job's: attention and logits of an fp8 job
};

// C[m,n] += A[m,k] B[k,n], `batch` times, each operand read or written once.
constexpr Work matmul(std::int64_t m, std::int64_t n, std::int64_t k, DType type,
                      std::int64_t batch = 1) {
  const double b = double(batch), dm = double(m), dn = double(n), dk = double(k);
  return {.op = OpClass::Matmul,
          .flops = Flops(2 * b * dm * dn * dk),
          .bytes = Bytes(bytes_of(type) * b * (dm * dk + dk * dn + dm * dn)),
          .m = m,
          .n = n,
          .k = k,
          .batch = batch};
}

constexpr Work elementwise(Bytes bytes) {
  return {.op = OpClass::Elementwise, .bytes = bytes};
}

enum class CollectiveKind { AllReduce, AllGather, ReduceScatter, AllToAll, Broadcast };
inline constexpr std::array<std::string_view, 5> kCollectiveKindNames = {
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"};

// The enumerator whose name in `names` is `text`, or nothing.
template <class Enum, std::size_t N>
constexpr std::optional<Enum> enum_from(const std::array<std::string_view, N>& names,
                                        std::string_view text) {
  for (std::size_t i = 0; i < N; ++i)
    if (names[i] == text) return static_cast<Enum>(i);
  return std::nullopt;
}
template <class Enum, std::size_t N>
constexpr std::string_view name_of(const std::array<std::string_view, N>& names, Enum value) {
  return names[static_cast<std::size_t>(value)];
}

}  // namespace windtunnel
