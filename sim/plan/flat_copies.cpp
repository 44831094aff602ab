#include "plan/flat_copies.hpp"

#include <algorithm>
#include <limits>

namespace windtunnel {

FlatCopies flat_copies(const Job& job, double gathered, double reduced) {
  const double weight = weight_bytes(job.precision.compute),
               sent = bytes_of(job.precision.gradients);
  switch (job.parallel.fsdp_version) {
    case 1:
      return {Bytes(0), Bytes(reduced * (2 * weight + (sent == weight ? 0 : weight + sent)))};
    case 2:
      return {Bytes(gathered * 2 * weight), Bytes(reduced * (weight + sent))};
    default:
      return {};
  }
}

FlatCopies list_copies(const Job& job, int ranks, const TensorCount& gathered,
                       const TensorCount& reduced) {
  const double weight = weight_bytes(job.precision.compute),
               sent = bytes_of(job.precision.gradients);
  // A million ranks and thousands of tensors: hours of copies, and more than an int counts.
  const auto pieces = [ranks](const TensorCount& of) {
    return int(
        std::min<std::int64_t>(std::int64_t{of.tensors} * ranks, std::numeric_limits<int>::max()));
  };
  return {Bytes(gathered.parameters * 3 * weight), Bytes(reduced.parameters * 4 * sent),
          pieces(gathered), pieces(reduced)};
}

}  // namespace windtunnel
