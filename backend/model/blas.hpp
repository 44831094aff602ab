// Whether LibTorch multiplies matrices with a library worth the name.
#pragma once

#include <string>

namespace windtunnel {

struct Blas {
  std::string library;  // the file that has sgemm_; empty: unknown, as in a wheel of LibTorch
  double rate = 0;      // flop/s of one 512^3 product in fp32, the best of a few
};
Blas measured_blas();

// Flop/s below which it is not the library that is meant. Debian's LibTorch runs with any BLAS, and
// comes with the reference implementation: a GPT step of 110 ms takes 2,169 ms. A core with AVX2
// does more than 20 Gflop/s with OpenBLAS (155-170 measured on one with AVX-512): half of that, and
// 0 for other processors.
double slowest_rate();

// Why the job should not start, with the fix, or empty. A library that is known to be fast is slow
// only where other programs use the machine, which the measurement itself finds out.
std::string blas_complaint(const Blas& blas, double slowest_rate);

}  // namespace windtunnel
