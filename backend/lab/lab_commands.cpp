// Settings, all measured against arithmetic with collectives between 4 hosts at 100 Mb/s to 1 Gb/s:
//  - htb, not tbf: right at any burst, and it does not split large packets in software.
//  - Bursts of 64 KiB at 1 Gb/s, of the same duration below but no less than 32 KiB: less than a
//    segment of the network stack slows short messages down (13 KiB at 200 Mb/s: tensor
//    parallelism by 15 %), more lets them pass faster than the link (256 KiB at 1 Gb/s: by 19 %).
//  - Queues of 16 MiB: a bottleneck that is not at the sender queues up to a window, and at 4 MiB
//    drops cost up to 48 %.
//  - Acknowledgements without data pass beside the queue. Behind one as deep they come so late that
//    of two opposite flows over a 200 Mb/s core one kept its 200 Mb/s and the other got 30 to 190;
//    beside it both got 200. They are 0.2 % of the bytes, which no model counts.
//  - cubic: bbr, many kernels' default, was 6 % off and moved from run to run.
//  - No slow start after an idle phase and no memory of earlier connections: each step is like the
//    one before.
#include "backend/lab/lab_commands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace windtunnel {
namespace {

constexpr int kLeastBurst = 32 * 1024, kLargestBurst = 64 * 1024;
constexpr int kQueueBytes = 16 * 1024 * 1024;

// Bytes that pass at once.
int burst_of(long long bits_per_second) {
  constexpr long long kGigabit = 1'000'000'000;
  const long long burst = std::min(bits_per_second, kGigabit) * kLargestBurst / kGigabit;
  return std::max(int(burst), kLeastBurst);
}

Command words(const std::string& text) {
  Command command;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find(' ', start), text.size());
    command.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return command;
}

// Commands from lines of text. Nothing in a lab's names has a space.
class Script {
 public:
  template <class... Values>
  void add(fmt::format_string<Values...> text, Values&&... values) {
    commands_.push_back(words(fmt::format(text, std::forward<Values>(values)...)));
  }
  std::vector<Command> commands() && { return std::move(commands_); }

 private:
  std::vector<Command> commands_;
};

// Not those of a vendor: the second bit says locally administered. The rest is the address.
std::string mac_of_host(std::size_t host) {
  return fmt::format("02:00:0a:4d:00:{:02x}", host + 1);
}

void add_tcp_settings(std::string_view netns, Script& script) {
  script.add(
      "ip netns exec {} sysctl -q -w net.ipv4.tcp_congestion_control=cubic "
      "net.ipv4.tcp_slow_start_after_idle=0 net.ipv4.tcp_no_metrics_save=1",
      netns);
}

void add_shaper(const LabShaper& shaper, Script& script) {
  const std::string on = fmt::format("tc -n {}", shaper.netns);
  const long long bits = std::llround(shaper.bits_per_second);
  script.add("{} qdisc add dev {} root handle 1: htb default 1", on, shaper.device);
  script.add(
      "{} class add dev {} parent 1: classid 1:1 htb rate {}bit ceil {}bit burst {} cburst {}", on,
      shaper.device, bits, bits, burst_of(bits), burst_of(bits));
  script.add("{} qdisc add dev {} parent 1:1 handle 10: bfifo limit {}", on, shaper.device,
             kQueueBytes);
  // TCP (6) in 52 bytes, which are an IPv4 header and a TCP header with timestamps, and of the
  // flags only ACK (0x10). Class 1:0 is htb's way past all classes.
  script.add(
      "{} filter add dev {} parent 1: protocol ip u32 match u8 6 0xff at 9 match u16 52 0xffff at "
      "2 "
      "match u8 0x10 0xff at 33 flowid 1:0",
      on, shaper.device);
}

void add_switches(const LabPlan& plan, Script& script) {
  script.add("ip netns add {}", kLabFabric);
  const std::string on = fmt::format("ip -n {} link", kLabFabric);
  const auto add = [&](const char* kind, int count) {
    for (int index = 0; index < count; ++index) {
      script.add("{} add {}{} type bridge", on, kind, index);
      script.add("{} set {}{} up", on, kind, index);
    }
  };
  add("leaf", plan.leaves);
  add("spine", plan.spines);
}

