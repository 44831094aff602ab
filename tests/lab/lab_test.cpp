// Real labs, which need root and a kernel that has what they are made of; elsewhere these tests are
// skipped and say why. They run in a mount namespace of their own with an empty /run, so they
// neither see nor disturb a lab that is up, and all of theirs is gone when this program ends.
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "backend/lab/command.hpp"
#include "backend/lab/lab_plan.hpp"
#include "backend/lab/lab_state.hpp"
#include "backend/program.hpp"
#include "catch.hpp"
#include "config/load.hpp"
#include "flows.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

const std::string kData = WINDTUNNEL_SOURCE_DIR "/tests/data/lab/";
constexpr double kTcpEfficiency = 1448.0 / 1514.0;

std::string problem_of_isolation() {
  if (::geteuid() != 0) return why_no_lab();
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", "/run", "tmpfs", 0, nullptr) != 0)
    return std::string("cannot make a mount namespace: ") + std::strerror(errno);
  return why_no_lab();
}

// ctest shows a test with this text as skipped.
bool is_skipped() {
  static const std::string why = problem_of_isolation();
  if (!why.empty()) WARN("skipped: " << why);
  return !why.empty();
}

LabPlan plan_of(const std::string& name) {
  const std::string path = kData + name + ".yaml";
  return lab_plan(build_cluster(load_cluster(path)), path);
}

void check_that_nothing_is_left() {
  CHECK(lab_namespaces().empty());
  CHECK(fs::is_empty("/run/netns"));
  CHECK(fs::is_empty(kLabFolder));
  CHECK(!lab_that_is_up());
}

// The same with a quarter of every rate: a busy machine with two cores keeps up with that.
LabPlan quarter_of(const std::string& name) {
  LabPlan plan = plan_of(name);
  for (LabShaper& shaper : plan.lab.shapers) shaper.bits_per_second /= 4;
  return plan;
}

std::string setting(const std::string& name) {
  std::ifstream file("/proc/sys/net/ipv4/" + name);
  std::string value;
  std::getline(file, value);
  return value;
}

// The settings of a host's namespace, in one line.
std::string settings_of(const LabHost& host) {
  const Ran said =
      ran({"ip", "netns", "exec", host.netns, "sysctl", "-n", "net.ipv4.tcp_congestion_control",
           "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_no_metrics_save"});
  CHECK(said.problem.empty());
  return said.out;
}

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

}  // namespace

TEST_CASE("lab: without root there is a reason, and nothing is touched") {
  const bool is_root = ::geteuid() == 0;
  if (is_root) REQUIRE(::seteuid(65534) == 0);  // nobody
  const std::string why = "a lab needs root: run it with sudo";
  CHECK(why_no_lab() == why);
  CHECK(lab_up(plan_of("star-4")) == why);
  CHECK(lab_down().problem == why);
  if (is_root) REQUIRE(::seteuid(0) == 0);
}

TEST_CASE("lab: a star is up as planned, its hosts get their rate, and down leaves nothing") {
  if (is_skipped()) return;
  const std::string allowed = setting("tcp_allowed_congestion_control");
  const LabPlan plan = plan_of("star-2-slow");
  REQUIRE(lab_up(plan) == "");
  CHECK(setting("tcp_allowed_congestion_control") == allowed);
  const auto lab = lab_that_is_up();
  REQUIRE(lab);
  CHECK(to_json(*lab) == to_json(plan.lab));
  for (const LabHost& host : lab->hosts) {
    const Ran said =
        ran({"ip", "-n", host.netns, "-o", "-4", "address", "show", "dev", host.interface});
    CHECK(said.problem.empty());
    CHECK(said.out.find(" " + host.address + "/24 ") != std::string::npos);
    CHECK(settings_of(host) == "cubic\n0\n1\n");
  }
  // 100 Mb/s carry 12.5e6 x 1448 / 1514 = 11.955e6 bytes of payload a second, in both directions.
  const std::vector<double> goodput = goodputs(*lab, {{0, 1}, {1, 0}});
  CHECK(goodput[0] == Approx(12.5e6 * kTcpEfficiency).epsilon(0.05));
  CHECK(goodput[1] == Approx(12.5e6 * kTcpEfficiency).epsilon(0.05));
  const LabDrops dropped = drops(*lab);
  CHECK(dropped.problem.empty());
  CHECK(dropped.rows.size() == 4);  // 2 hosts, up and down
  CHECK(dropped.packets() == 0);
  CHECK(lab_down().namespaces == 3);
  check_that_nothing_is_left();
}

