// GEMMs of shapes that were not measured, from those that were.
#pragma once

#include <functional>
#include <vector>

#include "cluster/gpu.hpp"

namespace windtunnel {

// The factor between what this GEMM takes and what `modelled` says of it. A measured shape has its
// own, whatever the model says. Another has the mean (of the logarithm) of those of the eight
// nearest shapes, weighted by the inverse square of the distance in (log m, log n, log k): tiles
// know where waves end, and measurements how far off the tiles are, which changes slowly. Only its
// kin count, if there are any: of its type, with rows that start at multiples of as many bytes, up
// to the 16 that a thread loads at once. Rows of a batch are counted together. 1 if nothing of the
// type was measured. `modelled` is given works of one GEMM; `peak` is of the type.
double measured_over_modelled(const std::vector<MeasuredGemm>& measured, const Work& work,
                              DType type, FlopRate peak,
                              const std::function<Seconds(const Work&)>& modelled);

}  // namespace windtunnel
