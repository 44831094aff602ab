// The layers of every family: the same tensors as sim/model's, on any layout the same numbers.
#include "backend/catch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "model_runs.hpp"

namespace windtunnel {
namespace {

constexpr double kTolerance = 1e-5;

// Starts what it is given on a thread of its own.
std::function<void()> started_beside(const std::function<void()>& collective) {
  const auto thread = std::make_shared<std::thread>(collective);
  return [thread] { thread->join(); };
}

// The part of a full gradient that rank `rank` of `t` has.
at::Tensor part_of(const at::Tensor& full, const Tensor& tensor, const Job& job, int rank) {
  const int t = job.parallel.tensor;
  if (t == 1) return full;
  if (tensor.name == "experts_in.weight") {
    const at::Tensor stacks = full.view({full.size(0), 2, -1, full.size(2)});
    return stacks.chunk(t, 2)[std::size_t(rank)].flatten(1, 2);
  }
  if (tensor.name == "experts_out.weight") return full.chunk(t, 2)[std::size_t(rank)];
  if (!tensor.split) return full;
  if (tensor.name == "projection.weight" || tensor.name == "mlp_out.weight" ||
      tensor.name == "shared_out.weight" || tensor.name == "projection.adapter_in" ||
      tensor.name == "mlp_out.adapter_in")
    return full.chunk(t, 1)[std::size_t(rank)];
  const bool is_gated = job.model.family->name == "llama" && job.model.parameters.flag("gated");
  if (tensor.name == "shared_in.weight" ||
      ((tensor.name == "mlp_in.weight" || tensor.name == "mlp_in.adapter_out") && is_gated)) {
    const std::vector<at::Tensor> gate_and_up = full.chunk(2, 0);
    return at::cat({gate_and_up[0].chunk(t, 0)[std::size_t(rank)],
                    gate_and_up[1].chunk(t, 0)[std::size_t(rank)]});
  }
  return full.chunk(t, 0)[std::size_t(rank)];
}

void check_same_gradients(const Job& job, const ModelRun& actual, const ModelRun& expected) {
  CHECK(actual.loss == Approx(expected.loss).epsilon(kTolerance));
  REQUIRE(actual.gradients.size() == expected.gradients.size());
  for (std::size_t i = 0; i < expected.gradients.size(); ++i)
    for (std::size_t j = 0; j < expected.gradients[i].size(); ++j) {
      INFO(job.model.name << ", " << job.model.layers[i].name << ", "
                          << job.model.layers[i].tensors[j].name);
      CHECK(expected.gradients[i][j].defined() != job.model.layers[i].tensors[j].frozen);
      if (!expected.gradients[i][j].defined()) continue;
      CHECK(difference(actual.gradients[i][j], expected.gradients[i][j]) < kTolerance);
    }
}

// Runs of all ranks of a tensor-parallel group.
std::vector<ModelRun> split_runs(const Job& job, bool defers, bool runs_beside) {
  std::vector<ModelRun> runs(std::size_t(job.parallel.tensor));
  std::vector<int> waits(runs.size());
  run_group(job.parallel.tensor, [&](Group& group) {
    LayerContext context = context_of(job, &group);
    if (runs_beside) context.beside = started_beside;
    context.waiting = [&](const std::function<void()>& wait) {
      ++waits[std::size_t(group.rank())];
      wait();
    };
    runs[std::size_t(group.rank())] = layerwise_run(job, context, defers);
  });
  if (job.parallel.tensor == 1) return runs;
  for (const int count : waits) CHECK(count > 0);
  return runs;
}

void check_split(const Job& job, bool defers, bool runs_beside) {
  Job one = with_tensor(job, 1, false);
  LayerContext alone = context_of(one);
  const ModelRun expected = whole_run(one, alone);
  const std::vector<ModelRun> runs = split_runs(job, defers, runs_beside);
  for (int rank = 0; rank < job.parallel.tensor; ++rank) {
    const ModelRun& run = runs[std::size_t(rank)];
    CHECK(run.loss == Approx(expected.loss).epsilon(kTolerance));
    for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
      const Layer& layer = job.model.layers[i];
      for (std::size_t j = 0; j < expected.gradients[i].size(); ++j) {
        const Tensor& tensor = layer.tensors[j];
        INFO(job.model.name << ", t " << job.parallel.tensor << ", sequence parallel "
                            << job.parallel.sequence_parallel << ", rank " << rank << ", "
                            << layer.name << ", " << tensor.name);
        if (tensor.frozen) continue;
        at::Tensor actual = run.gradients[i][j];
        const bool is_share = (job.parallel.sequence_parallel || tensor.of_heads) &&
                              !tensor.split && tensor.experts == 0 && i > 0;
        for (int other = 0; is_share && other < job.parallel.tensor; ++other)
          if (other != rank) actual = actual + runs[std::size_t(other)].gradients[i][j];
        CHECK(difference(actual, part_of(expected.gradients[i][j], tensor, job, rank)) <
              kTolerance);
      }
    }
  }
}

template <class Check>
void for_every_layout(const std::vector<int>& degrees, const Check& check) {
  for (const Job& job : small_jobs())
    for (const int tensor : degrees)
      for (const bool sequence_parallel : {false, true}) {
        const Job split = with_tensor(job, tensor, sequence_parallel);
        if (is_possible(split)) check(split);
      }
}

}  // namespace

