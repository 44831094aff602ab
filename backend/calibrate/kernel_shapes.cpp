#include "backend/calibrate/kernel_shapes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "backend/model/scalar_type.hpp"

namespace windtunnel {

namespace {

// Features of a token in norms and softmax.
constexpr std::int64_t kFeatures = 1024;

at::TensorOptions options_of(DType type, at::Device place) {
  return at::TensorOptions(scalar_type(type)).device(place);
}

KernelShape unfused_attention(const AttentionShape& shape, const at::TensorOptions& options) {
  const std::int64_t s = shape.sequence, heads = shape.batch * shape.heads, d = shape.head_size;
  const double flops = 4.0 * double(heads * d) * double(s * s);
  return {fmt::format("of {} tokens", s), flops, flops, [=]() -> std::function<void()> {
            const at::Tensor q = at::rand({heads, s, d}, options);
            const at::Tensor k = at::rand({heads, d, s}, options);
            return [q, k] { at::bmm(at::softmax(at::bmm(q, k), -1), q); };
          }};
}

double fused_flops(const AttentionShape& shape) {
  const double square = double(shape.sequence) * double(shape.sequence) / (shape.causal ? 2 : 1);
  return 4.0 * double(shape.batch * shape.heads * shape.head_size) * square;
}

std::string text_of(const AttentionShape& shape, std::string_view pass) {
  return fmt::format("of {} tokens, heads of {}{}, {}", shape.sequence, shape.head_size,
                     shape.causal ? ", causal" : "", pass);
}

struct FusedInputs {
  at::Tensor q, k, v;
};

FusedInputs fused_inputs(const AttentionShape& shape, const at::TensorOptions& options) {
  const std::vector<std::int64_t> sizes = {shape.batch, shape.heads, shape.sequence,
                                           shape.head_size};
  const auto input = [&] { return at::rand(sizes, options).requires_grad_(true); };
  return {input(), input(), input()};
}

at::Tensor fused_output(const FusedInputs& inputs, bool causal) {
  const at::AutoGradMode gradients(true);
  return fused_attention(inputs.q, inputs.k, inputs.v, {}, causal);
}

KernelShapes fused_attention_passes(const AttentionShape& shape, const at::TensorOptions& options) {
  // One kernel forward, three backward (attention_core.hpp).
  const double forward = fused_flops(shape), backward = 2.5 * forward;
  const double size = (forward + backward) / 4;
  const auto prepare_forward = [=]() -> std::function<void()> {
    const FusedInputs inputs = fused_inputs(shape, options);
    return [inputs, causal = shape.causal] { fused_output(inputs, causal); };
  };
  const auto prepare_backward = [=]() -> std::function<void()> {
    const FusedInputs inputs = fused_inputs(shape, options);
    const at::Tensor output = fused_output(inputs, shape.causal);
    const at::Tensor gradient = at::rand_like(output);
    return [inputs, output, gradient] {
      torch::autograd::grad({output}, {inputs.q, inputs.k, inputs.v}, {gradient},
                            /*retain_graph=*/true);
    };
  };
  return {{text_of(shape, "forward"), size, forward, prepare_forward},
          {text_of(shape, "backward"), size, backward, prepare_backward}};
}

using OnTensor = at::Tensor (*)(const at::Tensor&);

// Kernels that read a tensor and write another, on [tokens, features].
const std::pair<std::string_view, OnTensor> kNorms[] = {
    {"copy", [](const at::Tensor& x) { return x.clone(); }},
    {"layer norm", [](const at::Tensor& x) { return at::layer_norm(x, {kFeatures}); }},
    {"softmax", [](const at::Tensor& x) { return at::softmax(x, -1); }},
    {"GELU", [](const at::Tensor& x) { return at::gelu(x, "tanh"); }},
};

}  // namespace

KernelShape gemm_shape(const GemmShape& shape, DType type, at::Device place) {
  const double flops = 2.0 * double(shape.m) * double(shape.n) * double(shape.k);
  return {fmt::format("{} x {} x {}", shape.m, shape.k, shape.n), flops, flops,
          [=]() -> std::function<void()> {
            const at::TensorOptions options = options_of(type, place);
            const at::Tensor a = at::rand({shape.m, shape.k}, options);
            const at::Tensor b = at::rand({shape.k, shape.n}, options);
            return [a, b] { at::mm(a, b); };
          }};
}

KernelShapes attention_shapes(const KernelGrid& grid, at::Device place) {
  const at::TensorOptions options = options_of(grid.type, place);
  KernelShapes shapes;
  for (const AttentionShape& shape : grid.attentions)
    if (grid.is_attention_fused)
      std::ranges::move(fused_attention_passes(shape, options), std::back_inserter(shapes));
    else
      shapes.push_back(unfused_attention(shape, options));
  return shapes;
}

KernelShapes convolution_shapes(const KernelGrid& grid, at::Device place) {
  constexpr std::int64_t kImage = 28;
  const at::TensorOptions options = options_of(grid.type, place);
  KernelShapes shapes;
  for (const auto& [images, channels] : grid.convolutions) {
    const double flops =
        2.0 * 9 * double(images) * double(channels * channels) * double(kImage * kImage);
    shapes.push_back({fmt::format("3 x 3 of {} channels", channels), flops, flops,
                      [=, images = images, channels = channels]() -> std::function<void()> {
                        const at::Tensor x = at::rand({images, channels, kImage, kImage}, options);
                        const at::Tensor w = at::rand({channels, channels, 3, 3}, options);
                        return [x, w] { at::conv2d(x, w, {}, 1, 1); };
                      }});
  }
  return shapes;
}

KernelShapes elementwise_shapes(const KernelGrid& grid, at::Device place) {
  const at::TensorOptions options = options_of(grid.type, place);
  const auto element = std::int64_t(bytes_of(grid.type));
  KernelShapes shapes;
  for (const std::int64_t bytes : grid.tensor_bytes) {
    const double moved = 3 * double(bytes);
    const std::int64_t elements = bytes / element;
    shapes.push_back(
        {fmt::format("sum of {} numbers", elements), moved, moved, [=]() -> std::function<void()> {
           const at::Tensor x = at::rand({elements}, options);
           const at::Tensor y = at::rand({elements}, options);
           return [x, y] { x.add_(y); };
         }});
    if (!grid.has_norms) continue;
    const std::int64_t tokens = 3 * bytes / (2 * element * kFeatures);
    for (const auto& [name, run] : kNorms)
      shapes.push_back({fmt::format("{} of {} x {} numbers", name, tokens, kFeatures), moved, moved,
                        [=, run = run]() -> std::function<void()> {
                          const at::Tensor x = at::rand({tokens, kFeatures}, options);
                          return [x, run] { run(x); };
                        }});
  }
  return shapes;
}

KernelShapes embedding_shapes(const KernelGrid& grid, at::Device place) {
  const at::TensorOptions options = options_of(grid.type, place);
  const auto element = std::int64_t(bytes_of(grid.type));
  KernelShapes shapes;
  for (const std::int64_t bytes : grid.tensor_bytes) {
    const std::int64_t rows = std::max<std::int64_t>(1, bytes / (element * grid.row));
    const double moved = 2.0 * double(rows * grid.row * element);
    shapes.push_back({fmt::format("{} rows", rows), moved, moved,
                      [=, row = grid.row, table_rows = grid.table_rows]() -> std::function<void()> {
                        const at::Tensor table = at::rand({table_rows, row}, options);
                        const at::Tensor index =
                            at::randint(table_rows, {rows}, options.dtype(at::kLong));
                        return [table, index] { table.index_select(0, index); };
                      }});
  }
  return shapes;
}

KernelShapes optimizer_shapes(const KernelGrid& grid, at::Device place) {
  const at::TensorOptions options = options_of(DType::Fp32, place);
  const bool is_mixed = bytes_of(grid.type) < 4;
  KernelShapes shapes;
  for (const std::int64_t bytes : grid.tensor_bytes) {
    const std::int64_t parameters = bytes / 4;
    const double moved = (is_mixed ? 30.0 : 28.0) * double(parameters);
    shapes.push_back({fmt::format("{} parameters", parameters), moved, moved,
                      [=, low = scalar_type(grid.type)]() -> std::function<void()> {
                        const at::Tensor gradient = at::rand({parameters}, options);
                        const at::Tensor weight = at::rand({parameters}, options);
                        const at::Tensor moment = at::zeros({parameters}, options);
                        const at::Tensor variance = at::zeros({parameters}, options);
                        const at::Tensor copy = is_mixed ? weight.to(low) : at::Tensor();
                        return [=] {
                          moment.mul_(0.9).add_(gradient, 0.1);
                          variance.mul_(0.999).addcmul_(gradient, gradient, 0.001);
                          weight.addcdiv_(moment, variance.sqrt().add_(1e-8), -1e-3);
                          if (copy.defined()) copy.copy_(weight);
                        };
                      }});
  }
  return shapes;
}

KernelShape copy_shape(std::int64_t tensor_bytes, at::Device place) {
  const double moved = 2.0 * double(tensor_bytes);
  return {fmt::format("copy of {} B", tensor_bytes), moved, moved, [=]() -> std::function<void()> {
            const at::Tensor from =
                at::zeros({tensor_bytes}, at::TensorOptions(at::kByte).device(place));
            const at::Tensor to = at::empty_like(from);
            return [from, to] { to.copy_(from); };
          }};
}

}  // namespace windtunnel
