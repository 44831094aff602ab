#include "model/mamba.hpp"

namespace windtunnel {
namespace {

constexpr GemmNames kIn = {"mamba_in", "mamba_in.input_gradient", "mamba_in.weight_gradient"};
constexpr GemmNames kOut = {"mamba_out", "mamba_out.input_gradient", "mamba_out.weight_gradient"};

// Tokens before samples turned into samples before tokens, or back; the gradient likewise.
Operation turned(std::string_view name, double bytes) {
  const Work copy = elementwise_kernels(2 * bytes, 1);
  return elementwise_operation(name, copy, copy, Bytes(0));
}

}  // namespace

std::vector<Operation> mamba_operations(const TransformerSlice& slice, const MambaShape& shape) {
  const double per_feature = slice.element * double(slice.tokens) / slice.tensor;
  const double inside = per_feature * double(shape.width());
  std::vector<Operation> operations = {
      rms_norm_operation(slice, "mamba_norm"),
      column_parallel_linear(slice, kIn, slice.hidden, shape.projected())};
  if (slice.batch > 1)
    operations.push_back(turned("turn_input", per_feature * double(shape.projected())));
  operations.push_back(state_space(slice, shape));
  if (slice.batch > 1) operations.push_back(turned("turn_output", inside));
  operations.push_back(elementwise_operation("group_norm", elementwise_kernels(2 * inside, 1),
                                             elementwise_kernels(3 * inside, 2), Bytes(inside)));
  operations.push_back(row_parallel_linear(slice, kOut, shape.width(), slice.hidden));
  operations.push_back(residual_add(slice, "mamba_residual", false));
  return operations;
}

std::vector<Tensor> mamba_tensors(std::int64_t hidden, const MambaShape& shape) {
  return {{"mamba_norm.weight", hidden, false},
          {"mamba_in.weight", shape.projected() * hidden, true},
          {"conv1d.weight", shape.convolved() * shape.taps, true},
          {"conv1d.bias", shape.convolved(), true},
          {"dt_bias", shape.heads, true},
          {"A_log", shape.heads, true},
          {"D", shape.heads, true},
          {"group_norm.weight", shape.width(), true},
          {"mamba_out.weight", shape.width() * hidden, true}};
}

std::string mamba_slice_limits(const MambaShape& shape, const Slice& slice) {
  const std::string why = split_limit("Mamba heads", shape.heads, slice.tensor);
  return why.empty() ? split_limit("Mamba groups", shape.groups, slice.tensor) : why;
}

}  // namespace windtunnel
