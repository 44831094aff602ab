// Small models of every family, and one micro-batch of them run as a whole or layer by layer.
#pragma once

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/model/data.hpp"
#include "backend/model/layer_module.hpp"
#include "backend/model/parameter_draws.hpp"
#include "jobs.hpp"
#include "thread_group.hpp"

namespace windtunnel {

inline Job small_job(Model model) {
  Job job = job_of(std::move(model), {});
  job.batch.micro = job.batch.global = 2;
  job.batch.sequence = job.model.family->is_sequence ? 8 : 1;
  job.precision = {DType::Fp32, DType::Fp32};
  return job;
}

// Four heads, so that four ranks can split them; every option that changes layers.
inline std::vector<Job> small_jobs() {
  const Values text = {
      {"layers", {2}}, {"hidden", {16}}, {"heads", {4}}, {"vocab", {32}}, {"ffn", {24}}};
  const auto with = [](Values values, const Values& more) {
    values.insert(values.end(), more.begin(), more.end());
    return values;
  };
  const Values llama_text = {{"layers", {2}},   {"hidden", {16}},   {"heads", {8}},
                             {"kv_heads", {4}}, {"head_size", {4}}, {"vocab", {32}},
                             {"ffn", {24}}};
  const Values latent_text = {{"layers", {2}},    {"hidden", {16}},   {"heads", {4}},
                              {"head_size", {6}}, {"rope_size", {2}}, {"value_size", {3}},
                              {"kv_rank", {7}},   {"vocab", {32}},    {"ffn", {24}}};
  std::vector<Job> jobs;
  for (Model& model : std::vector<Model>{
           model_of("gpt", with(text, {{"max_sequence", {10}}})),
           model_of("gpt", with(text, {{"max_sequence", {8}},
                                       {"learned_positions", {0}},
                                       {"embedding_layernorm", {1}},
                                       {"tied_embeddings", {0}}})),
           model_of("llama", llama_text),
           model_of("llama", with(llama_text, {{"tied_embeddings", {1}}})),
           model_of("llama", with(llama_text, {{"gated", {0}}})),
           model_of("llama", with(llama_text, {{"experts", {4}},
                                               {"experts_per_token", {2}},
                                               {"expert_ffn", {12}},
                                               {"shared_expert_ffn", {8}}})),
           model_of("llama",
                    with(llama_text,
                         {{"experts", {4}}, {"experts_per_token", {2}}, {"router_bias", {1}}})),
           model_of("llama", with(llama_text, {{"qk_norm", {1}}})),
           model_of("llama", with(llama_text, {{"lora_rank", {4}},
                                               {"lora_qkv", {1}},
                                               {"lora_projection", {1}},
                                               {"lora_mlp_in", {1}},
                                               {"lora_mlp_out", {1}}})),
           model_of("llama", latent_text),
           model_of("llama", with(latent_text, {{"query_rank", {5}}})),
           model_of("bert", with(text, {{"max_sequence", {10}}})),
           model_of("vit", {{"layers", {2}},
                            {"hidden", {16}},
                            {"heads", {4}},
                            {"patch", {4}},
                            {"image", {8}},
                            {"classes", {5}}}),
           model_of("resnet",
                    {{"blocks", {2, 1}}, {"width", {4}}, {"image", {30}}, {"classes", {5}}}),
           model_of("resnet", {{"blocks", {1, 2}},
                               {"width", {4}},
                               {"image", {30}},
                               {"classes", {5}},
                               {"stride_in_3x3", {0}}}),
           model_of("mlp",
                    {{"inputs", {12}}, {"hidden", {16}}, {"layers", {2}}, {"outputs", {5}}})})
    jobs.push_back(small_job(std::move(model)));
  return jobs;
}

inline Job with_tensor(Job job, int tensor, bool sequence_parallel) {
  job.parallel.tensor = job.gpus = tensor;
  job.parallel.sequence_parallel = sequence_parallel;
  return job;
}
inline bool is_possible(const Job& job) {
  return job.model.family->slice_limits(job.model, job.slice()).empty();
}

inline LayerContext context_of(const Job& job, Group* group = nullptr) {
  LayerContext context;
  context.tensor = group;
  if (job.model.has_experts()) context.expert_tensor = group;
  context.sequence_parallel = job.parallel.sequence_parallel;
  context.attention = job.attention;
  context.selective_recompute = job.recompute == Recompute::Selective;
  return context;
}

// What no adapter starts from: its output would be zero. This rank's part of B [out, r], whose rows
// beside the MLP's first linear are those of the gate over those of the linear beside it.
inline at::Tensor adapter_output(const Tensor& tensor, const at::Tensor& part,
                                 const LayerContext& context) {
  ParameterDraws draws(context, 11, 0);
  const std::int64_t rank = part.size(1), out = tensor.numel / rank;
  return tensor.name == "mlp_in.adapter_out" ? draws.stacked(2, out / 2, rank)
                                             : draws.normal({out, rank}, Split::First);
}

// Parameters away from where they start: large enough that attention attends, and no bias or
// scale that is the same everywhere, which a norm would hide. The same on every layout.
inline void disturb(LayerModule& module, const Layer& layer, const LayerContext& context) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < module.parameters().size(); ++i) {
    at::Tensor parameter = module.parameters()[i];
    if (layer.tensors[i].name.ends_with(".adapter_out"))
      parameter.copy_(adapter_output(layer.tensors[i], parameter, context));
    if (parameter.dim() > 1) {
      if (layer.kind != LayerKind::Head) parameter.mul_(parameter.dim() == 2 ? 8 : 1);
      continue;
    }
    const std::int64_t size = parameter.size(0);
    const std::int64_t first = layer.tensors[i].split ? context.tensor_rank() * size : 0;
    parameter.add_(at::arange(first, first + size)
                       .to(at::kDouble)
                       .sin_()
                       .mul_(0.3)
                       .to(parameter.scalar_type()));
  }
}

