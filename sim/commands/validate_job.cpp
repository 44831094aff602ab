#include "commands/validate_job.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "config/load.hpp"

namespace windtunnel {
namespace {

// Megatron-LM's --make-vocab-size-divisible-by.
constexpr long long kVocabularyUnit = 128;
constexpr long long kUsualGpus = 8;  // of a server

// Thrown inside this file to leave a row.
struct Refused {
  Refusal why;
};
[[noreturn]] void refuse(std::string reason, std::string detail = "") {
  throw Refused{{std::move(reason), std::move(detail)}};
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// What the parts of a row's job share while it is written.
class Mapping {
 public:
  Mapping(const PublishedRow& row, const Rules& rules) : row_(row), rules_(rules) {}
  MappedRow mapped();

 private:
  void check_usable();
  void read_framework();
  void read_layout();
  void read_sizes();
  long long gpus_of_node(const Rule& gpu, long long of_server);
  std::string fabric(const Rule& gpu, long long servers);
  std::string cluster();
  std::string model();
  std::string transformer(const Rule& rule);
  std::string experts();
  std::optional<long long> virtual_stages();
  std::string stage_layers();
  std::string parallel();
  std::string parallel_of_layers();
  std::string precision();
  std::string execution();
  std::string usual(std::string_view key) const;
  std::string recomputation();
  double share_by_utilization() const;

  // The rule for the cell; refuses the row if the rule gives a reason.
  const Rule& rule(std::string_view section, const std::string& cell);
  long long size(std::string_view column) const;  // refuses the row if the cell gives none
  long long size_or(std::string_view column, long long otherwise);
  std::optional<long long> stated_or_usual(std::string_view column, std::string_view key);
  bool is_shorter() const;
  std::string tokens();
  void assume(const std::string& text) {
    if (!text.empty()) result_.assumed.push_back(text);
  }

  void set_node(const std::string& change) {
    result_.overrides.push_back("cluster.nodes.0.type." + change);
  }

  const PublishedRow& row_;
  const Rules& rules_;
  const Rule *framework_ = nullptr, *model_ = nullptr;
  const Rule* layout_ = nullptr;  // null where no rule is of such a run
  MappedRow result_;
  long long gpus_ = 0, tensor_ = 1, pipeline_ = 1, data_ = 1, context_ = 1, chunks_ = 1, micro_ = 1,
            batch_ = 0;
  long long blocks_ = 0;
  bool is_images_ = false;
  std::string schedule_, type_, attention_;
};

const Rule& Mapping::rule(std::string_view section, const std::string& cell) {
  const Rule* found = rules_.find(section, cell);
  if (!found) refuse("a word without a rule", fmt::format("{}: {}", section, cell));
  if (const std::string reason = (*found)["reason"]; !reason.empty()) refuse(reason, cell);
  assume((*found)["note"]);
  return *found;
}

long long Mapping::size(std::string_view column) const {
  const auto value = row_.count(column);
  if (!value) refuse("sizes not stated", std::string(column));
  return *value;
}

long long Mapping::size_or(std::string_view column, long long otherwise) {
  if (const auto value = row_.count(column)) return *value;
  assume(fmt::format("{} {}", column, otherwise));
  return otherwise;
}

// Whether the software runs shorter samples than the row states, as those of these data are.
bool Mapping::is_shorter() const {
  return !(*framework_)["mean_length"].empty() &&
         (*framework_)["data_length"] == row_.text("seq_len");
}

// Tokens of a sample, and what one attends to where samples share a sequence or differ in length.
std::string Mapping::tokens() {
  const std::string stated = std::to_string(size("seq_len"));
  const Rule& lengths = is_shorter() ? *framework_ : *model_;
  std::string text = "sequence: " + stated;
  if (is_shorter()) {
    text = "sequence: " + lengths["mean_length"];
    assume(fmt::format("{} of {} tokens on average", lengths["mean_length"], stated));
  }
  const std::string attended = lengths["attended_length"];
  if (attended.empty()) return text;
  assume(fmt::format("a token attends to {}", attended));
  return text + ", attended_length: " + attended;
}

void Mapping::check_usable() {
  const std::string status = row_.text("status"), provenance = row_.text("provenance");
  if (status != "ok" && status != "OOM" && !status.empty())
    refuse("the run ended otherwise", status);
  if (provenance == "analytical" || provenance == "memory") refuse("not a measurement", provenance);
  if (provenance == "secondary") refuse("quoted by somebody else");
  const std::string flags = row_.text("flags");
  if (const Rule* flag = rules_.find("flags", flags)) refuse((*flag)["reason"], flags);
  const std::string notes = row_.text("notes");
  if (const Rule* found = rules_.find("notes", notes)) {
    if (const std::string reason = (*found)["reason"]; !reason.empty()) refuse(reason);
    assume((*found)["note"]);
  }
  if (status == "OOM" || published_time(row_) || published_memory(row_)) return;
  if (contains(notes, "inverted from MFU")) refuse("only an MFU is published");
  if (!row_.text("samples_per_s").empty() || !row_.text("tokens_per_s_per_gpu").empty())
    refuse("sizes not stated", "gbs");
  refuse("no time published");
}

void Mapping::read_framework() {
  const std::string cell = row_.text("framework") + " | " + row_.text("source") + " | " +
                           row_.text("source_ref") + " | " + row_.text("flash_attn");
  framework_ = &rule("frameworks", cell);
  assume("software as " + (*framework_)["name"]);
}

// Where a source's rows leave out what its published configurations say of such runs.
void Mapping::read_layout() {
  const std::string model = row_.text("model"), gpu = row_.text("gpu_type");
  const std::string cell = fmt::format("{} on {} x {} by {} | {} on {}", model, row_.text("gpus"),
                                       gpu, row_.text("framework"), model, gpu);
  layout_ = rules_.find("layouts", cell);
  if (!layout_) return;
  if (const std::string reason = (*layout_)["reason"]; !reason.empty()) refuse(reason, cell);
  assume((*layout_)["note"]);
}

std::optional<long long> Mapping::stated_or_usual(std::string_view column, std::string_view key) {
  const auto stated = row_.count(column);
  if (stated || !layout_ || (*layout_)[key].empty()) return stated;
  assume(fmt::format("{} {} as its source's configurations", column, (*layout_)[key]));
  return std::stoll((*layout_)[key]);
}

void Mapping::read_sizes() {
  gpus_ = size("gpus");
  const bool is_stated = row_.count("tp").has_value();
  const auto tensor = stated_or_usual("tp", "tensor");
  tensor_ = tensor ? *tensor : size("tp");
  pipeline_ = tensor && !is_stated ? row_.count("pp").value_or(1) : size("pp");
  context_ = (is_stated ? row_.count("cp") : stated_or_usual("cp", "context")).value_or(1);
  const long long others = tensor_ * pipeline_ * context_;
  if (const auto data = row_.count("dp"))
    data_ = *data;
  else if (gpus_ % others == 0)
    data_ = gpus_ / others;
  else
    refuse("parallel sizes that do not multiply");
  if (data_ * others != gpus_)
    refuse("parallel sizes that do not multiply",
           fmt::format("{} x {} x {} x {} is not {}", data_, context_, tensor_, pipeline_, gpus_));
  const auto batch = published_batch(row_), micro = stated_or_usual("mbs", "micro_batch");
  const auto steps = row_.count("grad_accum");
  if (!batch) refuse("sizes not stated", "gbs");
  if (!row_.count("gbs") && !steps) assume("no gradient accumulation");
  batch_ = *batch;
  if (micro) {
    micro_ = *micro;
  } else if (steps || is_images_) {
    micro_ = std::max(1LL, batch_ / (data_ * steps.value_or(1)));
    assume(fmt::format("mbs {}", micro_));
  } else {
    constexpr long long kLargest = 16;
    for (long long size = 1; size <= kLargest && batch_ % (data_ * size) == 0; size *= 2)
      result_.micro_batches.push_back(size);
  }
}

// Servers that NVLink joins are one node here: of a job its most GPUs that divide it evenly.
long long Mapping::gpus_of_node(const Rule& gpu, long long of_server) {
  const std::string domain = gpu["nvlink_domain"];
  if (domain.empty()) return of_server;
  long long gpus = std::min(gpus_, std::stoll(domain) / of_server * of_server);
  while (gpus > of_server && (gpus_ % gpus != 0 || gpus % of_server != 0)) --gpus;
  assume(fmt::format("{} GPUs in an NVLink domain", gpus));
  return gpus;
}

// The network that the row, its software or its GPU names. `servers`: that NVLink joins to a node.
std::string Mapping::fabric(const Rule& gpu, long long servers) {
  const std::string stated = row_.text("inter_node");
  const Rule* found = stated.empty() ? nullptr : rules_.find("fabrics", stated);
  if (!found) {
    const std::string assumed =
        (*framework_)["fabric"].empty() ? gpu["fabric"] : (*framework_)["fabric"];
    assume("fabric " + assumed);
    found = rules_.find("fabrics", assumed);
    if (!found) refuse("a word without a rule", "fabrics: " + assumed);
  }
  assume((*found)["note"]);
  set_node(fmt::format("nics.count={}", servers * std::stoll((*found)["nics"])));
  set_node("nics.bandwidth=" + (*found)["rate"]);
  set_node(fmt::format("nccl.channels_inter={}", servers * std::stoll((*found)["channels"])));
  set_node("nccl.channel_inter=" + (*found)["channel"]);
  return ", fabric: " + (*found)["fabric"];
}

std::string Mapping::cluster() {
  if (row_.text("gpu_type").empty()) refuse("no GPU stated");
  const Rule& gpu = rule("gpus", row_.text("gpu_type"));
  if (const std::string types = gpu["types"]; !contains(types, " " + type_ + " "))
    refuse("no efficiency curves of this number format", type_);
  const long long of_server = size_or("gpus_per_node", kUsualGpus);
  const long long per_node = gpus_of_node(gpu, of_server);
  const long long nodes = (gpus_ + per_node - 1) / per_node;
  for (const std::string& change : gpu.set) set_node(change);
  if (const std::string file = gpu["gpu"]; !file.empty()) {
    const auto folder = std::filesystem::path(rules_.path).parent_path();
    result_.overrides.insert(
        result_.overrides.begin(),
        "cluster.nodes.0.type.gpu=" + (folder / file).lexically_normal().string());
  }
  if (per_node != kUsualGpus && (nodes > 1 || gpus_ > kUsualGpus))
    set_node(fmt::format("gpus={}", per_node));
  return fmt::format(
      "cluster: {{name: published, nodes: [{{type: {}, count: {}}}]{}, "
      "communication: {{model: nccl}}}}\n",
      gpu["node"], nodes, nodes > 1 ? fabric(gpu, per_node / of_server) : "");
}

std::string Mapping::transformer(const Rule& rule) {
  const long long hidden = size("hidden"), heads = size("heads");
  blocks_ = size("layers");
  long long vocabulary = rule["family"] == "bert" ? size_or("vocab", 30522) : size("vocab");
  const long long unit = kVocabularyUnit * tensor_;
  const std::string pads = (*framework_)["pads"];
  if (vocabulary % unit != 0 && (pads == "true" || (pads == "split" && tensor_ > 1))) {
    vocabulary = (vocabulary + unit - 1) / unit * unit;
    assume(fmt::format("vocabulary padded to {}", vocabulary));
  }
  const long long key_heads = row_.count("kv_heads").value_or(heads);
  const long long head = row_.count("head_dim").value_or(hidden / heads);
  long long ffn = row_.count("ffn").value_or(4 * hidden);
  if (const std::string of_dense_blocks = rule["ffn"]; !of_dense_blocks.empty())
    ffn = std::stoll(of_dense_blocks);
  std::string family = rule["family"];
  // A GPT whose shape says that it is of the later kind.
  const bool is_later = key_heads != heads || head * heads != hidden || ffn % (4 * hidden) != 0;
  if (family == "gpt" && is_later && rule["extra"].empty()) {
    family = "llama";
    assume("family llama by its shape");
  }
  std::string text = fmt::format(
      "model: {{name: published, family: {}, layers: {}, hidden: {}, heads: {}, "
      "ffn: {}, vocab: {}",
      family, blocks_, hidden, heads, ffn, vocabulary);
  if (family == "llama") text += fmt::format(", kv_heads: {}, head_size: {}", key_heads, head);
  if (family != "llama") text += fmt::format(", max_sequence: {}", size("seq_len"));
  // The part of the positions that the head of an encoder runs on, by the framework's scripts.
  if (const std::string masked = (*framework_)["masked"]; family == "bert" && !masked.empty()) {
    text += ", masked: " + masked;
    assume("the head runs on a part of the positions: " + masked);
  }
  if (!rule["extra"].empty()) text += ", " + rule["extra"];
  return text + experts() + "}\n";
}

std::string Mapping::experts() {
  const auto experts = row_.count("experts");
  if (!experts) return "";
  assume("every expert gets the same number of tokens");
  return fmt::format(", experts: {}, experts_per_token: {}", *experts, size("topk"));
}

// As the row says, or else as the model's recipe where the stages divide like that, or one layer
// each where the source says that transfers are overlapped.
std::optional<long long> Mapping::virtual_stages() {
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

std::string Mapping::model() {
  const std::string cell = row_.text("model") + " | " + row_.text("arch");
  const Rule& found = rule("models", cell);
  model_ = &found;
  is_images_ = found["images"] == "true";
  read_sizes();
  return found["model"].empty() ? transformer(found) : fmt::format("model: {}\n", found["model"]);
}

// Where blocks alone do not divide: as the notes say it, or with embedding and head as layers, or
// as evenly as it goes.
std::string Mapping::stage_layers() {
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
std::string Mapping::parallel_of_layers() {
  std::string text;
  if (context_ > 1) {
    const bool exchanges_heads = contains(row_.text("notes"), "CP uses all-to-all") ||
                                 (layout_ && (*layout_)["context_parallel"] == "ulysses");
    if (!exchanges_heads) assume("context parallel ring");
    text += fmt::format(", context: {}, context_parallel: {}", context_,
                        exchanges_heads ? "ulysses" : "ring");
  }
  if (!row_.count("experts")) return text;
  const long long expert = size_or("ep", 1), stage = tensor_ * data_ * context_;
  // Megatron-LM splits experts as the other weights unless it is told otherwise.
  const bool is_default_possible = stage % (expert * tensor_) == 0;
  const long long split = tensor_ == 1 ? row_.count("etp").value_or(1)
                                       : size_or("etp", is_default_possible ? tensor_ : 1);
  return text + fmt::format(", expert: {}, expert_tensor: {}", expert, split);
}

std::string Mapping::parallel() {
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

std::string Mapping::precision() {
  std::string stated = row_.text("precision");
  const bool is_stated =
      !stated.empty() && !contains(stated, "(NA)") && !contains(stated, "fp8 or fp4");
  if (!is_stated && layout_ && !(*layout_)["precision"].empty()) {
    stated = (*layout_)["precision"];
    assume("precision " + stated + " as its source's configurations");
  }
  const Rule& found = rule("precisions", stated);
  type_ = found["type"];
  attention_ = found["attention"];
  if (stated.starts_with("NA") || contains(stated, "assumed") || contains(stated, "not stated"))
    assume("precision " + type_);
  std::string gradients = (*framework_)["gradients"];
  // Composer names so the mode without fp32 anywhere.
  if (contains(stated, "PURE")) gradients = "same";
  if (contains(stated, "fp32 gradient")) gradients = "fp32";
  if (gradients == "fp32 for bf16") gradients = type_ == "bf16" ? "fp32" : "same";
  // No software here reduces fp8 or fp4.
  if (gradients == "same") gradients = type_ == "fp8" || type_ == "fp4" ? "bf16" : type_;
  return fmt::format("precision: {{compute: {}, gradients: {}}}\n", type_, gradients);
}

// The layout's word goes before the framework's.
std::string Mapping::usual(std::string_view key) const {
  const std::string of_layout = layout_ ? (*layout_)[key] : "";
  return of_layout.empty() ? (*framework_)[key] : of_layout;
}

std::string Mapping::execution() {
  std::string text;
  if (!schedule_.empty()) text += fmt::format("schedule: {}\n", schedule_);
  std::string attention = row_.text("flash_attn");
  if (attention.empty()) {
    attention = attention_.empty() ? (*framework_)["attention"] : attention_;
    if (!is_images_) assume("attention " + attention);
  }
  const Rule& core = rule("attention", attention);
  std::string kernel = core["attention"];
  const bool is_fused_somehow = attention == "yes" || contains(attention, "fused attention");
  if (const std::string usual = (*framework_)["fused_attention"];
      is_fused_somehow && !usual.empty())
    kernel = usual;
  text += fmt::format("attention: {}\n", kernel);
  const std::string kernels = core["kernels"].empty() ? (*framework_)["kernels"] : core["kernels"];
  if (!kernels.empty()) text += fmt::format("kernels: {}\n", kernels);
  for (const char* key :
       {"data_parallel", "pipeline_transfer", "gradient_accumulation", "host", "software"})
    if (const std::string value = usual(key); !value.empty())
      text += fmt::format("{}: {}\n", key, value);
  if (is_images_) text += "optimizer: sgd\ngradient_clipping: false\n";
  return text + recomputation();
}

// What recomputes; where only a part of the blocks does, how many of a stage.
std::string Mapping::recomputation() {
  const Rule& stated = rule("recompute", row_.text("recompute"));
  std::string recompute = stated["recompute"];
  double share = stated["share"].empty() ? 1 : std::stod(stated["share"]);
  if (recompute == "selective" && !(*framework_)["selective"].empty())
    recompute = (*framework_)["selective"];
  if (recompute == "blocks") {
    share = share_by_utilization();
    recompute = share > 0 ? "full" : "none";
  }
  std::string of_layout;
  if (const std::string word = usual("recompute"); recompute == "least" && !word.empty()) {
    recompute = word;
    assume("recompute " + word + " as its recipes");
    if (layout_) of_layout = (*layout_)["recompute_layers"];
  }
  result_.recompute = {recompute};
  if (recompute == "least") result_.recompute = {"none", "selective", "full"};
  if (is_images_) result_.recompute = {"none"};
  if (!of_layout.empty()) return fmt::format("recompute_layers: {}\n", of_layout);
  if (share == 0 || share == 1) return "";
  const long long of_stage = blocks_ / (pipeline_ * chunks_);
  const long long count = std::max(1LL, std::llround(share * double(of_stage)));
  assume(fmt::format("{} of {} blocks recompute", count, of_stage));
  return fmt::format("recompute_layers: {}\n", count);
}

// Hardware FLOPs count a forward pass more, a third of the model's, where a block recomputes.
double Mapping::share_by_utilization() const {
  const auto model = row_.number("mfu_pct"), hardware = row_.number("hfu_pct");
  if (!model || !hardware) refuse("how many blocks recompute is not stated");
  return std::clamp(3 * (*hardware / *model - 1), 0.0, 1.0);
}

MappedRow Mapping::mapped() {
  if (const std::string job = row_.text("job"); !job.empty()) {
    result_.job = job;
    return result_;
  }
  try {
    check_usable();
    read_framework();
    read_layout();
    const std::string numbers = precision(), what = model(), where = cluster(), how = parallel();
    result_.text = what + where + fmt::format("gpus: {}\n", gpus_) + how;
    result_.text += is_images_ ? fmt::format("batch: {{global: {}, micro: {}}}\n", batch_, micro_)
                               : fmt::format("batch: {{global: {}, micro: {}, {}}}\n", batch_,
                                             micro_, tokens());
    result_.text += numbers + execution();
  } catch (Refused& refused) {
    result_ = {};
    result_.refusal = std::move(refused.why);
  }
  return result_;
}

}  // namespace

std::string MappedRow::key() const {
  return fmt::format("{}\n{}\n{}\n{}\n{}", job, text, fmt::join(overrides, "\n"),
                     fmt::join(recompute, " "), fmt::join(micro_batches, " "));
}

MappedRow mapped_row(const PublishedRow& row, const Rules& rules) {
  return Mapping(row, rules).mapped();
}

Job job_of(const MappedRow& mapped, std::string_view recompute, long long micro_batch,
           const Rules& rules) {
  if (!mapped.job.empty()) return load_job(mapped.job);
  std::vector<std::string> overrides = mapped.overrides;
  if (micro_batch > 0) overrides.push_back(fmt::format("batch.micro={}", micro_batch));
  return load_job_text(mapped.text + fmt::format("recompute: {}\n", recompute), rules.path,
                       overrides);
}

}  // namespace windtunnel
