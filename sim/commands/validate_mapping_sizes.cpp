#include <fmt/format.h>

#include <algorithm>

#include "commands/validate_mapping.hpp"

namespace windtunnel {

// Whether the software runs shorter samples than the row states, as those of these data are.
bool RowMapping::is_shorter() const {
  return !(*framework_)["mean_length"].empty() &&
         (*framework_)["data_length"] == row_.text("seq_len");
}

// Tokens of a sample, and what one attends to where samples share a sequence or differ in length.
std::string RowMapping::tokens() {
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

std::optional<long long> RowMapping::stated_or_usual(std::string_view column,
                                                     std::string_view key) {
  const auto stated = row_.count(column);
  if (stated || !layout_ || (*layout_)[key].empty()) return stated;
  assume(fmt::format("{} {} as its source's configurations", column, (*layout_)[key]));
  return std::stoll((*layout_)[key]);
}

void RowMapping::read_sizes() {
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

}  // namespace windtunnel
