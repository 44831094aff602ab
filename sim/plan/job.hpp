// One training job: what a workload file says, resolved. Values are valid after load_job returns.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.hpp"
#include "base/work.hpp"
#include "cluster/cluster.hpp"
#include "model/model.hpp"
#include "plan/data_set.hpp"
#include "plan/plan.hpp"
#include "plan/profile.hpp"
#include "plan/rank_grid.hpp"
#include "schedules/schedule.hpp"

namespace windtunnel {

struct Parallelism {
  int data = 1, tensor = 1, pipeline = 1;
  // Ranks that share each sample: data x context ranks hold the same weights and sum their
  // gradients.
  int context = 1;
  ContextParallel context_parallel = ContextParallel::Ring;
  // Routed experts are spread over `expert` of the tensor x context x data ranks of a stage, and
  // each is split over `expert_tensor` of them; 0: as many as `tensor`, as in Megatron-LM.
  int expert = 1, expert_tensor = 0;
  int virtual_stages = 1;  // model chunks per pipeline rank
  bool sequence_parallel = false;
  int zero_stage = 0;  // 0..3; 3 is FSDP
  // Ranks over which ZeRO divides states, which are replicated from one such group to the next; 0:
  // all data-parallel ranks. FSDP: HYBRID_SHARD; Megatron-LM: num_distributed_optimizer_instances.
  int shard_ranks = 0;
  // ZeRO-3 only. reshard_after_forward false: FSDP SHARD_GRAD_OP, weights stay gathered until
  // backward. keep_last_layer: the layer whose backward follows its own forward stays gathered in
  // between.
  bool reshard_after_forward = true;
  bool keep_last_layer = true;
  // Of PyTorch's two implementations the one whose copies are counted (flat_copies.hpp); 0: none,
  // tensors lie in the buffers that are sent.
  int fsdp_version = 0;
  // All-to-alls between tokens and experts run beside the compute of another micro-batch
  // (lower.hpp).
  bool overlap_experts = false;
  TokenDispatch expert_dispatch = TokenDispatch::Direct;
  // Every tensor has collectives of its own, over lists with a piece for each rank
  // (flat_copies.hpp).
  bool tensor_lists = false;
  std::array<Dimension, 3> order = {Dimension::Tensor, Dimension::Data, Dimension::Pipeline};

  int replicas() const { return data * context; }
  int ranks_of_expert() const { return expert_tensor > 0 ? expert_tensor : tensor; }
  int expert_ranks() const { return expert * ranks_of_expert(); }
  // Whether experts are laid out otherwise than the other weights, so that their gradients are
  // summed over other ranks.
  bool folds_experts() const { return expert > 1 || ranks_of_expert() != tensor; }
};

struct Batch {
  int global = 1;    // samples per step
  int micro = 1;     // samples per micro-batch
  int sequence = 1;  // tokens per sample; 1 for images
  // Tokens that one attends to where samples share a sequence, or differ in length and `sequence`
  // is their mean: the sum of the squares of their lengths over the sum. 0: those of the sequence.
  int attended_length = 0;
};

struct Precision {
  DType compute = DType::Bf16;    // weights, activations, GEMMs
  DType gradients = DType::Bf16;  // accumulation and reduction; Fp32 in Megatron-LM
};

// None: a step of forward, backward and reductions only, for teaching and exact cases.
enum class OptimizerKind { None, Sgd, Adam };
inline constexpr std::array<std::string_view, 3> kOptimizerKindNames = {"none", "sgd", "adam"};

// Whether gradients of a micro-batch are added to earlier ones' inside the weight-gradient GEMM
// (Megatron-LM's gradient_accumulation_fusion) or by a kernel for each tensor (PyTorch autograd).
enum class GradientAccumulation { Fused, Separate };
inline constexpr std::array<std::string_view, 2> kGradientAccumulationNames = {"fused", "separate"};

struct DataParallelOptions {
  Bytes first_bucket{1024.0 * 1024};  // PyTorch DDP kDefaultFirstBucketBytes
  Bytes bucket{25 * 1024.0 * 1024};   // PyTorch DDP kDefaultBucketBytesCap
  bool overlap = true;                // reduce during the backward pass, else after it
  // Gradients are reduced only after the last micro-batch; false: after each one.
  // Default: true for ZeRO 0 and 1, false for ZeRO 2 and 3.
  bool no_sync = true;
};

// Whether a pipeline transfer runs beside compute, or occupies both ranks' compute streams
// (Megatron-LM without overlap_p2p_comm).
enum class PipelineTransfer { Overlapped, Blocking };
inline constexpr std::array<std::string_view, 2> kPipelineTransferNames = {"overlapped",
                                                                           "blocking"};

// folded: one rank per class of provably alike ranks, one span per action. stage: every rank, one
// span per action. full: every rank, every layer operation. rounds: full, and every round of every
// collective.
enum class Fidelity { Folded, Stage, Full, Rounds };
inline constexpr std::array<std::string_view, 4> kFidelityNames = {"folded", "stage", "full",
                                                                   "rounds"};

// What `run` does with compute. Emulated: a rank sleeps as long as the cluster's GPU would compute,
// and communication is real.
enum class ComputeMode { Real, Emulated };
inline constexpr std::array<std::string_view, 2> kComputeModeNames = {"real", "emulated"};

struct Straggler {
  int rank = 0;
  double slowdown = 1;  // its kernels take this many times as long
};

struct Noise {
  std::uint64_t seed = 0;
  double amplitude = 0;  // each kernel's time is scaled by a uniform factor in [1 - a, 1 + a]
};

// How fast the rank's process issues work to its GPU, which waits where its kernels are shorter.
// Zero: everything is captured beforehand, as in a CUDA graph.
struct Host {
  Seconds kernel, collective;  // of the process, for each
  bool sets() const { return kernel.value > 0 || collective.value > 0; }
};

enum class Market { OnDemand, Spot };
inline constexpr std::array<std::string_view, 2> kMarketNames = {"on_demand", "spot"};

struct Job {
  std::string name;  // file stem
  Model model;
  ClusterSpec cluster;
  int gpus = 1;
  Parallelism parallel;
  Batch batch;
  Precision precision;
  std::string schedule = "1f1b";  // a row of schedules/; with pipeline 1 it orders nothing
  std::optional<Schedule> schedule_of_file;  // in place of a row, whose name is then the file's
  // Layers of the model on each virtual stage; sums to all layers. Resolved by the loader where the
  // file does not say it (split_layers).
  std::vector<int> layers_per_stage;
  Recomputation recompute;
  // How many blocks of each virtual stage recompute, its first ones; none: all. Megatron-LM's
  // recompute_num_layers with the method `block`.
  std::optional<int> recompute_layers;
  AttentionKernel attention = AttentionKernel::Unfused;
  const Software* software = &bare_software();
  DataParallelOptions data_parallel;
  GradientAccumulation accumulation = GradientAccumulation::Fused;
  PipelineTransfer pipeline_transfer = PipelineTransfer::Overlapped;
  OptimizerKind optimizer = OptimizerKind::Adam;
  bool gradient_clipping = true;
  Kernels kernels = Kernels::Fused;
  CrossEntropy cross_entropy = CrossEntropy::Unfused;
  bool expandable_segments = false;  // of PyTorch's allocator (PYTORCH_CUDA_ALLOC_CONF)
  Host host;
  Fidelity fidelity = Fidelity::Folded;
  std::vector<Straggler> stragglers;
  std::optional<Noise> noise;
  ComputeMode compute = ComputeMode::Real;
  std::optional<DataSet> data;      // what `run` trains on; none: random samples
  std::optional<double> tolerance;  // |error| of the predicted step time that `validate` accepts
  std::optional<Profile> profile;   // measured times in place of modelled ones
  // A recorded step in place of a model, a layout and a batch: every rank has a pipeline coordinate
  // and a program of its own.
  std::optional<Plan> recorded;
  std::optional<Price> price;
  Market market = Market::OnDemand;
  std::optional<double> total_tokens;  // of the whole run (samples for models without sequence)