TEST_CASE("Parameters are the tensors of sim/model, in its order", "[model]") {
  for_every_layout({1, 2}, [](const Job& job) {
    run_group(job.parallel.tensor, [&](Group& group) {
      LayerContext context = context_of(job, &group);
      for (int i = 0; i < int(job.model.layers.size()); ++i) {
        const auto module = make_layer(job, i, context, 1);
        const std::vector<Tensor>& tensors = job.model.layers[std::size_t(i)].tensors;
        SIM_CHECK(module->parameters().size() == tensors.size(), job.model.name);
        for (std::size_t j = 0; j < tensors.size(); ++j) {
          const at::Tensor& parameter = module->parameters()[j];
          SIM_CHECK(parameter.is_leaf() && parameter.requires_grad() == !tensors[j].frozen,
                    tensors[j].name);
          SIM_CHECK(parameter.numel() == tensors[j].numel_per_rank(group.size(), group.size()),
                    job.model.name + ": " + tensors[j].name);
        }
      }
    });
    SUCCEED();
  });
}

TEST_CASE("Ranks start from the parts of what one process draws", "[model]") {
  for_every_layout({2, 4}, [](const Job& job) {
    LayerContext alone = context_of(with_tensor(job, 1, false));
    std::vector<Modules> ranks(std::size_t(job.parallel.tensor));
    run_group(job.parallel.tensor, [&](Group& group) {
      LayerContext context = context_of(job, &group);
      for (int i = 0; i < int(job.model.layers.size()); ++i)
        ranks[std::size_t(group.rank())].push_back(make_layer(job, i, context, 3));
    });
    for (int i = 0; i < int(job.model.layers.size()); ++i) {
      const auto whole = make_layer(with_tensor(job, 1, false), i, alone, 3);
      for (std::size_t j = 0; j < whole->parameters().size(); ++j)
        for (int rank = 0; rank < job.parallel.tensor; ++rank) {
          const Tensor& tensor = job.model.layers[std::size_t(i)].tensors[j];
          INFO(job.model.name << " " << tensor.name);
          CHECK(at::equal(ranks[std::size_t(rank)][std::size_t(i)]->parameters()[j],
                          part_of(whole->parameters()[j], tensor, job, rank)));
        }
    }
  });
}

TEST_CASE("A tied head draws the words of the embedding, or shares them", "[model]") {
  for (const Job& job : small_jobs()) {
    if (!job.model.tied_embeddings()) continue;
    LayerContext context = context_of(job);
    const int last = int(job.model.layers.size()) - 1;
    const at::Tensor words = make_layer(job, 0, context, 5)->parameters().front();
    const auto own = make_layer(job, last, context, 5);
    const auto shares = make_layer(job, last, context, 5, words);
    CHECK(shares->parameters().size() + 1 == own->parameters().size());
    const auto is_words = [&](const at::Tensor& tensor) {
      return tensor.sizes() == words.sizes() && at::equal(tensor, words);
    };
    CHECK(std::count_if(own->parameters().begin(), own->parameters().end(), is_words) == 1);
    const at::Tensor x = at::randn({8, 2, 16}).set_requires_grad(true);
    const MicroBatch batch = Data(job, {}).micro_batch(context, 0, 0);
    const at::Tensor loss = shares->forward(x, batch);
    CHECK(loss.item<double>() == Approx(own->forward(x, batch).item<double>()));
    CHECK(torch::autograd::grad({loss}, {words}).front().abs().max().item<double>() > 0);
  }
}

TEST_CASE("Layer by layer gives the gradients of one graph", "[model]") {
  for (const Job& job : small_jobs()) {
    LayerContext context = context_of(job);
    const ModelRun expected = whole_run(job, context);
    CHECK(std::isfinite(expected.loss));
    for (std::size_t i = 0; i < expected.gradients.size(); ++i)
      for (const at::Tensor& gradient : expected.gradients[i])
        if (gradient.defined()) CHECK(gradient.abs().max().item<double>() > 0);
    check_same_gradients(job, layerwise_run(job, context), expected);
    check_same_gradients(job, layerwise_run(job, context, true), expected);
    check_same_gradients(job, layerwise_run(job, context, false, true), expected);
  }
}

