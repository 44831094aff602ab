#include "model/operator_sets.hpp"

namespace windtunnel {
namespace {

using enum BlockPart;
using enum Pass;

// Automatic mixed precision rewrites the graph: only what lies between two GEMMs without a Mean,
// Pow, Exp or Sum on the way runs in fp16, which is queries, keys, values and their mix; casts
// around the other GEMMs read and write 2 + 4 bytes. Norm: 15 accesses forward (moments 4,
// batch_normalization 11) and 41 backward. GELU by tanh and pow: 18 and 26. Dropout: random
// numbers written; compared into a byte; scaling; that byte cast; product. Softmax: three reads,
// one write. Gradients of TensorFlow's functions are from memory.
constexpr BlockOperator kTensorFlow1[] = {
    {"bias_add", Qkv, Forward, 3, 8, 4},
    {"transpose", Qkv, Forward, 3, 8, 4},
    {"cast", Scores, Forward, 2, 0, 12},
    {"scale", Scores, Forward, 1, 8, 8},
    {"mask", Scores, Forward, 1, 8, 8},
    {"softmax", Scores, Forward, 3, 16, 16},
    {"dropout", Scores, Forward, 5, 34, 34},
    {"transpose", Core, Forward, 1, 8, 4},
    {"cast", Branch, Forward, 1, 0, 6},
    {"bias_add", Branch, Forward, 1, 8, 8},
    {"dropout", Branch, Forward, 5, 34, 34},
    {"add", Branch, Forward, 1, 12, 12},
    {"layer_norm", Norm, Forward, 9, 60, 60},
    {"cast", Norm, Forward, 1, 0, 6},
    {"cast", Mlp, Forward, 2, 0, 12},
    {"bias_add", Mlp, Forward, 1, 8, 8},
    {"gelu", Mlp, Forward, 8, 72, 72},
    {"layer_norm", Norm, Backward, 20, 164, 164},
    {"add_n", Branch, Backward, 1, 12, 12},
    {"dropout", Branch, Backward, 2, 20, 20},
    {"bias_add_grad", Branch, Backward, 1, 4, 4},
    {"cast", Branch, Backward, 1, 0, 6},
    {"cast", Mlp, Backward, 2, 0, 12},
    {"gelu", Mlp, Backward, 10, 104, 104},
    {"bias_add_grad", Mlp, Backward, 1, 4, 4},
    {"transpose", Core, Backward, 1, 8, 4},
    {"cast", Scores, Backward, 2, 0, 12},
    {"dropout", Scores, Backward, 2, 20, 20},
    {"softmax", Scores, Backward, 4, 36, 36},
    {"scale", Scores, Backward, 1, 8, 8},
    {"transpose", Qkv, Backward, 3, 8, 4},
    {"bias_add_grad", Qkv, Backward, 3, 4, 4},
    {"cast", Qkv, Backward, 3, 0, 6},      // of three gradients of the same input
    {"add_n", Core, Backward, 1, 16, 16},  // of those
    {"cast", Core, Backward, 1, 0, 6},     // of the gradient of the MLP's input
};

// XLA fuses chains of elementwise operators with what reads them; a reduction ends a fusion, and
// random numbers are made by a kernel of TensorFlow before. Between two GEMMs' fp16 operands all is
// fp32. Scores: maximum; sum of exponentials; the two random kernels' numbers, the probabilities
// and the dropped ones with their mask. GELU keeps its input and its tanh. Backward: the norm's
// sums over rows (two reads twice) and over columns, then its gradient with the dropout's; softmax
// reads gradient, mask and probabilities twice. fp32: the same kernels with 4 bytes for each 2.
constexpr BlockOperator kXla[] = {
    {"bias_transpose", Qkv, Forward, 3, 8, 4},
    {"softmax_dropout", Scores, Forward, 4, 4 + 4 + 4 + 4 + 4 + 4 + 1 + 4,
     2 + 2 + 2 + 4 + 4 + 2 + 1 + 4},
    {"transpose", Core, Forward, 1, 8, 4},
    {"bias_dropout_add", Branch, Forward, 2, 4 + 8 + 1 + 4 + 4, 2 + 8 + 1 + 4 + 4},
    {"layer_norm", Norm, Forward, 3, 4 + 4 + 4 + 4, 4 + 4 + 4 + 4 + 2},
    {"bias_gelu", Mlp, Forward, 2, 4 + 4 + 8, 2 + 2 + 6},
    {"layer_norm_dropout", Norm, Backward, 5, 16 + 10 + 12 + 5, 16 + 10 + 14 + 3},
    {"bias", Branch, Backward, 1, 4, 2},
    {"gelu", Mlp, Backward, 1, 4 + 8 + 4, 2 + 6 + 4},
    {"bias", Mlp, Backward, 1, 4, 2},
    {"transpose", Core, Backward, 1, 8, 4},
    {"dropout_softmax", Scores, Backward, 2, 9 + 9 + 4, 7 + 7 + 2},
    {"transpose", Qkv, Backward, 3, 8, 4},
    {"bias", Qkv, Backward, 3, 4, 2},
    {"sums_of_branches", Core, Backward, 3, 12 + 20, 10 + 14},
};

// In mixed precision all of it runs in fp16. Softmax: maximum; subtraction and exponential; sum;
// division. Norm: cuDNN's batch norm without scale and shift, then both. Dropout: a kernel that
// writes a mask of bytes, and one that applies it.
constexpr BlockOperator kOneFlow[] = {
    {"bias_add", Qkv, Forward, 3, 8, 4},
    {"transpose", Qkv, Forward, 3, 8, 4},
    {"scalar_mul", Scores, Forward, 1, 8, 4},
    {"mask", Scores, Forward, 1, 8, 4},
    {"softmax", Scores, Forward, 4, 24, 12},
    {"dropout", Scores, Forward, 2, 10, 6},
    {"transpose", Core, Forward, 1, 8, 4},
    {"bias_add", Branch, Forward, 1, 8, 4},
    {"dropout", Branch, Forward, 2, 10, 6},
    {"add_n", Branch, Forward, 1, 12, 6},
    {"layer_norm", Norm, Forward, 3, 28, 14},
    {"bias_add", Mlp, Forward, 1, 8, 4},
    {"gelu", Mlp, Forward, 1, 8, 4},
    {"layer_norm", Norm, Backward, 7, 48, 24},
    {"add_n", Branch, Backward, 1, 12, 6},
    {"dropout", Branch, Backward, 1, 9, 5},
    {"bias", Branch, Backward, 1, 4, 2},
    {"gelu", Mlp, Backward, 1, 12, 6},
    {"bias", Mlp, Backward, 1, 4, 2},
    {"transpose", Core, Backward, 1, 8, 4},
    {"dropout", Scores, Backward, 1, 9, 5},
    {"softmax", Scores, Backward, 4, 36, 18},
    {"scalar_mul", Scores, Backward, 1, 8, 4},
    {"transpose", Qkv, Backward, 3, 8, 4},
    {"bias", Qkv, Backward, 3, 4, 2},
    {"add_n", Core, Backward, 1, 16, 8},  // gradients of the input of queries, keys and values
};

// In mixed precision softmax, norms, GELU and dropout run in fp32 and GEMMs are cast around (lists
// of 2.x; those of 1.8 were not found). The mask is a tensor of the scores' size. Dropout starts a
// generator for every element (curand_init): 0.344 ms for the 4.2 million of PaddlePaddle/Paddle
// pull request 19136 on a V100, 80 ps, which is as long as that card takes for 57 bytes. An add
// copies its gradient to both operands.
constexpr double kDropout = 57;
constexpr BlockOperator kPaddle[] = {
    {"bias_add", Qkv, Forward, 3, 8, 4},
    {"transpose", Qkv, Forward, 3, 8, 4},
    {"scale", Core, Forward, 1, 8, 4},
    {"cast", Scores, Forward, 2, 0, 12},
    {"mask", Scores, Forward, 1, 12, 12},
    {"softmax", Scores, Forward, 1, 8, 8},
    {"dropout", Scores, Forward, 1, kDropout, kDropout},
    {"transpose", Core, Forward, 1, 8, 4},
    {"cast", Branch, Forward, 1, 0, 6},
    {"bias_add", Branch, Forward, 1, 8, 8},
    {"dropout", Branch, Forward, 1, kDropout, kDropout},
    {"add", Branch, Forward, 1, 12, 12},
    {"layer_norm", Norm, Forward, 1, 12, 12},
    {"cast", Norm, Forward, 1, 0, 6},
    {"cast", Mlp, Forward, 2, 0, 12},
    {"bias_add", Mlp, Forward, 1, 8, 8},
    {"gelu", Mlp, Forward, 1, 8, 8},
    {"layer_norm", Norm, Backward, 3, 24, 24},
    {"add", Branch, Backward, 2, 24, 24},
    {"dropout", Branch, Backward, 1, 9, 9},
    {"bias_add", Branch, Backward, 1, 12, 12},
    {"cast", Branch, Backward, 1, 0, 6},
    {"cast", Mlp, Backward, 2, 0, 12},
    {"gelu", Mlp, Backward, 1, 12, 12},
    {"bias_add", Mlp, Backward, 1, 12, 12},
    {"transpose", Core, Backward, 1, 8, 4},
    {"cast", Scores, Backward, 2, 0, 12},
    {"dropout", Scores, Backward, 1, 9, 9},
    {"softmax", Scores, Backward, 1, 12, 12},
    {"mask", Scores, Backward, 1, 8, 8},
    {"scale", Core, Backward, 1, 8, 4},
    {"transpose", Qkv, Backward, 3, 8, 4},
    {"bias_add", Qkv, Backward, 3, 12, 12},
    {"cast", Qkv, Backward, 3, 0, 6},
    {"sum", Core, Backward, 1, 16, 8},
    {"cast", Core, Backward, 1, 0, 6},
};

// PyTorch 1.5 under apex O2, the whole model in fp16: a linear on three dimensions adds its bias by
// an operator of its own, batched GEMMs copy their operands, apex has the norms, and bias and GELU
// are one scripted kernel.
constexpr BlockOperator kApex[] = {
    {"bias_add", Qkv, Forward, 3, 8, 4},       {"contiguous", Qkv, Forward, 3, 8, 4},
    {"scale", Scores, Forward, 1, 8, 4},       {"mask", Scores, Forward, 1, 8, 4},
    {"softmax", Scores, Forward, 1, 8, 4},     {"dropout", Scores, Forward, 1, 9, 5},
    {"contiguous", Core, Forward, 1, 8, 4},    {"bias_add", Branch, Forward, 1, 8, 4},
    {"dropout", Branch, Forward, 1, 9, 5},     {"add", Branch, Forward, 1, 12, 6},
    {"layer_norm", Norm, Forward, 1, 8, 4},    {"bias_gelu", Mlp, Forward, 1, 8, 4},
    {"layer_norm", Norm, Backward, 3, 20, 10}, {"add", Branch, Backward, 1, 12, 6},
    {"dropout", Branch, Backward, 1, 9, 5},    {"bias", Branch, Backward, 1, 4, 2},
    {"bias_gelu", Mlp, Backward, 1, 12, 6},    {"bias", Mlp, Backward, 1, 4, 2},
    {"contiguous", Core, Backward, 1, 8, 4},   {"dropout", Scores, Backward, 1, 9, 5},
    {"softmax", Scores, Backward, 1, 12, 6},   {"scale", Scores, Backward, 1, 8, 4},
    {"contiguous", Qkv, Backward, 3, 8, 4},    {"bias", Qkv, Backward, 3, 4, 2},
    {"add", Core, Backward, 2, 24, 12},  // three gradients of the input of queries, keys and values
};

// AdamWeightDecayOptimizer: nine products, sums and roots of one operand at 8 bytes and five of two
// at 12; an assignment takes its operand over. Before it clipping, 8 besides the norm, which a job
// counts anyway. Mixed: unscaled 8 and checked 6 by three, and weight and gradient of a linear
// cast, 6 each.
constexpr UpdateOperators kTensorFlow1Adam = {.kernels = 14 + 1,
                                              .kernels_mixed = 15 + 3 + 2,
                                              .fp32 = 9 * 8 + 5 * 12 + 8,
                                              .mixed = 140 + 14 + 12};
// One operator for Adam, 28. Before it clipping by square, sum (the norm, counted by the job) and
// product, 8 + 8; a copy of each weight for its decay, scaled twice, subtracted and assigned back,
// 4 x 8 + 12. Mixed: unscaled and checked 12, weight and gradient cast 6 each. All of it needs the
// norm, and the executor waits for each reduction (FLAGS_sync_nccl_allreduce, on by default).
constexpr UpdateOperators kPaddleAdam = {.kernels = 1 + 2 + 5,
                                         .kernels_mixed = 8 + 2 + 2,
                                         .fp32 = 28 + 16 + 44,
                                         .mixed = 88 + 12 + 12,
                                         .wait_for_reductions = true};

}  // namespace

const OperatorSet kTensorFlow1Operators = {
    kTensorFlow1, kTensorFlow1Adam,
    "NVIDIA/tensorflow auto_mixed_precision_lists.h @0936b2e6, tensorflow/contrib/layers/python/"
    "layers/layers.py @135277e9; NVIDIA/DeepLearningExamples TensorFlow/LanguageModeling/BERT/"
    "modeling.py @cef4bab3, optimization.py @0053b4b8"};
const OperatorSet kXlaOperators = {
    kXla,
    {},
    "the operators of NVIDIA/DeepLearningExamples TensorFlow2/LanguageModeling/BERT "
    "official/nlp/modeling/layers/transformer.py and attention.py @8a6ae958, fused by those rules; "
    "which operators auto-clustering leaves out is from memory"};
const OperatorSet kOneFlowOperators = {
    kOneFlow,
    {},
    "Oneflow-Inc/OneFlow-Benchmark LanguageModeling/BERT/bert.py @2b2d9ac3; Oneflow-Inc/oneflow "
    "auto_mixed_precision_lists.cpp @004199d8, softmax_kernel_util.cu @0131e6ec, "
    "layer_norm_gpu_kernel.cpp @142b8622"};
const OperatorSet kPaddleOperators = {
    kPaddle, kPaddleAdam,
    "PaddlePaddle/models PaddleNLP/pretrain_language_models/BERT/model/transformer_encoder.py "
    "@7f8fac2e, optimization.py @05d1e777; PaddlePaddle/Paddle fp16_lists.py @069923a5, "
    "dropout_op.cu @0066e86c, all_reduce_op_handle.cc (SyncNCCLAllReduce)"};
const OperatorSet kApexOperators = {
    kApex,
    {},
    "NVIDIA/DeepLearningExamples PyTorch/LanguageModeling/BERT/modeling.py @70c51ad7, "
    "run_pretraining.py @042e8724; PyTorch's operators from memory"};

}  // namespace windtunnel
