// config.json files as the Hugging Face hub holds them, shortened, and the published parameter
// counts of their models.
#include <filesystem>
#include <fstream>
#include <string>

#include "catch.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"

using namespace windtunnel;
namespace fs = std::filesystem;

namespace {

// A folder with a config.json, gone at the end of the test.
class ModelFolder {
 public:
  ModelFolder(const std::string& name, const std::string& config)
      : root_(fs::temp_directory_path() / fs::path("windtunnel_" + name)), path_(root_ / name) {
    fs::create_directories(path_);
    std::ofstream(path_ / "config.json") << config;
  }
  ~ModelFolder() { fs::remove_all(root_); }
  ModelFolder(const ModelFolder&) = delete;
  ModelFolder& operator=(const ModelFolder&) = delete;

  std::string path() const { return path_.string(); }
  std::string file() const { return (path_ / "config.json").string(); }

 private:
  fs::path root_, path_;
};

}  // namespace

TEST_CASE("gpt2 of the hub") {
  const ModelFolder folder("gpt2", R"({
  "activation_function": "gelu_new",
  "architectures": [
    "GPT2LMHeadModel"
  ],
  "attn_pdrop": 0.1,
  "bos_token_id": 50256,
  "initializer_range": 0.02,
  "layer_norm_epsilon": 1e-05,
  "model_type": "gpt2",
  "n_ctx": 1024,
  "n_embd": 768,
  "n_head": 12,
  "n_inner": null,
  "n_layer": 12,
  "n_positions": 1024,
  "task_specific_params": {
    "text-generation": {
      "do_sample": true,
      "max_length": 50
    }
  },
  "vocab_size": 50257
}
)");
  for (const std::string& path : {folder.path(), folder.file()}) {
    const Model model = load_model(path);
    CHECK(model.name == "gpt2");
    CHECK(model.parameter_count() == 124439808);
  }
  CHECK(check_file(folder.path()) == FileKind::Model);
}

TEST_CASE("Llama of the hub, with tabs and a path as its name") {
  const ModelFolder folder("llama", R"({
	"_name_or_path": "meta-llama/Meta-Llama-3-8B",
	"architectures": ["LlamaForCausalLM"],
	"attention_bias": false,
	"hidden_act": "silu",
	"hidden_size": 4096,
	"intermediate_size": 14336,
	"max_position_embeddings": 8192,
	"model_type": "llama",
	"num_attention_heads": 32,
	"num_hidden_layers": 32,
	"num_key_value_heads": 8,
	"rope_scaling": null,
	"rope_theta": 500000.0,
	"tie_word_embeddings": false,
	"vocab_size": 128256
})");
  const Model model = load_model(folder.path());
  CHECK(model.name == "Meta-Llama-3-8B");
  CHECK(model.parameter_count() == 8030261248);
}

TEST_CASE("BERT of the hub") {
  const ModelFolder folder("bert-base-uncased", R"({"architectures": ["BertForPreTraining"],
  "hidden_size": 768, "intermediate_size": 3072, "max_position_embeddings": 512,
  "model_type": "bert", "num_attention_heads": 12, "num_hidden_layers": 12,
  "type_vocab_size": 2, "vocab_size": 30522})");
  CHECK(load_model(folder.path()).parameter_count() == 110106428);
}

TEST_CASE("a job may name a folder of the hub") {
  const ModelFolder folder("tiny", R"({"model_type": "gpt2", "n_embd": 64, "n_head": 4,
  "n_layer": 2, "n_positions": 128, "vocab_size": 1000})");
  const Job job = load_job_text("model: " + folder.path() + R"(
cluster: ../topologies/clusters/single-8xh100.yaml
gpus: 1
batch: {global: 4, micro: 4, sequence: 128}
precision: bf16
)",
                                WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml");
  CHECK(job.model.name == "tiny");
  CHECK(job.model.layers.size() == 4);
}

TEST_CASE("what the family does not have is refused") {
  const ModelFolder folder("biased", R"({"model_type": "llama", "hidden_size": 64,
"intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 100,
"attention_bias": true})");
  CHECK_THROWS_AS(load_model(folder.path()), ConfigError);
}