TEST_CASE("Deferral covers the weights of linears and convolutions, and nothing at once",
          "[model]") {
  for (const Job& job : small_jobs()) {
    LayerContext context = context_of(job);
    const auto block = make_layer(job, 1, context, 1);
    const std::vector<std::int64_t> shape = output_shape(job, 0);
    const at::Tensor x = at::randn(shape).set_requires_grad(true);
    const at::Tensor y = block->forward(x, {});
    std::vector<DeferredGradient> deferred;
    context.deferred = &deferred;
    std::vector<std::size_t> trained;
    std::vector<at::Tensor> parameters;
    for (std::size_t i = 0; i < block->parameters().size(); ++i)
      if (block->parameters()[i].requires_grad()) {
        trained.push_back(i);
        parameters.push_back(block->parameters()[i]);
      }
    const auto gradients =
        torch::autograd::grad({y}, parameters, {at::ones_like(y)}, false, false, true);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const at::Tensor& parameter = parameters[i];
      const auto is_it = [&](const DeferredGradient& later) {
        return later.parameter.is_same(parameter);
      };
      INFO(job.model.name << " " << job.model.layers[1].tensors[trained[i]].name);
      const auto times = std::count_if(deferred.begin(), deferred.end(), is_it);
      CHECK(times == (gradients[i].defined() ? 0 : 1));
      if (parameter.dim() > 1) CHECK(times == 1);
    }
  }
}

TEST_CASE("Tensor and sequence parallelism give the numbers of one process", "[model]") {
  for_every_layout({2, 4}, [](const Job& job) {
    check_split(job, false, false);
    check_split(job, false, true);
    check_split(job, true, false);
  });
}

TEST_CASE("Selective recomputation gives the same numbers", "[model]") {
  for_every_layout({1, 2}, [](Job job) {
    LayerContext alone = context_of(with_tensor(job, 1, false));
    if (job.parallel.tensor == 1) {
      const ModelRun expected = whole_run(job, alone);
      job.recompute = Recompute::Selective;
      LayerContext context = context_of(job);
      check_same_gradients(job, layerwise_run(job, context), expected);
    } else {
      job.recompute = Recompute::Selective;
      check_split(job, false, false);
    }
  });
}

TEST_CASE("Flash attention gives the numbers of unfused attention", "[model]") {
  for (Job job : small_jobs()) {
    LayerContext unfused = context_of(job);
    const ModelRun expected = whole_run(job, unfused);
    job.attention = AttentionKernel::Flash;
    LayerContext context = context_of(job);
    check_same_gradients(job, layerwise_run(job, context), expected);
  }
}

TEST_CASE("bf16 runs, near fp32", "[model]") {
  for (const Job& job : small_jobs()) {
    LayerContext wide = context_of(job), narrow = context_of(job);
    narrow.type = at::kBFloat16;
    const ModelRun expected = whole_run(job, wide), actual = layerwise_run(job, narrow);
    INFO(job.model.name);
    // Eight bits of precision through a few layers.
    CHECK(actual.loss == Approx(expected.loss).epsilon(0.1));
    for (std::size_t i = 0; i < actual.gradients.size(); ++i)
      for (const at::Tensor& gradient : actual.gradients[i]) {
        if (!gradient.defined()) continue;
        CHECK(gradient.scalar_type() == at::kBFloat16);
        CHECK(gradient.isfinite().all().item<bool>());
      }
  }
}

TEST_CASE("Outputs have the shape that the next layer expects", "[model]") {
  for_every_layout({1, 2}, [](const Job& job) {
    for (const ModelRun& run : split_runs(job, false, false))
      for (int i = 0; i < int(run.shapes.size()); ++i) {
        INFO(job.model.name << " " << job.model.layers[std::size_t(i)].name);
        CHECK(run.shapes[std::size_t(i)] == output_shape(job, i));
        const bool is_last = i + 1 == int(run.shapes.size());
        std::int64_t elements = is_last ? 0 : 1;
        for (const std::int64_t size : output_shape(job, i)) elements *= size;
        // The pipeline's message as the simulator sizes it, in fp32.
        CHECK(4.0 * double(elements) == layer_work(job.model, i, job.slice()).output.value);
      }
  });
}

TEST_CASE("Models without layers or without a loss are refused", "[model]") {
  const auto complaint = [](Model model) {
    Job job;
    job.model = std::move(model);
    return model_complaint(job);
  };
  CHECK(complaint(synthetic()) == "models of the family 'synthetic' have no layers to run");
  CHECK(complaint(bert(64, 2, 0)) == "without mlm_head the model has no loss to train on");
  Model masked = bert(64, 2, 1);
  masked.parameters.set("masked", 0.25);
  CHECK(complaint(masked) == "masked is not executed: the heads see all positions");
  CHECK(complaint(llama(6, 1, 8, 2, 2, 8)) == "rotary positions need an even head size");
  const Model odd = model_of("llama", {{"layers", {1}},
                                       {"hidden", {8}},
                                       {"heads", {2}},
                                       {"head_size", {4}},
                                       {"rope_size", {3}},
                                       {"value_size", {4}},
                                       {"kv_rank", {4}},
                                       {"vocab", {8}},
                                       {"ffn", {8}}});
  CHECK(complaint(odd) == "rotary positions need an even rope_size");
  for (const Job& job : small_jobs()) CHECK(model_complaint(job).empty());
}

}  // namespace windtunnel
