// libFuzzer target over the loaders: whatever the text is, each of them returns or throws
// ConfigError. Text that starts with "--set " is an option on top of a job instead.
//
//     cmake --preset fuzz && cmake --build --preset fuzz
//     mkdir -p build/fuzz/corpus
//     build/fuzz/tests/fuzz_loaders -dict=tests/fuzz/keys.dict build/fuzz/corpus \
//         topologies workloads tests/bad_yaml
//
// Run it in the root of the tree: files that a text names are opened, as if it stood in workloads/.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/config_error.hpp"
#include "config/load.hpp"

namespace {

constexpr std::string_view kOption = "--set ";

template <class Load>
void tolerate_config_error(const Load& load) {
  try {
    load();
  } catch (const windtunnel::ConfigError&) {
    // What is meant to happen to most inputs.
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.starts_with(kOption)) {
    const std::string option(text.substr(kOption.size()));
    tolerate_config_error(
        [&] { windtunnel::load_job("workloads/gpt2-124m-straggler.yaml", {option}); });
    return 0;
  }
  for (std::size_t kind = 0; kind < windtunnel::kFileKindNames.size(); ++kind)
    tolerate_config_error(
        [&] { windtunnel::check_text(windtunnel::FileKind(kind), text, "workloads/fuzz.yaml"); });
  return 0;
}
