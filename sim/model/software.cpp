#include "model/software.hpp"

#include <array>

namespace windtunnel {
namespace {

// PyTorch's cross entropy on logits cast to fp32: 2 bytes of the GEMM's logits and 4 of the
// log-softmax are kept; backward, the loss's gradient and the log-softmax's come on top, 4 each.
constexpr double kTorchLogitKept = 2 + 4, kTorchLogitMost = 2 + 4 + 4 + 4;

// Of data-parallel programs; norms are one operation, and buckets or fusion buffers copies.
constexpr Software data_parallel(std::string_view name, const OperatorSet* operators,
                                 std::string_view source, bool channels_first = false,
                                 int logged_losses = 0) {
  return {.name = name,
          .fused_gate = false,
          .logit_bytes_kept = kTorchLogitKept,
          .logit_bytes_most = kTorchLogitMost,
          .logged_losses = logged_losses,
          .copies_gradients = true,
          .operators = operators,
          .channels_first = channels_first,
          .source = source};
}
constexpr std::string_view kAsDdp = "memory as ddp, not counted; operators as their set says";

constexpr std::array<Software, 19> kTable = {{
    {.name = "bare", .has_runtime = false, .source = "Korthikanti et al. 2022, arXiv:2205.05198"},
    // vocab_parallel_cross_entropy works in place on one fp32 copy; the GEMM's bf16 logits live
    // beside it forward, their gradient backward.
    {.name = "megatron",
     .logit_bytes_most = 2 + 4,
     .source = "NVIDIA/Megatron-LM d98e8a64, megatron/core/tensor_parallel/cross_entropy.py; norm "
               "and SwiGLU of TransformerEngine"},
    {.name = "megatron-fp8-gate",
     .fp8_gate = true,
     .logit_bytes_most = 2 + 4,
     .source = "as megatron, with activation_func_fp8_input_store (NVIDIA/Megatron-LM, "
               "megatron/core/transformer/transformer_config.py)"},
    {.name = "megatron-fused-experts",
     .fused_experts = true,
     .logit_bytes_most = 2 + 4,
     .source = "as megatron, with TransformerEngine's grouped MLP of the CuTe DSL "
               "(NVTE_CUTEDSL_FUSED_GROUPED_MLP; NVIDIA-NeMo/Megatron-Bridge, "
               "src/megatron/bridge/perf_recipes/qwen/gb300/qwen3_moe.py)"},
    // Its norms became persistent ones (apex's FastLayerNorm), its sums asynchronous with
    // version 2.6 in December 2021.
    {.name = "megatron-2021",
     .norms = kApexNorms,
     .overlaps_sums = false,
     .logit_bytes_most = 2 + 4,
     .source = "as megatron; megatron/model/fused_layer_norm.py and megatron/mpu/layers.py (class "
               "ColumnParallelLinearWithAsyncAllreduce), before version 2.6 (the date is from "
               "memory)"},
    {.name = "internevo",
     .norms = kApexNorms,
     .joins_gate = false,
     .linears_communicate_alone = true,
     .logit_bytes_most = 2 + 4,
     .source = "as megatron, not counted; norms: MixedFusedRMSNorm of apex (InternLM/InternEvo "
               "internlm/model/ops/norm.py, from memory); linears: internlm/model/modules/mlp.py "
               "@053df037 (class FeedForward), mha.py @05bbd8f1"},
    // ZeRO reduces through a flat buffer of reduce_bucket_size = 5e8 gradients.
    {.name = "deepspeed",
     .norms = kApexNorms,
     .overlaps_sums = false,
     .logit_bytes_most = 2 + 4,
     .reduction_buffer = 5e8,
     .source = "microsoft/DeepSpeed 38327e07, runtime/zero/config.py; norms: "
               "Megatron-DeepSpeed megatron/model/fused_layer_norm.py; sums: microsoft/"
               "Megatron-DeepSpeed @1619965d megatron/mpu/layers.py (class ColumnParallelLinear); "
               "else as megatron"},
    // torch operations for RMSNorm (normalised input times scale) and SwiGLU (silu(x) * gate), the
    // head all-gathers its logits, norms gather their output under sequence parallelism.
    {.name = "aleph-alpha-scaling",
     .norm_copies = 2,
     .fused_gate = false,
     .joins_gate = false,
     .linears_communicate_alone = true,
     .keeps_gathered_inputs = true,
     .overlaps_sums = false,
     .gathers_logits = true,
     .logit_bytes_kept = kTorchLogitKept,
     .logit_bytes_most = kTorchLogitMost,
     .source = "Aleph-Alpha/scaling 01b9d21d, core/nn/norm/rms_norm.py, core/nn/mlp.py, "
               "core/nn/linear/column_parallel_linear.py, "
               "transformer/model/layers/lm_head.py, transformer/model/losses/cross_entropy.py"},
    {.name = "aleph-alpha-scaling-rms",
     .fused_gate = false,
     .joins_gate = false,
     .linears_communicate_alone = true,
     .keeps_gathered_inputs = true,
     .overlaps_sums = false,
     .gathers_logits = true,
     .logit_bytes_kept = kTorchLogitKept,
     .logit_bytes_most = kTorchLogitMost,
     .source = "the same with the RMSNorm kernel of FlashAttention (Hagemann et al. 2023, "
               "arXiv:2311.05610)"},
    {.name = "fsdp",
     .norm_copies = 2,
     .fused_gate = false,
     .logit_bytes_kept = kTorchLogitKept,
     .logit_bytes_most = kTorchLogitMost,
     .source =
         "PyTorch's operations, as autograd saves them: tools/autograd/derivatives.yaml; from "
         "memory, not re-read"},
    // The GEMM's logits are given up before the backward pass.
    {.name = "dtensor",
     .joins_qkv = false,
     .joins_gate = false,
     .keeps_gathered_inputs = true,
     .batch_first = true,
     .overlaps_sums = false,
     .logit_bytes_kept = kTorchLogitKept - 2,
     .logit_bytes_most = kTorchLogitMost - 2,
     .source =
         "as megatron but for the logits (pytorch/torchtitan train.py: del pred) and the linears "
         "(torchtitan/parallelisms/parallelize_llama.py @004b3148); pytorch/pytorch "
         "@000f488b torch/distributed/_functional_collectives.py, all_gather_tensor and "
         "reduce_scatter_tensor"},
    data_parallel("ddp", nullptr,
                  "as fsdp; layer_norm is one operation; buckets are copies unless "
                  "gradient_as_bucket_view is set: torch.nn.parallel.DistributedDataParallel"),
    data_parallel("composer", nullptr,
                  "as ddp; mosaicml/composer composer/trainer/trainer.py (_eval_train_metrics); "
                  "mosaicml/llm-foundry llmfoundry/models/mpt/modeling_mpt.py (train_metrics: "
                  "LanguageCrossEntropy, LanguagePerplexity)",
                  false, 2),
    data_parallel("tensorflow1", &kTensorFlow1Operators, kAsDdp),
    data_parallel("tensorflow-xla", &kXlaOperators, kAsDdp),
    data_parallel("oneflow", &kOneFlowOperators, kAsDdp),
    data_parallel("paddle", &kPaddleOperators, kAsDdp),
    // Operators were not counted: those of OneFlow, which like these are apart and all in fp16.
    data_parallel("mxnet", &kOneFlowOperators,
                  "memory as ddp, not counted; dmlc/gluon-nlp scripts/bert/run_pretraining.py "
                  "@0c996030 (model.cast); layout of gluon-cv: Oneflow-Inc/DLPerf MxNet/"
                  "Classification/RN50v1.5/runner.sh @f3238330",
                  true),
    data_parallel("apex", &kApexOperators,
                  "memory as ddp, not counted; layout: NVIDIA/DeepLearningExamples "
                  "PyTorch/Classification/ConvNets/main.py @0107cf27 (memory-format nchw)",
                  true),
}};

}  // namespace

std::span<const Software> software_table() {
  return kTable;
}

const Software* find_software(std::string_view name) {
  for (const Software& row : kTable)
    if (row.name == name) return &row;
  return nullptr;
}

const Software& bare_software() {
  return kTable.front();
}

}  // namespace windtunnel
