#include "backend/model/blas.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "backend/torch.hpp"

namespace windtunnel {

namespace {

constexpr double kSlowest = 10e9;  // flop/s; see the header

bool has_avx2() {
#ifdef __x86_64__
  return __builtin_cpu_supports("avx2");
#else
  return false;
#endif
}

}  // namespace

double matrix_product_rate() {
  const at::NoGradGuard no_grad;
  constexpr int kWidth = 512, kRepeats = 5;
  const at::Tensor a = at::ones({kWidth, kWidth}), b = at::ones({kWidth, kWidth});
  const at::Tensor c = at::mm(a, b);  // the first one also starts the library
  double best = 0;
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    at::mm(a, b);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    best = std::max(best, 2.0 * kWidth * kWidth * kWidth / time.count());
  }
  return best;
}

std::string blas_complaint(double rate) {
  if (!has_avx2() || rate >= kSlowest) return "";
  return fmt::format(
      "a 512^3 matrix product runs at {:.1f} Gflop/s, slower than {:.0f}: LibTorch is using the "
      "reference BLAS, or other programs use this machine; apt install libopenblas0-pthread",
      rate / 1e9, kSlowest / 1e9);
}

std::string blas_complaint() {
  return has_avx2() ? blas_complaint(matrix_product_rate()) : "";
}

}  // namespace windtunnel