// A tree with several spines has loops. Packets to one host follow fixed entries, so nothing is
// flooded or learned on the cables; broadcasts use spine 0 alone.
void add_cable(int leaf, int spine, Script& script) {
  const std::string on = fmt::format("-n {} link", kLabFabric);
  const std::string up = fmt::format("leaf{}up{}", leaf, spine);
  const std::string down = fmt::format("leaf{}down{}", leaf, spine);
  script.add("ip {} add {} type veth peer name {}", on, up, down);
  script.add("ip {} set {} master leaf{}", on, up, leaf);
  script.add("ip {} set {} master spine{}", on, down, spine);
  const char* broadcasts = spine == 0 ? "on" : "off";
  for (const std::string& device : {up, down}) {
    script.add("bridge {} set dev {} learning off flood off mcast_flood {} bcast_flood {}", on,
               device, broadcasts, broadcasts);
    script.add("ip {} set {} up", on, device);
  }
}

void add_host(const LabPlan& plan, std::size_t index, Script& script) {
  const LabHost& host = plan.lab.hosts[index];
  const std::string port = fmt::format("n{}nic0down", index);
  script.add("ip netns add {}", host.netns);
  script.add("ip link add {} netns {} address {} type veth peer name {} netns {}", host.interface,
             host.netns, mac_of_host(index), port, kLabFabric);
  script.add("ip -n {} link set {} master leaf{}", kLabFabric, port, plan.leaf_of_host[index]);
  script.add("ip -n {} link set {} up", kLabFabric, port);
  script.add("ip -n {} address add {}/24 dev {}", host.netns, host.address, host.interface);
  script.add("ip -n {} link set {} up", host.netns, host.interface);
  script.add("ip -n {} link set lo up", host.netns);
  add_tcp_settings(host.netns, script);
}

// The ways to a host over the host's spine.
void add_ways_to(const LabPlan& plan, std::size_t host, Script& script) {
  const int home = plan.leaf_of_host[host], spine = plan.spine_to_host[host];
  const auto add = [&](int leaf, const char* direction) {
    script.add("bridge -n {} fdb replace {} dev leaf{}{}{} master static", kLabFabric,
               mac_of_host(host), leaf, direction, spine);
  };
  add(home, "down");
  for (int leaf = 0; leaf < plan.leaves; ++leaf)
    if (leaf != home) add(leaf, "up");
}

}  // namespace

std::vector<Command> up_commands(const LabPlan& plan) {
  Script script;
  add_switches(plan, script);
  for (int leaf = 0; leaf < plan.leaves; ++leaf)
    for (int spine = 0; spine < plan.spines; ++spine) add_cable(leaf, spine, script);
  for (std::size_t host = 0; host < plan.lab.hosts.size(); ++host) {
    add_host(plan, host, script);
    if (plan.spines > 0) add_ways_to(plan, host, script);
  }
  for (const LabShaper& shaper : plan.lab.shapers) add_shaper(shaper, script);
  return std::move(script).commands();
}

std::vector<Command> trial_commands() {
  Script script;
  script.add("ip netns add {}", kLabTrial);
  script.add("ip -n {} link add leaf0 type bridge", kLabTrial);
  script.add("ip -n {} link add eth0 type veth peer name eth1", kLabTrial);
  script.add("ip -n {} link set eth0 master leaf0", kLabTrial);
  add_shaper({"", std::string(kLabTrial), "eth0", 1e8}, script);
  add_tcp_settings(kLabTrial, script);
  return std::move(script).commands();
}

Command removal_command(const std::string& netns) {
  return {"ip", "netns", "delete", netns};
}

Command counters_command(const std::string& netns) {
  return {"tc", "-n", netns, "-s", "-j", "qdisc", "show"};
}

}  // namespace windtunnel
