// The emulated cluster: every node of a topology is a network namespace of this machine ("host"),
// its NIC one end of a veth pair, every switch a bridge, and both directions of every link are
// shaped by htb to the link's rate. Processes inside the hosts talk TCP at the speed of that
// cluster.
//
// TCP gets 1448 / 1514 = 0.9564 of a link's rate: payload over the bytes of a 1500-byte Ethernet
// frame that htb counts (headers: Ethernet 14, IPv4 20, TCP with timestamps 32). There is one lab
// on a machine. Its namespaces have a common prefix, so that what a crash left behind is found
// without a state file. Leaves out: latency (a round between two hosts takes what the kernel takes,
// some 60 us) and the links inside a node (ranks of one host talk over its loopback, unshaped).
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace windtunnel {

struct LabHost {
  std::string netns;      // name of its network namespace, as `ip netns` knows it
  std::string address;    // IPv4, "10.77.0.1"
  std::string interface;  // inside the namespace
  int first_rank = 0;     // ranks first_rank .. first_rank + ranks - 1 of a job on all of it
  int ranks = 0;
};

// One direction of one link.
struct LabShaper {
  std::string link;           // as the Cluster names it: "n3.nic0.up"
  std::string netns, device;  // the interface that sends into it
  double bits_per_second = 0;
};

struct Lab {
  std::string topology;  // the cluster file, as an absolute path
  std::vector<LabHost> hosts;
  std::vector<LabShaper> shapers;
};

// The lab that `lab up` has built completely and nobody has taken down, or nothing.
std::optional<Lab> lab_that_is_up();

// Moves the calling thread, and what it starts later, into the host's network. Returns what went
// wrong as a sentence, or an empty string. Needs root.
std::string enter(const LabHost& host);

// Packets that full queues have dropped since the lab is up. TCP slows down after a drop, so times
// measured with drops are not those of the topology.
struct LabDrops {
  struct Row {
    std::string link;
    long long packets = 0;
  };
  std::vector<Row> rows;  // by shaper, in the lab's order
  std::string problem;    // why they could not be read, or empty
  long long packets() const;
};
LabDrops drops(const Lab& lab);

struct LabPlan;

// Why this machine cannot have a lab: no root, no `ip`, or a kernel or container without
// namespaces, veth, bridges, htb, u32 or cubic; empty if it can. Tries it in a namespace of its
// own, which is gone afterwards.
std::string why_no_lab();

// Removes what is there and builds the plan. Returns what went wrong, or an empty string; then
// nothing is left of it.
std::string lab_up(const LabPlan& plan);

struct LabRemoval {
  int namespaces = 0;   // that were there
  std::string problem;  // or empty
};
LabRemoval lab_down();

// Namespaces of a lab that exist, complete or not, in alphabetical order.
std::vector<std::string> lab_namespaces();

}  // namespace windtunnel
