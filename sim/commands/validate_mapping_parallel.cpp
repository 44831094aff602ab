#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>

#include "commands/validate_mapping.hpp"

namespace windtunnel {

// As the row says, or else as the model's recipe where the stages divide like that, or one layer
// each where the source says that transfers are overlapped.
std::optional<long long> RowMapping::virtual_stages() {
  const auto stated = row_.count("vpp");
  if (stated) return stated;
  long long chunks = 0;
  if (const std::string usual = (*model_)["virtual_stages"]; !usual.empty())
    chunks = std::stoll(usual);
  else if ((*framework_)["one_layer_stages"] == "true")
    chunks = blocks_ / pipeline_;
  if (chunks == 0 || blocks_ % (pipeline_ * chunks) != 0) return std::nullopt;
  assume(fmt::format("virtual stages {} as its recipe", chunks));
  return chunks;
}

// Where blocks alone do not divide: as the notes say it, or with embedding and head as layers, or
// as evenly as it goes.
std::string RowMapping::stage_layers() {
  const long long stages = pipeline_ * chunks_;
  const std::string notes = row_.text("notes"), words = "layers per stage ";
  if (const auto at = notes.find(words); at != std::string::npos && stages > 1) {
    std::vector<long long> layers;
    const char* next = notes.data() + at + words.size();
    const char* end = notes.data() + notes.size();
    for (long long value = 0;; ++next) {
      const auto [rest, error] = std::from_chars(next, end, value);
      if (error != std::errc()) break;
      layers.push_back(value);
      next = rest;
      if (next == end || *next != '/') break;
    }
    const long long sum = std::accumulate(layers.begin(), layers.end(), 0LL);
    if (std::ssize(layers) == stages && sum == blocks_ + 2)
      return fmt::format(", layers_per_stage: [{}]", fmt::join(layers, ", "));
  }
  if (stages <= 1 || blocks_ == 0 || blocks_ % stages == 0) return "";
  std::vector<long long> layers(std::size_t(stages), (blocks_ + 2) / stages);
  if ((blocks_ + 2) % stages == 0) {
    assume("embedding and head count as layers of the stages");
  } else {
    for (long long i = 0; i < stages; ++i)
      layers[std::size_t(i)] = blocks_ * (i + 1) / stages - blocks_ * i / stages;
    ++layers.front();
    ++layers.back();
    assume("blocks spread over the stages as evenly as they can");
  }
  return fmt::format(", layers_per_stage: [{}]", fmt::join(layers, ", "));
}

// How layers are shared besides by tensor parallelism.
std::string RowMapping::parallel_of_layers() {
  std::string text;
  if (context_ > 1) {
    const bool exchanges_heads = contains(row_.text("notes"), "CP uses all-to-all") ||
                                 (layout_ && (*layout_)["context_parallel"] == "ulysses");
    if (!exchanges_heads) assume("context parallel ring");
    text += fmt::format(", context: {}, context_parallel: {}", context_,
                        exchanges_heads ? "ulysses" : "ring");
  }
  // A model of known sizes may have experts of which the row says no more than how they are spread.
  if (!row_.count("experts") && row_.count("ep").value_or(1) == 1) return text;
  const long long expert = size_or("ep", 1), stage = tensor_ * data_ * context_;
  // Megatron-LM splits experts as the other weights unless it is told otherwise.
  const bool is_default_possible = stage % (expert * tensor_) == 0;
  const long long split = tensor_ == 1 ? row_.count("etp").value_or(1)
                                       : size_or("etp", is_default_possible ? tensor_ : 1);
  text += fmt::format(", expert: {}, expert_tensor: {}", expert, split);
  if (expert == 1 || !layout_) return text;
  if (const std::string dispatch = (*layout_)["expert_dispatch"]; !dispatch.empty()) {
    assume(dispatch + " dispatch as its recipe");
    text += ", expert_dispatch: " + dispatch;
  }
  if ((*layout_)["overlap_experts"] == "true") {
    assume("exchanges beside another micro-batch as its recipe");
    text += ", overlap_experts: true";
  }
  return text;
}

std::string RowMapping::parallel() {
  schedule_ = "";
  if (pipeline_ > 1) {
    const std::string stated = row_.text("schedule");
    schedule_ = rule("schedules", stated)["schedule"];
    const auto chunks = virtual_stages();
    if (schedule_ == "zb-v") chunks_ = 2;
    if (schedule_ == "interleaved" && !chunks) refuse("sizes not stated", "vpp");
    if (schedule_ == "1f1b" || schedule_ == "interleaved") {
      chunks_ = chunks.value_or(1);
      schedule_ = chunks_ > 1 ? "interleaved" : "1f1b";
      if (stated.empty()) assume("schedule " + schedule_);
    }
  }
  std::string text =
      fmt::format("parallel: {{data: {}, tensor: {}, pipeline: {}", data_, tensor_, pipeline_);
  if (chunks_ > 1) text += fmt::format(", virtual_stages: {}", chunks_);
  text += stage_layers() + parallel_of_layers();
  std::string sequence = row_.text("seq_parallel");
  if (sequence.empty() && tensor_ > 1) {
    sequence = (*framework_)["sequence_parallel"] == "true" ? "yes" : "no";
    assume("sequence parallel " + sequence);
  }
  if (sequence.starts_with("yes") && tensor_ > 1) text += ", sequence_parallel: true";
  std::string zero = row_.text("zero_stage");
  if (zero.empty()) {
    zero = (*framework_)["zero_stage"];
    if (data_ * context_ > 1) assume("zero stage " + zero);
  }
  const bool keeps_weights = zero == "2";  // SHARD_GRAD_OP
  if (const std::string version = (*framework_)["fsdp"];
      !version.empty() && (keeps_weights || zero == "3"))
    return text + fmt::format(", zero_stage: 3, fsdp: {{{}{}}}}}\n",
                              version == "lists" ? "tensor_lists: true" : "version: " + version,
                              keeps_weights ? ", reshard_after_forward: false" : "");
  const long long of_server = row_.count("gpus_per_node").value_or(kUsualGpus);
  if ((*framework_)["shard"] == "server" && of_server > 1 && of_server < data_ &&
      data_ % of_server == 0)
    text += fmt::format(", shard: {}", of_server);
  return text + fmt::format(", zero_stage: {}}}\n", zero);
}

}  // namespace windtunnel
