// Jobs of every strategy on machines in every condition, for tests that hold for all of them.
#pragma once

#include <string>
#include <vector>

#include "config/load.hpp"

namespace windtunnel {

struct Setting {
  std::string name, yaml;
};

// Of 16 ranks. 4 blocks, embedding and head.
inline const std::vector<Setting> kStrategies = {
    {"data", "parallel: {data: 16}\n"},
    {"data, small buckets", "parallel: {data: 16}\ndata_parallel: {bucket: 1 MiB}\n"},
    {"data, not overlapped", "parallel: {data: 16}\ndata_parallel: {overlap: false}\n"},
    {"data, reductions in every pass", "parallel: {data: 16}\ndata_parallel: {no_sync: false}\n"},
    {"data and tensor", "parallel: {data: 8, tensor: 2}\n"},
    {"tensor over nodes", "parallel: {data: 4, tensor: 4}\n"},
    {"tensor after data", "parallel: {data: 8, tensor: 2, order: [data, tensor, pipeline]}\n"},
    {"pipeline", "parallel: {data: 4, pipeline: 4}\nschedule: 1f1b\n"},
    {"pipeline, blocking",
     "parallel: {data: 4, pipeline: 4}\nschedule: 1f1b\npipeline_transfer: blocking\n"},
    {"gpipe, not overlapped",
     "parallel: {data: 4, pipeline: 4}\nschedule: gpipe\ndata_parallel: {overlap: false}\n"},
    {"zb-h1", "parallel: {data: 4, pipeline: 4}\nschedule: zb-h1\n"},
    {"3d", "parallel: {data: 4, tensor: 2, pipeline: 2}\nschedule: 1f1b\n"},
    {"3d, sequence parallel",
     "parallel: {data: 4, tensor: 2, pipeline: 2, sequence_parallel: true}\nschedule: 1f1b\n"},
    {"3d, recompute",
     "parallel: {data: 4, tensor: 2, pipeline: 2}\nschedule: 1f1b\nrecompute: full\n"},
    {"3d, interleaved",
     "parallel: {data: 4, tensor: 2, pipeline: 2, virtual_stages: 2}\nschedule: interleaved\n"},
    {"3d, zb-v",
     "parallel: {data: 4, tensor: 2, pipeline: 2, virtual_stages: 2}\nschedule: zb-v\n"},
    {"3d, zero 1", "parallel: {data: 4, tensor: 2, pipeline: 2, zero_stage: 1}\nschedule: 1f1b\n"},
    {"zero 2", "parallel: {data: 16, zero_stage: 2}\n"},
    {"zero 3", "parallel: {data: 16, zero_stage: 3}\n"},
    {"data and tensor, slow host",
     "parallel: {data: 8, tensor: 2}\nhost: {kernel: 30 us, collective: 70 us}\n"},
    {"3d, blocking, slow host",
     "parallel: {data: 4, tensor: 2, pipeline: 2}\nschedule: 1f1b\npipeline_transfer: blocking\n"
     "host: {kernel: 20 us, collective: 50 us}\n"},
    {"zero 3, slow host",
     "parallel: {data: 16, zero_stage: 3}\nhost: {kernel: 20 us, collective: 50 us}\n"},
    {"zero 3 and tensor", "parallel: {data: 8, tensor: 2, zero_stage: 3}\n"},
    {"hybrid shard", "parallel: {data: 16, zero_stage: 3, shard: 2}\n"},
    {"hybrid shard, zero 1, no overlap",
     "parallel: {data: 16, zero_stage: 1, shard: 4}\ndata_parallel: {overlap: false}\n"},
    {"hybrid shard over nodes", "parallel: {data: 16, zero_stage: 3, shard: 4}\n"},
};

// 8 nodes of 2 GPUs and 2 NICs.
struct Condition {
  std::string name;
  std::string fabric = "{family: star, latency: 5 us, efficiency: 1}";
  std::string overrides = "[]", stragglers = "[]";
  bool mixed = false;
};
inline const std::string kUnevenTree =
    "{family: fat_tree, levels: 2, nodes_per_leaf: 3, oversubscription: 3, latency: 4 us, "
    "hop_latency: 1 us, efficiency: 1}";
inline const std::vector<Condition> kConditions = {
    {.name = "homogeneous"},
    {.name = "straggler", .stragglers = "[{rank: 5, slowdown: 1.5}]"},
    {.name = "two stragglers", .stragglers = "[{rank: 0, slowdown: 2}, {rank: 9, slowdown: 1.25}]"},
    {.name = "slow GPU", .overrides = "[{node: 3, gpu: 1, slowdown: 1.5}]"},
    {.name = "mixed GPUs", .mixed = true},
    {.name = "degraded NIC", .overrides = "[{link: n2.nic1.up, bandwidth_factor: 0.25}]"},
    {.name = "degraded NVLink", .overrides = "[{link: n6.gpu0.down, bandwidth_factor: 0.1}]"},
    {.name = "uneven leaves", .fabric = kUnevenTree},
    {.name = "all at once",
     .fabric = kUnevenTree,
     .overrides = "[{link: n0.nic0.down, bandwidth_factor: 0.5}]",
     .stragglers = "[{rank: 13, slowdown: 1.2}]",
     .mixed = true},
};

inline const std::string kAlphaBeta = "{model: alpha_beta, algorithm: ring}",
                         kNccl = "{model: nccl}";

inline std::string nodes(const std::string& gpu, int count) {
  return "    - {count: " + std::to_string(count) + ", type: {gpu: ../topologies/gpus/" + gpu +
         ".yaml, gpus: 2,\n"
         "       interconnect: {family: nvlink_switch, bandwidth: 300 GB/s, latency: 2 us, "
         "efficiency: 1},\n"
         "       nics: {count: 2, bandwidth: 200 Gb/s},\n"
         "       nccl: {channels: 12, channel_intra: 20 GB/s, channels_inter: 2,\n"
         "              channel_inter: 24 GB/s, multiprocessors: 108, source: test}}}\n";
}

// The machines of a job, and what is wrong with them.
inline std::string cluster_yaml(const Condition& condition, const std::string& communication) {
  const std::string all_nodes = condition.mixed ? nodes("a100-sxm4-80gb", 4) + nodes("h100-sxm5", 4)
                                                : nodes("a100-sxm4-80gb", 8);
  return "cluster:\n"
         "  nodes:\n" +
         all_nodes + "  fabric: " + condition.fabric + "\n  communication: " + communication +
         "\n  overrides: " + condition.overrides +
         "\n"
         "gpus: 16\n"
         "stragglers: " +
         condition.stragglers + "\n";
}

inline Job job_of(const Setting& strategy, const Condition& condition,
                  const std::string& communication,
                  const std::vector<std::string>& overrides = {}) {
  const std::string yaml =
      "model: {family: gpt, hidden: 1024, layers: 4, heads: 8, vocab: 4096, max_sequence: 256}\n" +
      cluster_yaml(condition, communication) +
      "batch: {global: 32, micro: 1, sequence: 256}\n"
      "precision: {compute: bf16, gradients: fp32}\n" +
      strategy.yaml;
  return load_job_text(yaml, WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml", overrides);
}

}  // namespace windtunnel
