#include "model/operation.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace windtunnel {
namespace {

Piece memory_kernel(std::string_view name, double bytes) {
  return {name, elementwise(Bytes(bytes))};
}

}  // namespace

void append(Pieces& to, const Pieces& pieces) {
  to.insert(to.end(), pieces.begin(), pieces.end());
}

Pieces joined(std::initializer_list<Pieces> parts) {
  Pieces all;
  for (const Pieces& part : parts) append(all, part);
  return all;
}

Work elementwise_kernels(double bytes, int kernels) {
  Work work = elementwise(Bytes(bytes));
  work.kernels = kernels;
  return work;
}

Piece collective(std::string_view name, CollectiveKind kind, Bytes size, bool overlaps_next) {
  return {name, LayerCollective{kind, size, overlaps_next}};
}

Operation elementwise_operation(std::string_view name, Work forward, Work backward, Bytes saved) {
  Operation op;
  op.forward = {{name, forward}};
  op.backward = {{name, backward}};
  op.backward_input = op.backward;
  op.saved = saved;
  return op;
}

namespace {

// Each kernel reads the bf16 elements once.
Piece cast_kernels(std::string_view name, double elements, int kernels, double written) {
  Piece cast = memory_kernel(name, (kernels * bytes_of(DType::Bf16) + written) * elements);
  std::get<Work>(cast.what).kernels = kernels;
  return cast;
}

}  // namespace

Piece conversion(std::string_view name, double elements, DType type) {
  return cast_kernels(name, elements, type == DType::Fp4 ? 2 : 1, bytes_of(type));
}

Piece conversion_both_ways(std::string_view name, double elements, DType type) {
  return cast_kernels(name, elements, type == DType::Fp4 ? 3 : 1, 2 * bytes_of(type));
}

void cast_one_way(std::vector<Piece>& pieces, DType type) {
  const Bytes each = std::get<Work>(conversion_both_ways("", 1, type).what).bytes;
  for (Piece& piece : pieces)
    if (piece.name == kCastTransposeInput || piece.name == kCastTransposeGradient)
      piece = conversion(piece.name == kCastTransposeInput ? kCastInput : kCastGradient,
                         std::get<Work>(piece.what).bytes / each, type);
}

Piece transposition(std::string_view name, double elements) {
  return memory_kernel(name, (1 + 1) * elements);
}

Operation linear_operation(const GemmNames& names, std::int64_t rows, std::int64_t in,
                           std::int64_t out, DType type, bool has_input_gradient) {
  const Piece input_gradient = {names.input_gradient, matmul(rows, in, out, type)};
  Work into_weight = matmul(out, in, rows, type);
  into_weight.is_weight_gradient = true;
  const Piece weight_gradient = {names.weight_gradient, into_weight};
  Operation op;
  op.forward = {{names.forward, matmul(rows, out, in, type)}};
  if (has_input_gradient) op.backward_input = {input_gradient};
  op.backward_weight = {weight_gradient};
  const double inputs = double(rows) * double(in), outputs = double(rows) * double(out);
  op.input = Bytes(activation_bytes(type) * inputs);
  op.outputs = {Bytes(activation_bytes(type) * outputs)};
  op.saved = Bytes(bytes_of(type) * inputs);
  op.held = Bytes(bytes_of(type) * (inputs + outputs));
  op.working = op.input + op.outputs.front();
  if (is_of_operands(type)) {
    std::vector<Piece>& first = has_input_gradient ? op.backward_input : op.backward_weight;
    op.forward.insert(op.forward.begin(), conversion_both_ways(kCastTransposeInput, inputs, type));
    first.insert(first.begin(), conversion_both_ways(kCastTransposeGradient, outputs, type));
    op.working += Bytes(2 * bytes_of(type) * outputs);
  }
  op.backward = op.backward_input;
  append(op.backward, op.backward_weight);
  op.forward_flops = Flops(2.0 * double(rows) * double(in) * double(out));
  op.backward_flops = (has_input_gradient ? 2 : 1) * op.forward_flops;
  return op;
}

Operation convolution_operation(const GemmNames& names, const Convolution& shape, DType type,
                                bool has_input_gradient) {
  const double samples = double(shape.samples), kernel = double(shape.kernel * shape.kernel);
  const double in = samples * double(shape.in_channels * shape.in_size * shape.in_size);
  const double out = samples * double(shape.out_channels * shape.out_size * shape.out_size);
  const double weights = double(shape.in_channels * shape.out_channels) * kernel;
  Work work = {.op = OpClass::Convolution};
  work.flops = Flops(2 * out * double(shape.in_channels) * kernel);
  work.bytes = Bytes(bytes_of(type) * (in + out + weights));
  // As an implicit GEMM: images' points x channels, over the window and the other channels.
  const auto as_gemm = [&work](double m, double n, double k) {
    work.m = std::int64_t(m);
    work.n = std::int64_t(n);
    work.k = std::int64_t(k);
    return work;
  };
  const double points = out / double(shape.out_channels);
  const double from = double(shape.in_channels), to = double(shape.out_channels);
  Operation op;
  op.forward = {{names.forward, as_gemm(points, to, from * kernel)}};
  if (has_input_gradient)
    op.backward_input = {{names.input_gradient, as_gemm(points, from, to * kernel)}};
  work.is_weight_gradient = true;
  op.backward_weight = {{names.weight_gradient, as_gemm(to, from * kernel, points)}};
  op.backward = op.backward_input;
  append(op.backward, op.backward_weight);
  op.saved = Bytes(activation_bytes(type) * in);
  op.held = op.saved + Bytes(activation_bytes(type) * out);
  op.forward_flops = work.flops;
  op.backward_flops = (has_input_gradient ? 2 : 1) * work.flops;
  return op;
}

Operation relu_operation(std::string_view name, double elements, DType type) {
  const Bytes bytes(activation_bytes(type) * elements);
  return elementwise_operation(name, elementwise(2 * bytes), elementwise(3 * bytes), Bytes(0));
}

Operation classification_loss(std::int64_t samples, std::int64_t classes) {
  const Bytes logits(4.0 * double(samples) * double(classes));
  Work forward = elementwise(2 * logits), backward = elementwise(4 * logits);
  forward.kernels = backward.kernels = 2;
  return elementwise_operation("loss", forward, backward, Bytes(0));
}

}  // namespace windtunnel
