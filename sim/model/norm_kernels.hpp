// How long the kernels of norms take, as times what the card's elementwise curve gives for their
// bytes: those that read and write each tensor once (2 e n forward, 3 e n backward), or, run
// eagerly, those of each operator. Every figure is the mean over cards of the measurements in
// tests/data/norm_kernels.csv, which names their sources; tests/norm_kernels_test.cpp recomputes
// them.
#pragma once

namespace windtunnel {

struct NormKernels {
  double forward = 1, backward = 1;
};

// apex's FastLayerNorm, which Megatron-LM calls persistent, and TransformerEngine's: as the curve.
inline constexpr NormKernels kOnePassNorms = {};
// apex's first fused LayerNorm and RMSNorm: backward reads both inputs again for the scale's
// gradient.
inline constexpr NormKernels kApexNorms = {1.32, 2.04};
// torch.nn.LayerNorm.
inline constexpr NormKernels kPyTorchNorms = {1.42, 2.43};
// What torch.compile makes of RMSNorm and of rotary positions.
inline constexpr NormKernels kCompiledNorms = {1.79, 3.84};
inline constexpr NormKernels kCompiledRotary = {1.39, 3.47};
// Eager operators between types, which do not read and write whole vectors: RMSNorm in fp32 of a
// 16-bit hidden state. Rotary positions in fp32 are taken alike.
inline constexpr double kMixedTypes = 1.3;

}  // namespace windtunnel
