#include "backend/model/data.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <vector>

#include "backend/model/context_parallel.hpp"
#include "base/mix.hpp"

namespace windtunnel {
namespace {

constexpr std::int64_t kColors = 3;

std::int64_t classes_of(const Parameters& parameters) {
  return parameters.count(parameters.has("classes") ? "classes" : "outputs");
}

at::Generator generator_of(std::uint64_t seed, std::int64_t step, std::int64_t sample) {
  return at::make_generator<at::CPUGeneratorImpl>(
      mix(mix(mix(seed) + std::uint64_t(step)) + std::uint64_t(sample)));
}

}  // namespace

Data::Data(const Job& job, std::uint64_t seed) : job_(job), seed_(seed) {
  if (job.data) samples_ = read_samples(*job.data);
}

MicroBatch Data::micro_batch(const LayerContext& context, std::int64_t step,
                             std::int64_t first_sample) {
  const MicroBatch batch =
      samples_.images.defined() ? stored(step, first_sample) : synthetic(step, first_sample);
  const at::ScalarType type = job_.model.family->is_sequence ? at::kLong : context.type;
  const auto own = [&](const at::Tensor& tokens) {
    return context.context_size() > 1 ? own_tokens(tokens.t(), context).t() : tokens;
  };
  return {own(batch.input).to(context.device, type), own(batch.target).to(context.device)};
}

MicroBatch Data::synthetic(std::int64_t step, std::int64_t first_sample) const {
  const Parameters& parameters = job_.model.parameters;
  std::vector<at::Tensor> inputs, targets;
  for (int i = 0; i < job_.batch.micro; ++i) {
    const at::Generator generator = generator_of(seed_, step, first_sample + i);
    if (job_.model.family->is_sequence) {
      // The target of a token is the next one.
      const std::int64_t tokens = job_.batch.sequence;
      const at::Tensor words =
          at::randint(0, parameters.count("vocab"), {tokens + 1}, generator, at::kLong);
      inputs.push_back(words.narrow(0, 0, tokens));
      targets.push_back(words.narrow(0, 1, tokens));
      continue;
    }
    const std::vector<std::int64_t> shape =
        parameters.has("image") ? std::vector<std::int64_t>{kColors, parameters.count("image"),
                                                            parameters.count("image")}
                                : std::vector<std::int64_t>{parameters.count("inputs")};
    inputs.push_back(at::randn(shape, generator, at::kFloat));
    targets.push_back(at::randint(0, classes_of(parameters), {}, generator, at::kLong));
  }
  return {at::stack(inputs), at::stack(targets)};
}

MicroBatch Data::stored(std::int64_t step, std::int64_t first_sample) {
  std::vector<std::int64_t> places;
  for (int i = 0; i < job_.batch.micro; ++i)
    places.push_back(place_of(step * job_.batch.global + first_sample + i));
  const at::Tensor index = at::tensor(places, at::kLong);
  at::Tensor images = samples_.images.index_select(0, index).to(at::kFloat).div_(127.5).sub_(1);
  if (job_.model.parameters.has("inputs"))
    images = images.flatten(1);
  else if (images.size(1) == 1)
    images = images.repeat({1, kColors, 1, 1});
  return {images, samples_.labels.index_select(0, index)};
}

// Of the sample that a run uses as its `sample`-th.
std::int64_t Data::place_of(std::int64_t sample) {
  const std::int64_t count = samples_.labels.size(0), pass = sample / count;
  auto order = orders_.find(pass);
  if (order == orders_.end()) {
    std::erase_if(orders_, [&](const auto& other) { return other.first + 1 < pass; });
    order =
        orders_.emplace(pass, at::randperm(count, generator_of(seed_, pass, 0), at::kLong)).first;
  }
  return order->second.data_ptr<std::int64_t>()[sample % count];
}

}  // namespace windtunnel
