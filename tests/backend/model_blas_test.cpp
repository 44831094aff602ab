// Who is refused for slow matrix products.
#include "backend/catch.hpp"

#include <filesystem>

#include "backend/model/blas.hpp"

namespace windtunnel {

namespace {

constexpr double kLimit = 10e9;
const std::string kReference = "/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0";

}  // namespace

TEST_CASE("a slow library is refused with the fix, a fast one is not", "[model]") {
  CHECK(blas_complaint({kReference, 2.04e9}, kLimit) ==
        "LibTorch multiplies matrices at 2.0 Gflop/s (512^3, fp32), slower than 10, with "
        "/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0: probably the reference BLAS; "
        "apt install libopenblas0-pthread");
  CHECK(blas_complaint({"", 9.99e9}, kLimit) ==
        "LibTorch multiplies matrices at 10.0 Gflop/s (512^3, fp32), slower than 10, with an "
        "unknown library: probably the reference BLAS; apt install libopenblas0-pthread");
  CHECK(blas_complaint({kReference, 10e9}, kLimit) == "");
  CHECK(blas_complaint({"", 170e9}, kLimit) == "");
}

TEST_CASE("a library known to be fast is never blamed for a busy machine", "[model]") {
  for (const char* library : {"/usr/lib/x86_64-linux-gnu/openblas-pthread/libblas.so.3",
                              "/opt/intel/mkl/lib/libmkl_rt.so.2", "/usr/lib/libblis.so.4"})
    CHECK(blas_complaint({library, 1e9}, kLimit) == "");
}

TEST_CASE("a processor without a known rate has no limit", "[model]") {
  CHECK(blas_complaint({kReference, 1e9}, 0) == "");
}

TEST_CASE("the library at hand is measured and found", "[model]") {
  const Blas blas = measured_blas();
  CHECK(blas.rate > 0);
  if (!blas.library.empty()) CHECK(std::filesystem::is_regular_file(blas.library));
}

}  // namespace windtunnel
