// What links carry: the same by link and over time, folded and in full.
#include <map>
#include <string>

#include "catch.hpp"
#include "config/load.hpp"
#include "engine/activity.hpp"
#include "engine/simulate.hpp"

namespace windtunnel {

namespace {

// Bytes by link class, from the loads of single links and from the bins over time.
struct Carried {
  std::map<LinkClass, double> by_link, over_time;
};

Carried carried(const Trace& trace, const Cluster& cluster) {
  Carried sum;
  for (const LinkLoad& load : trace.links)
    sum.by_link[cluster.links[std::size_t(load.link)].kind] += load.bytes.value * load.represented;
  for (const ClassActivity& activity : trace.activity)
    for (const Bytes bytes : activity.bytes) sum.over_time[activity.kind] += bytes.value;
  return sum;
}

const std::string kJob = R"(
model: models/gpt3-1.3b.yaml
cluster: ../topologies/clusters/selene.yaml
gpus: 32
parallel: {tensor: 4, pipeline: 2, data: 4, sequence_parallel: true}
batch: {global: 32, micro: 1, sequence: 2048}
precision: bf16
schedule: 1f1b
)";

}  // namespace

TEST_CASE("links carry the same bytes at every fidelity by link and over time") {
  std::map<LinkClass, double> expected;
  for (const std::string fidelity : {"full", "stage", "folded"}) {
    const Job job = load_job_text(kJob, std::string(WINDTUNNEL_SOURCE_DIR) + "/workloads/job.yaml",
                                  {"fidelity=" + fidelity});
    const Plan plan = build_plan(job);
    const Cluster cluster = build_cluster(job.cluster, job.gpus);
    const Trace trace = simulate(plan, cluster, conditions_of(job));
    const Carried sum = carried(trace, cluster);
    INFO(fidelity);
    CHECK(sum.by_link.contains(LinkClass::NvLink));
    CHECK(sum.by_link.contains(LinkClass::Nic));
    if (expected.empty()) expected = sum.by_link;
    REQUIRE(sum.by_link.size() == expected.size());
    for (const auto& [kind, bytes] : expected) {
      CHECK(sum.by_link.at(kind) == Approx(bytes).epsilon(1e-9));
      CHECK(sum.over_time.at(kind) == Approx(bytes).epsilon(1e-9));
    }
    for (const ClassActivity& activity : trace.activity) {
      CHECK(activity.bytes.size() <= 512);
      for (const Bytes bytes : activity.bytes)
        CHECK(bytes <= activity.capacity * trace.activity_bin * (1 + 1e-9));
    }
  }
}

TEST_CASE("activity keeps its bins when the simulation outgrows them") {
  // 512 bins of 2^-20 s hold 0.488 ms. A flow of 8 B over the first 2^-20 s, then one of 100 B over
  // the second from 1 s on: bins double until 2 s fit into 512 of them, 2^-8 s each.
  Activity activity;
  activity.add(Seconds(0), Seconds(0x1p-20), {8, 0, 0, 0});
  activity.add(Seconds(1), Seconds(2), {0, 0, 100, 0});
  CHECK(activity.bin().value == 0x1p-8);
  const std::vector<Bytes> nvlink = activity.bins(LinkClass::NvLink, Seconds(2));
  REQUIRE(nvlink.size() == 512);
  CHECK(nvlink[0].value == 8);
  const std::vector<Bytes> nic = activity.bins(LinkClass::Nic, Seconds(2));
  CHECK(nic[255].value == 0);
  CHECK(nic[256].value == Approx(100.0 / 256).epsilon(1e-12));
  CHECK(nic[511].value == Approx(100.0 / 256).epsilon(1e-12));
}

}  // namespace windtunnel
