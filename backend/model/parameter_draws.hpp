// The parameters of one layer, drawn one after the other as one process would draw them: every full
// tensor has a generator of its own on the CPU, and a rank keeps its part. So no layout of ranks
// and no device changes a bit of what a run starts from.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/model/layer_module.hpp"

namespace windtunnel {

// Standard deviation of linears and embeddings. Source: Radford et al. 2018, GPT, section 4.1;
// Devlin et al. 2018, BERT's initializer_range.
inline constexpr double kWeightDeviation = 0.02;

// Dimension of a full tensor that tensor parallelism divides.
enum class Split { None = -1, First = 0, Second = 1 };

class ParameterDraws {
 public:
  ParameterDraws(const LayerContext& context, std::uint64_t seed, int layer, bool frozen = false)
      : context_(context), seed_(seed), layer_(layer), frozen_(frozen) {}

  // What is drawn from now on is trained.
  void begin_trained() { frozen_ = false; }

  // Leaves on the context's device in its type; they require gradients unless frozen.
  at::Tensor normal(const std::vector<std::int64_t>& shape, Split split = Split::None,
                    double deviation = kWeightDeviation);
  at::Tensor constant(std::int64_t size, double value, Split split = Split::None);
  // `stacks` matrices [rows, columns] in one, each split by its own rows: [stacks rows / t,
  // columns].
  at::Tensor stacked(std::int64_t stacks, std::int64_t rows, std::int64_t columns);
  // Of all experts [E, ..., columns], this rank's, and of each its part of dimension `split` over
  // the expert-tensor group; as one matrix for each expert.
  at::Tensor experts(const std::vector<std::int64_t>& shape, int split);

 private:
  at::Tensor leaf(const at::Tensor& full, Split split) const;
  at::Tensor full_normal(const std::vector<std::int64_t>& shape, double deviation);

  const LayerContext& context_;
  std::uint64_t seed_;
  int layer_, tensor_ = 0;
  bool frozen_;
};

}  // namespace windtunnel
