// What of a block runs again before its backward pass, so that it need not be kept.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace windtunnel {

// PerOp: PyTorch's activation checkpointing by operation as torchtitan uses it: every second linear
// and all that is not a linear, attention or a reduce-scatter runs again. Source: torchtitan
// @004b3148 torchtitan/parallelisms/parallelize_llama.py (_save_list).
// There Q, K, V and the halves of SwiGLU are linears of their own, as `software: dtensor` has them.
// Modules: parts of a block, RecomputeModule.
enum class Recompute { None, Selective, Full, PerOp, Modules };
// In a job; modules are a list.
inline constexpr std::array<std::string_view, 4> kRecomputeNames = {"none", "selective", "full",
                                                                    "per_op"};

// Megatron-Core's recompute_modules. Mlp and Moe are wholes, from the first linear or the router
// on, and keep the hidden state that they got. CoreAttn is attention between its linears; what it
// gives up is what Selective drops, and nothing where scores stay inside of a kernel.
// The others keep what they get, and give up what they return once it was used: Layernorm the norm
// in front of experts and of latent attention (elsewhere it is part of the linear behind it),
// MoeAct the activation function of experts, MlaUpProj queries, keys and values of latent
// attention. In fp8 they are cast again, which is not counted. Source: NVIDIA/Megatron-LM
// megatron/core/transformer/transformer_config.py, transformer_layer.py, moe/experts.py and
// multi_latent_attention.py; from memory but for the list of names.
enum class RecomputeModule : std::uint8_t { CoreAttn, MoeAct, Layernorm, MlaUpProj, Mlp, Moe };
inline constexpr std::array<std::string_view, 6> kRecomputeModuleNames = {
    "core_attn", "moe_act", "layernorm", "mla_up_proj", "mlp", "moe"};

// A set of them.
class RecomputeModules {
 public:
  constexpr void add(RecomputeModule module) { bits_ |= bit(module); }
  constexpr bool has(RecomputeModule module) const { return (bits_ & bit(module)) != 0; }
  constexpr bool shares(RecomputeModules other) const { return (bits_ & other.bits_) != 0; }
  constexpr bool operator==(const RecomputeModules&) const = default;

 private:
  static constexpr std::uint8_t bit(RecomputeModule module) {
    return std::uint8_t(1 << int(module));
  }
  std::uint8_t bits_ = 0;
};

struct Recomputation {
  Recompute kind = Recompute::None;
  RecomputeModules modules;  // of the kind Modules

  constexpr Recomputation(Recompute how = Recompute::None, RecomputeModules parts = {})
      : kind(how), modules(parts) {}
  constexpr bool operator==(const Recomputation&) const = default;
  constexpr bool operator==(Recompute other) const { return kind == other; }
};

// "full", or "moe_act + layernorm".
std::string recomputation_text(const Recomputation& recomputation);

}  // namespace windtunnel