TEST_CASE("lab: uneven hosts are as slow as the slower end, and an incast as its receiver") {
  if (is_skipped()) return;
  REQUIRE(lab_up(plan_of("star-uneven")) == "");
  const Lab lab = *lab_that_is_up();
  // Rates are 400, 200, 200 and 100 Mb/s.
  CHECK(goodputs(lab, {{0, 1}})[0] == Approx(25e6 * kTcpEfficiency).epsilon(0.05));
  CHECK(goodputs(lab, {{3, 0}})[0] == Approx(12.5e6 * kTcpEfficiency).epsilon(0.05));
  CHECK(sum(goodputs(lab, {{1, 3}, {2, 3}})) == Approx(12.5e6 * kTcpEfficiency).epsilon(0.05));
  CHECK(drops(lab).packets() == 0);
  CHECK(lab_down().problem.empty());
}

TEST_CASE("lab: an oversubscribed core is shared by what crosses it and by nothing else") {
  if (is_skipped()) return;
  REQUIRE(lab_up(quarter_of("two-leaves")) == "");
  const Lab lab = *lab_that_is_up();
  // Hosts have 100 Mb/s = 12.5e6 B/s, the core 50 Mb/s each way.
  CHECK(goodputs(lab, {{0, 1}})[0] == Approx(12.5e6 * kTcpEfficiency).epsilon(0.05));
  CHECK(goodputs(lab, {{0, 2}})[0] == Approx(6.25e6 * kTcpEfficiency).epsilon(0.05));
  CHECK(sum(goodputs(lab, {{0, 2}, {1, 3}})) == Approx(6.25e6 * kTcpEfficiency).epsilon(0.05));
  // Opposite ways do not slow each other down, though each one's acknowledgements meet the other's
  // data.
  for (const double one : goodputs(lab, {{0, 2}, {3, 1}}))
    CHECK(one == Approx(6.25e6 * kTcpEfficiency).epsilon(0.05));
  CHECK(drops(lab).packets() == 0);
  CHECK(lab_down().problem.empty());
}

TEST_CASE("lab: flows take the spine of their destination, as the simulator routes them") {
  if (is_skipped()) return;
  REQUIRE(lab_up(quarter_of("two-spines")) == "");
  const Lab lab = *lab_that_is_up();
  // Hosts and cables have 100 Mb/s; spine = destination modulo 2. To 4 and 6: both over spine 0.
  CHECK(sum(goodputs(lab, {{0, 4}, {1, 6}})) == Approx(12.5e6 * kTcpEfficiency).epsilon(0.05));
  const std::vector<double> apart = goodputs(lab, {{0, 4}, {1, 5}});
  CHECK(apart[0] == Approx(12.5e6 * kTcpEfficiency).epsilon(0.05));
  CHECK(apart[1] == Approx(12.5e6 * kTcpEfficiency).epsilon(0.05));
  CHECK(lab_down().problem.empty());
}

