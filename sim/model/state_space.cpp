#include "model/state_space.hpp"

#include <algorithm>

namespace windtunnel {
namespace {

// Of the FLOP rate that GEMMs of such tiles have. TileLang's chunk_scan reaches 134 TFLOP/s on H800
// SXM (80 heads of 64, N = 128, Q = 256; tile-ai/tilelang benchmark/mamba2/README.md @be9c08f) and
// is 1.77 times as fast as mamba_ssm's in Triton (Wang et al. 2025, arXiv:2504.17577, from memory);
// the tiles of an H100 give such GEMMs 347 TFLOP/s.
constexpr double kScanEfficiency = 134 / 1.77 / 347;
constexpr double kWide = 4;  // bytes of fp32

// Sizes of one rank.
struct Scan {
  Scan(const TransformerSlice& slice, const MambaShape& shape)
      : type(slice.wide_format().value_or(slice.type)),
        format(slice.wide_format()),
        heads(shape.heads / slice.tensor),
        groups(shape.groups / slice.tensor),
        features(shape.head_size),
        state(shape.state),
        chunk(shape.chunk),
        chunks(slice.batch * ((slice.sequence + shape.chunk - 1) / shape.chunk)),
        e(slice.element),
        x(e * double(slice.tokens) * double(heads * features)),
        pairs(double(slice.tokens) * double(groups * state)),
        states(double(chunks * heads) * double(features * state)),
        square(kWide * double(chunks * groups) * double(chunk * chunk)),
        steps(kWide * double(slice.tokens) * double(heads)),
        convolved(x + 2 * e * pairs) {}

  // A GEMM for each chunk of each of `parts` heads or groups.
  Piece gemm(std::string_view name, std::int64_t parts, std::int64_t m, std::int64_t n,
             std::int64_t k, double bytes) const {
    Work work = matmul(m, n, k, type, chunks * parts);
    work.bytes = Bytes(bytes);
    work.efficiency = kScanEfficiency;
    work.format = format;
    return {name, work};
  }

  DType type;
  std::optional<DType> format;
  std::int64_t heads, groups, features, state, chunk, chunks;
  double e;
  double x;          // bytes
  double pairs;      // elements of B or C
  double states;     // elements
  double square;     // bytes of C B^T
  double steps;      // bytes of dt, or of its sums
  double convolved;  // bytes of x, B and C
};

Piece kernels(std::string_view name, double bytes, int count = 1) {
  return {name, elementwise_kernels(bytes, count)};
}

Pieces states_of_chunks(const Scan& scan, double passed) {
  return {kernels("conv1d", 2 * scan.convolved),
          kernels("chunk_cumsum", scan.steps * (scan.e / kWide + 2)),
          scan.gemm("chunk_state", scan.heads, scan.features, scan.state, scan.chunk,
                    scan.x + scan.e * scan.pairs + 2 * scan.steps + kWide * scan.states),
          kernels("state_passing", (kWide + passed) * scan.states),
          scan.gemm("chunk_bmm", scan.groups, scan.chunk, scan.chunk, scan.state,
                    2 * scan.e * scan.pairs + scan.square)};
}

Pieces forward(const Scan& scan) {
  const double read = scan.square + 2 * scan.x + scan.e * (scan.pairs + scan.states);
  return joined({states_of_chunks(scan, scan.e),
                 {scan.gemm("chunk_scan", scan.heads, scan.chunk, scan.features,
                            scan.state + scan.chunk / 2, read + 2 * scan.steps + 2 * scan.x)}});
}

// B and C have partial gradients in fp32, which are summed: 12 bytes an element.
Pieces backward(const Scan& scan) {
  const std::int64_t q = scan.chunk, half = std::max<std::int64_t>(q / 2, 1);
  const double pair = scan.e * scan.pairs, states = scan.e * scan.states;
  const double of_pair = scan.x + states + pair + 3 * kWide * scan.pairs + 2 * scan.steps;
  const double by_square = scan.square + 2 * pair + kWide * scan.pairs;
  return joined(
      {states_of_chunks(scan, kWide),
       {kernels("chunk_scan.gate_gradient", 6 * scan.x),
        scan.gemm("chunk_scan.state_gradient", scan.heads, scan.features, scan.state, q,
                  scan.x + pair + scan.steps + kWide * scan.states),
        kernels("state_passing.gradient", 2 * (kWide * scan.states + states)),
        scan.gemm("chunk_scan.x_gradient", scan.heads, q, scan.features, scan.state + q / 2,
                  3 * scan.x + pair + scan.square + states + 3 * scan.steps),
        scan.gemm("chunk_state.b_gradient", scan.heads, q, scan.state, scan.features, of_pair),
        scan.gemm("chunk_scan.c_gradient", scan.heads, q, scan.state, scan.features, of_pair),
        scan.gemm("chunk_scan.square_gradient", scan.heads, q, half, scan.features,
                  2 * scan.x + 2 * scan.steps + 3 * scan.square),
        scan.gemm("chunk_bmm.b_gradient", scan.groups, q, scan.state, q, by_square),
        scan.gemm("chunk_bmm.c_gradient", scan.groups, q, scan.state, q, by_square),
        scan.gemm("chunk_scan.step_gradient", scan.heads, q, half, scan.features,
                  2 * scan.x + scan.square + 3 * scan.steps),
        kernels("chunk_cumsum.gradient", 20 * scan.steps, 9),
        kernels("conv1d.gradient", 3 * scan.convolved)}});
}

}  // namespace

Operation state_space(const TransformerSlice& slice, const MambaShape& shape) {
  const Scan scan(slice, shape);
  Operation op;
  op.forward = forward(scan);
  op.backward = op.backward_input = backward(scan);
  const double input =
      slice.element * double(slice.tokens) * double(shape.projected()) / slice.tensor;
  op.saved = Bytes(input + scan.x);
  // The gradient of its input, x, B and C again with their gradients, states and theirs.
  op.working = Bytes(input + 2 * scan.convolved + 2 * kWide * scan.states + scan.square);
  op.forward_flops = Flops(7 * double(slice.tokens) * double(shape.width()) * double(shape.state));
  op.backward_flops = 2 * op.forward_flops;
  return op;
}

}  // namespace windtunnel