  int micro_batches() const { return batch.global / (batch.micro * parallel.data); }
  int stages() const { return parallel.pipeline * parallel.virtual_stages; }
  // Only blocks do.
  bool recomputes(int layer) const;
  Slice slice(int layer) const;
  // Of the layers that recompute.
  Slice slice() const {
    return {batch.micro,
            batch.sequence,
            parallel.tensor,
            parallel.sequence_parallel,
            precision.compute,
            attention,
            recompute,
            kernels,
            software,
            parallel.expert,
            parallel.ranks_of_expert(),
            parallel.context,
            parallel.context_parallel,
            batch.attended_length,
            parallel.expert_dispatch,
            cross_entropy};
  }
};

// Layers per virtual stage when a job does not say: blocks are spread evenly, the embedding joins
// the first stage and the head the last (Megatron-LM). Empty if the blocks do not divide by the
// stages.
std::vector<int> split_layers(const Model& model, int stages);

// Bytes of optimizer state per parameter: fp32 moments (Adam 8, SGD with momentum 4), plus an fp32
// master copy (4) when the weights are not fp32. Source: Rajbhandari et al. 2020, arXiv:1910.02054,
// section 3.1.
double optimizer_state_bytes(OptimizerKind kind, const Precision& precision);

// Bytes of a weight as it is updated and sent. Fp4 weights are in bf16 besides (Megatron-LM,
// fp4_param false).
double weight_bytes(DType compute);
// On a rank that computes with it. Fp8: both ways round (transposition in operation.hpp), as
// TransformerEngine keeps fp8 parameters; fp4: likewise, beside those in bf16.
double resident_weight_bytes(DType compute);
// What a rank has of each trained parameter. PyTorch's FSDP has fp32 shards alone, of the weights,
// which it casts as it gathers them and which are the master, and of their gradients. Source:
// pytorch/pytorch torch/distributed/_composable/fsdp/_fsdp_param.py (sharded_param; orig_dtype).
struct StateBytes {
  double weights = 0, gradients = 0, optimizer = 0;
};
StateBytes state_bytes(const Job& job);
// Of a frozen one: fp8 blocks are kept in fp8 once, both ends in 16 bits. Source: NVIDIA's MLPerf
// submissions of Llama 2 70B LoRA (fp8_params, disable_parameter_transpose_cache), whose logged
// peaks of 134.08, 99.57 and 82.32 GiB at 2, 4 and 8 context ranks leave 65.07 GiB for
// weights: 68.5e9 bytes of blocks and 1.05e9 of the ends are 64.73.
double frozen_weight_bytes(DType compute, LayerKind kind);

// Bytes that an update moves per parameter: it reads gradient, master (or weight) and moments and
// writes the latter back, with the low-precision weight if there is one: 30 for Adam with fp32
// gradients and bf16 weights, 4 + 3 x 4 read and 3 x 4 + 2 written. Software that runs Adam as
// separate operators moves those operators' bytes.
double optimizer_traffic(const Job& job);
// Of an update of so many tensors.
int optimizer_kernels(const Job& job, int tensors);
// Its kernels are issued when the gradients are reduced, not before.
bool optimizer_is_awaited(const Job& job);

}  // namespace windtunnel