using Modules = std::vector<std::unique_ptr<LayerModule>>;
inline Modules modules_of(const Job& job, LayerContext& context) {
  Modules modules;
  for (int i = 0; i < int(job.model.layers.size()); ++i) {
    modules.push_back(make_layer(job, i, context, 7));
    disturb(*modules.back(), job.model.layers[std::size_t(i)], context);
  }
  return modules;
}

struct ModelRun {
  double loss = 0;
  // Of layers and their parameters; undefined: frozen.
  std::vector<std::vector<at::Tensor>> gradients;
  std::vector<std::vector<std::int64_t>> shapes;  // of the layers' outputs
};

// One graph for all layers, of what a micro-batch feeds to them.
inline ModelRun whole_run(const Job& job, LayerContext& context, const MicroBatch& batch) {
  const Modules modules = modules_of(job, context);
  ModelRun run;
  at::Tensor x = batch.input;
  std::vector<at::Tensor> trained;
  for (const auto& module : modules) {
    x = module->forward(x, batch);
    run.shapes.push_back(x.sizes().vec());
    for (const at::Tensor& parameter : module->parameters())
      if (parameter.requires_grad()) trained.push_back(parameter);
  }
  run.loss = x.item<double>();
  const auto gradients = torch::autograd::grad({x}, trained);
  std::size_t next = 0;
  for (const auto& module : modules) {
    run.gradients.emplace_back();
    for (const at::Tensor& parameter : module->parameters())
      run.gradients.back().push_back(parameter.requires_grad() ? gradients[next++] : at::Tensor());
  }
  return run;
}
inline ModelRun whole_run(const Job& job, LayerContext& context) {
  return whole_run(job, context, Data(job, 0).micro_batch(context, 0, 0));
}

// As the executor does it. `defers`: weight gradients of linears and convolutions after all input
// gradients. `frees`: parameters have no memory between a layer's forward and its backward.
inline ModelRun layerwise_run(const Job& job, LayerContext& context, bool defers = false,
                              bool frees = false) {
  const Modules modules = modules_of(job, context);
  const MicroBatch batch = Data(job, 0).micro_batch(context, 0, 0);
  ModelRun run;
  std::vector<at::Tensor> inputs, outputs;
  std::vector<std::vector<at::Tensor>> freed(modules.size());
  at::Tensor x = batch.input;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    inputs.push_back(x.detach());
    if (inputs.back().is_floating_point()) inputs.back().set_requires_grad(true);
    outputs.push_back(modules[i]->forward(inputs.back(), batch));
    run.shapes.push_back(outputs.back().sizes().vec());
    x = outputs.back();
    if (!frees) continue;
    for (at::Tensor parameter : modules[i]->parameters()) {
      const at::Tensor data = parameter.variable_data();  // with a version counter of its own
      freed[i].push_back(data.clone());
      parameter.set_data(at::empty({0}, data.options()));
      data.fill_(std::nan(""));  // who kept the old memory shows it
    }
  }
  run.loss = x.item<double>();
  std::vector<DeferredGradient> deferred;
  if (defers) context.deferred = &deferred;
  at::Tensor gradient = at::ones({}, x.options());
  run.gradients.resize(modules.size());
  for (std::size_t i = modules.size(); i-- > 0;) {
    std::vector<at::Tensor> wanted = modules[i]->parameters();
    for (std::size_t j = 0; j < freed[i].size(); ++j) wanted[j].set_data(freed[i][j]);
    std::erase_if(wanted, [](const at::Tensor& tensor) { return !tensor.requires_grad(); });
    if (inputs[i].requires_grad()) wanted.push_back(inputs[i]);
    std::vector<at::Tensor> gradients;
    if (!wanted.empty())
      gradients = torch::autograd::grad({outputs[i]}, wanted, {gradient}, false, false, true);
    if (i > 0) gradient = gradients.back();
    std::size_t next = 0;
    for (const at::Tensor& parameter : modules[i]->parameters())
      run.gradients[i].push_back(parameter.requires_grad() ? gradients[next++] : at::Tensor());
  }
  for (const DeferredGradient& later : deferred)
    for (std::size_t i = 0; i < modules.size(); ++i)
      for (std::size_t j = 0; j < modules[i]->parameters().size(); ++j)
        if (modules[i]->parameters()[j].is_same(later.parameter))
          run.gradients[i][j] = later.gradient();
  context.deferred = nullptr;
  return run;
}

// Largest difference relative to the largest element; infinite where something is missing.
inline double difference(const at::Tensor& actual, const at::Tensor& expected) {
  if (!actual.defined() || !expected.defined() || actual.sizes() != expected.sizes())
    return std::numeric_limits<double>::infinity();
  const at::Tensor distance = (actual - expected).abs().max().to(at::kDouble);
  return (distance / (expected.abs().max().to(at::kDouble) + 1e-30)).item<double>();
}

}  // namespace windtunnel
