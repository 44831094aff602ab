// Whether LibTorch multiplies matrices with a library worth the name.
#pragma once

#include <string>

namespace windtunnel {

// Flop/s of one 512^3 product in fp32, the best of a few.
double matrix_product_rate();

// Why the job should not start, with the fix, or empty. Debian's LibTorch runs with any BLAS, and
// comes with the reference implementation: a GPT step of 110 ms takes 2,169 ms. A core with AVX2
// does more than 20 Gflop/s with OpenBLAS (155-170 measured on one with AVX-512); below half of
// that it is not the library that is meant. Other processors: no complaint.
std::string blas_complaint(double rate);
std::string blas_complaint();

}  // namespace windtunnel
