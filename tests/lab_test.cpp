// The clusters of topologies/clusters/lab-*.yaml against what Gloo took on such hosts: an
// all-reduce of 16 MiB over all four, measured on network namespaces with tc htb.
#include <string>

#include "catch.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"

namespace windtunnel {

namespace {

double all_reduce_ms(const std::string& cluster) {
  Plan plan;
  plan.grid = {.data = 4, .shard_ranks = 4};
  plan.programs = {{.ops = {{.kind = OpKind::Collective,
                             .stream = Stream::Communication,
                             .purpose = Purpose::GradientReduction,
                             .bytes = Bytes(16 * 1024 * 1024)}}}};
  const ClusterSpec spec =
      load_cluster(WINDTUNNEL_SOURCE_DIR "/topologies/clusters/" + cluster + ".yaml");
  return simulate(plan, build_cluster(spec), {}).end.value * 1e3;
}

}  // namespace

TEST_CASE("lab: an all-reduce takes what it took") {
  CHECK(all_reduce_ms("lab-core") == Approx(1053.1).epsilon(0.002));
  CHECK(all_reduce_ms("lab-uneven") == Approx(2106).epsilon(0.002));  // the best of several
}

TEST_CASE("lab: an all-reduce is 1.5 S / g, one message and one operation") {
  // g = 0.9564 of 1 Gb/s and 200 Mb/s: 210.50 and 1052.52 ms; 28 and 30 us.
  CHECK(all_reduce_ms("lab-4-1g") ==
        Approx(1.5 * 16777216 / (0.9564 * 125e6) * 1e3 + 0.058).epsilon(1e-6));
  CHECK(all_reduce_ms("lab-4-200m") ==
        Approx(1.5 * 16777216 / (0.9564 * 25e6) * 1e3 + 0.058).epsilon(1e-6));
}

}  // namespace windtunnel
