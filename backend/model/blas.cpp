#include "backend/model/blas.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <string_view>

#include "backend/torch.hpp"

namespace windtunnel {

namespace {

// Parts of their files' names.
constexpr std::array<std::string_view, 3> kFastLibraries = {"openblas", "mkl", "blis"};

// Links resolved: Debian's libblas.so.3 is a link to the library that the administrator has chosen.
std::string blas_library() {
  void* product = dlsym(RTLD_DEFAULT, "sgemm_");
  Dl_info info{};
  if (product == nullptr || dladdr(product, &info) == 0) return "";
  std::error_code problem;
  const auto path = std::filesystem::canonical(info.dli_fname, problem);
  return problem ? info.dli_fname : path.string();
}

}  // namespace

Blas measured_blas() {
  const at::NoGradGuard no_grad;
  constexpr int kWidth = 512, kRepeats = 5;
  const at::Tensor a = at::ones({kWidth, kWidth}), b = at::ones({kWidth, kWidth});
  const at::Tensor c = at::mm(a, b);  // the first one also starts the library
  Blas blas{blas_library(), 0};
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    at::mm(a, b);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    blas.rate = std::max(blas.rate, 2.0 * kWidth * kWidth * kWidth / time.count());
  }
  return blas;
}

double slowest_rate() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return 10e9;
#endif
  return 0;
}

std::string blas_complaint(const Blas& blas, double slowest_rate) {
  const bool is_fast = std::any_of(
      kFastLibraries.begin(), kFastLibraries.end(),
      [&](std::string_view name) { return blas.library.find(name) != std::string::npos; });
  if (is_fast || blas.rate >= slowest_rate) return "";
  return fmt::format(
      "LibTorch multiplies matrices at {:.1f} Gflop/s (512^3, fp32), slower than {:.0f}, with {}: "
      "probably the reference BLAS; apt install libopenblas0-pthread",
      blas.rate / 1e9, slowest_rate / 1e9,
      blas.library.empty() ? "an unknown library" : blas.library);
}

}  // namespace windtunnel