#ifdef WINDTUNNEL_BACKEND
TEST_CASE("lab: calibrate measures what goes between the hosts, which are nodes") {
  if (is_skipped()) return;
  const TemporaryFolder folder("lab");
  const std::string job = folder.path / "job.yaml", profile = folder.path / "lab.yaml";
  write_text(job,
             "model: {name: tiny, source: test, family: mlp, inputs: 16, hidden: 32, layers: 2, "
             "outputs: 4}\ncluster: " +
                 kData +
                 "star-2-slow.yaml\ngpus: 2\nparallel: {data: 2}\nbatch: {global: 8, micro: 2}\n"
                 "precision: fp32\noptimizer: sgd\ncompute: emulated\n");
  // Other programs may run beside the tests: whether the figures are sound is not the question.
  const auto calibrated = [&] {
    return end_of(std::string(WINDTUNNEL_PROGRAM) + " calibrate " + job +
                      " --lab --allow-noise --out " + profile,
                  folder);
  };
  const End without = calibrated();
  CHECK(without.code == 1);
  CHECK(without.errors == "error: no lab is up: 'windtunnel lab up TOPOLOGY' builds one\n");
  REQUIRE(lab_up(plan_of("star-2-slow")) == "");
  const End done = calibrated();
  CHECK(lab_down().problem.empty());
  INFO(done.errors);
  REQUIRE(done.code == 0);
  CHECK(done.output == "wrote " + profile + "\n");
  const Profile measured = load_profile(profile);
  CHECK_FALSE(measured.gpu);  // compute is emulated
  CHECK(measured.layers.empty());
  CHECK(measured.slowdowns.empty());
  CHECK_FALSE(measured.cpu_seconds_per_byte);
  REQUIRE(measured.collectives.size() == 7);
  for (const CollectiveTime& collective : measured.collectives) {
    CHECK(collective.ranks == 2);
    CHECK(collective.nodes == 2);
  }
  // 256 KiB at 100 Mb/s; an all-reduce of two sends as much as it reduces.
  const double wire = 262144 / (12.5e6 * kTcpEfficiency);
  REQUIRE(measured.messages.size() == 1);
  CHECK(measured.messages[0].nodes == 2);
  CHECK(measured.messages[0].curve.at(262144).value == Approx(wire).epsilon(0.15));
  CHECK(measured.collectives[0].curve.at(262144).value == Approx(wire).epsilon(0.15));
}
#endif

TEST_CASE("lab: a packet that a full queue drops is counted at its link") {
  if (is_skipped()) return;
  REQUIRE(lab_up(quarter_of("star-uneven")) == "");
  const Lab lab = *lab_that_is_up();
  // Host 0 sends 100 Mb/s into the 25 Mb/s of host 3, whose queue now holds two packets.
  REQUIRE(ran({"tc", "-n", "windtunnel-fabric", "qdisc", "change", "dev", "n3nic0down", "parent",
               "1:1", "handle", "10:", "bfifo", "limit", "3028"})
              .problem == "");
  goodputs(lab, {{0, 3}});
  const LabDrops dropped = drops(lab);
  CHECK(dropped.problem.empty());
  for (const LabDrops::Row& row : dropped.rows) {
    INFO(row.link);
    CHECK((row.packets > 0) == (row.link == "n3.nic0.down"));
  }
  CHECK(lab_down().problem.empty());
}

TEST_CASE("lab: a command that fails is reported, and what was built before it is gone") {
  if (is_skipped()) return;
  LabPlan plan = plan_of("star-2-slow");
  plan.lab.shapers.push_back({"", "windtunnel-h1", "eth7", 1e8});
  CHECK(lab_up(plan) ==
        "'tc -n windtunnel-h1 qdisc add dev eth7 root handle 1: htb default 1' failed: "
        "Cannot find device \"eth7\"");
  check_that_nothing_is_left();
}

TEST_CASE("lab: what a killed lab up leaves is removed by down, and by the next up") {
  if (is_skipped()) return;
  const std::string topology = kData + "two-spines.yaml";
  for (const std::size_t namespaces : {std::size_t{1}, std::size_t{4}, std::size_t{9}}) {
    INFO("killed when there were " << namespaces << " namespaces");
    const pid_t id = ::fork();
    REQUIRE(id >= 0);
    if (id == 0) {
      ::close(STDOUT_FILENO);
      ::execl(WINDTUNNEL_PROGRAM, WINDTUNNEL_PROGRAM, "lab", "up", topology.c_str(), nullptr);
      ::_exit(127);
    }
    while (lab_namespaces().size() < namespaces && ::waitpid(id, nullptr, WNOHANG) == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    REQUIRE(::kill(id, SIGKILL) == 0);  // still running
    int status = 0;
    REQUIRE(::waitpid(id, &status, 0) == id);
    REQUIRE(WIFSIGNALED(status));
    CHECK(!lab_that_is_up());
    CHECK(!fs::exists(kLabState));
    CHECK(lab_namespaces().size() >= namespaces);
    if (namespaces == 4) {
      REQUIRE(lab_up(plan_of("star-2-slow")) == "");
      CHECK(lab_namespaces() ==
            std::vector<std::string>{"windtunnel-fabric", "windtunnel-h0", "windtunnel-h1"});
    }
    CHECK(lab_down().problem.empty());
    check_that_nothing_is_left();
  }
}

}  // namespace windtunnel
