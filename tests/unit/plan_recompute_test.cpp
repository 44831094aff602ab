// Recomputation of a part of the blocks.
#include <cmath>
#include <set>

#include "catch.hpp"
#include "jobs.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

// Two pipeline coordinates with two stages of three blocks each; layer 0 is the embedding.
Job twelve_blocks() {
  Job job = job_of(gpt(64, 12, 4, 128, 16), {.pipeline = 2, .virtual_stages = 2}, 2);
  job.batch.sequence = 16;
  job.schedule = "interleaved";
  job.recompute = Recompute::Full;
  return job;
}

std::set<int> recomputed_layers(const Job& job) {
  std::set<int> layers;
  for (const Block& block : build_plan(job).blocks)
    for (const BlockPiece& piece : block)
      if (piece.recompute) layers.insert(piece.layer);
  return layers;
}

}  // namespace

TEST_CASE("recomputation: the first blocks of each virtual stage, or all") {
  Job job = twelve_blocks();
  CHECK(recomputed_layers(job).size() == 12);
  job.recompute_layers = 1;
  CHECK(recomputed_layers(job) == std::set<int>{1, 4, 7, 10});
  job.recompute_layers = 2;
  CHECK(recomputed_layers(job) == std::set<int>{1, 2, 4, 5, 7, 8, 10, 11});
  job.recompute_layers = 3;
  CHECK(recomputed_layers(job).size() == 12);
}

TEST_CASE("recomputation: each block more costs its forward pass and saves its activations") {
  Job job = twelve_blocks();
  const LayerWork dropped = layer_work(job.model, 1, job.slice());
  job.recompute_layers = 2;
  const LayerWork kept = layer_work(job.model, 3, job.slice(3));
  CHECK(layer_work(job.model, 2, job.slice(2)).activation == dropped.activation);
  CHECK(kept.recompute.empty());
  CHECK(kept.activation == dropped.activation + dropped.recompute_buffer);
  // Of the second coordinate's last stage, whose activations one micro-batch at a time fills.
  const auto activations = [&](int layers) {
    job.recompute_layers = layers;
    const MemoryPeak peak = peak_memory(build_plan(job).programs[1]);
    return of(peak.at_peak, MemoryKind::Activations).value;
  };
  const double saved = kept.activation.value - dropped.activation.value;
  const double all = activations(3), two = activations(2), one = activations(1);
  CHECK(one - two == Approx(two - all));
  CHECK(std::fmod(two - all, saved) == Approx(0).margin(1));
  CHECK(two > all);
}

}  // namespace windtunnel
