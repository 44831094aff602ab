// The model of given times.
#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {

TEST_CASE("Synthetic layers have the times of the file") {
  const Model model = synthetic();
  REQUIRE(model.layers.size() == 3);
  for (int i = 0; i < 3; ++i) {
    const LayerWork work = layer_work(model, i, {.micro_batch = 7});
    REQUIRE(work.forward.size() == 1);
    CHECK(work.forward.front().name == "forward");
    CHECK(std::get<Work>(work.forward.front().what).op == OpClass::Fixed);
    CHECK(sums_of(work.forward).duration == Seconds(0.001));
    CHECK(sums_of(work.backward_input).duration == Seconds(0.001 * (i + 1)));
    CHECK(sums_of(work.backward_weight).duration == Seconds(0.0005));
    CHECK(sums_of(work.backward).duration == Seconds(0.001 * (i + 1) + 0.0005));
    CHECK(work.backward.size() == 1);
    CHECK(work.output == Bytes(1024));
    CHECK(work.activation == Bytes(4096));
    CHECK(work.forward_flops == Flops(0));
    CHECK(model.layers[std::size_t(i)].parameters() == 100);
  }
}

TEST_CASE("Full recomputation of a synthetic layer keeps its input") {
  const LayerWork work = layer_work(synthetic(), 0, {.recompute = Recompute::Full});
  CHECK(sums_of(work.recompute).duration == Seconds(0.001));
  CHECK(work.activation == Bytes(1024));
  CHECK(work.recompute_buffer == Bytes(3072));
}

TEST_CASE("Synthetic dimensions that do not fit") {
  const ModelFamily* family = find_model_family("synthetic");
  Values values = {{"layers", {3}},           {"forward", {0.001, 0.002}},
                   {"backward_input", {0.1}}, {"backward_weight", {0.1}},
                   {"message", {0}},          {"activation", {0}}};
  CHECK(family->limits(parameters_of(*family, values)) ==
        "forward has 2 values for 3 layers; expected one, or one for each");
  values[1].second = {0.001};
  CHECK(family->limits(parameters_of(*family, values)).empty());
  CHECK(model_of("synthetic", values).parameter_count() == 0);
  values.push_back({"layer_bytes", {6}});
  CHECK(family->limits(parameters_of(*family, values)) ==
        "layer_bytes is not a multiple of 4 bytes, the size of a parameter");
}

}  // namespace windtunnel
