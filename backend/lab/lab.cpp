#include "backend/lab/lab.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>

#include "backend/lab/lab_commands.hpp"
#include "backend/lab/lab_state.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

// Where `ip netns` keeps its namespaces by name; man 8 ip-netns.
const fs::path kNamespaces = "/run/netns";
const fs::path kAllowedControls = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

std::string reason_of(int error) {
  return std::generic_category().message(error);
}

std::string content_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// One lab command at a time. The commands that it runs inherit the lock, so that what a killed one
// has started ends before the next one looks at what is there.
class Lock {
 public:
  Lock() {
    std::error_code error;
    fs::create_directories(kLabFolder, error);
    file_ = ::open(kLabFolder.c_str(), O_RDONLY | O_DIRECTORY);  // no O_CLOEXEC, see above
    if (file_ < 0) {
      problem_ = fmt::format("cannot open {}: {}", kLabFolder.string(), reason_of(errno));
      return;
    }
    constexpr std::chrono::milliseconds patience{30'000}, pause{20};
    for (auto waited = pause; ::flock(file_, LOCK_EX | LOCK_NB) != 0; waited += pause) {
      if (waited >= patience) {
        problem_ = "another windtunnel lab command is running";
        return;
      }
      std::this_thread::sleep_for(pause);
    }
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() {
    if (file_ >= 0) ::close(file_);
  }
  const std::string& problem() const { return problem_; }

 private:
  int file_ = -1;
  std::string problem_;
};

// A namespace may choose only what its machine allows to everybody; many allow what they use
// themselves, and that may be bbr alone. Afterwards the machine is as it was.
class CubicAllowed {
 public:
  CubicAllowed() {
    std::ifstream file(kAllowedControls);
    std::getline(file, before_);  // the kernel takes no newline between names
    if (before_.find("cubic") != std::string::npos) before_.clear();
    if (!before_.empty()) std::ofstream(kAllowedControls) << before_ << " cubic";
  }
  CubicAllowed(const CubicAllowed&) = delete;
  CubicAllowed& operator=(const CubicAllowed&) = delete;
  ~CubicAllowed() {
    if (!before_.empty()) std::ofstream(kAllowedControls) << before_;
  }

 private:
  std::string before_;  // empty: nothing to put back
};

std::string missing_right_or_program() {
  if (::geteuid() != 0) return "a lab needs root: run it with sudo";
  for (const std::string_view program : kLabPrograms)
    if (path_of(std::string(program)).empty())
      return fmt::format("a lab needs the program '{}': install the package {}", program,
                         program == "sysctl" ? "procps" : "iproute2");
  return {};
}

std::string first_problem(const std::vector<Command>& commands) {
  for (const Command& command : commands)
    if (std::string problem = ran(command).problem; !problem.empty()) return problem;
  return {};
}

std::string trial_problem() {
  std::string problem = first_problem(trial_commands());
  if (fs::exists(kNamespaces / kLabTrial)) {
    const std::string left = ran(removal_command(std::string(kLabTrial))).problem;
    if (problem.empty()) problem = left;
  }
  if (problem.empty()) return {};
  return "this kernel or container does not give what a lab needs (network namespaces, veth, "
         "bridges, htb, u32, cubic): " +
         problem;
}

// The state goes first: a lab that is half gone is not up.
LabRemoval removal_of_all() {
  LabRemoval removal;
  std::error_code error;
  fs::remove(kLabState, error);
  if (error)
    removal.problem = fmt::format("cannot remove {}: {}", kLabState.string(), error.message());
  for (const std::string& netns : lab_namespaces()) {
    ++removal.namespaces;
    const std::string problem = ran(removal_command(netns)).problem;
    if (removal.problem.empty()) removal.problem = problem;
  }
  return removal;
}

std::string written_state(const Lab& lab) {
  const fs::path temporary = kLabState.string() + ".new";
  std::ofstream file(temporary, std::ios::binary);
  file << to_json(lab);
  file.close();
  std::error_code error;
  if (file) fs::rename(temporary, kLabState, error);
  if (file && !error) return {};
  return fmt::format("cannot write {}", kLabState.string());
}

}  // namespace

std::vector<std::string> lab_namespaces() {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(kNamespaces, error), end; !error && entry != end;
       entry.increment(error))
    if (const std::string name = entry->path().filename().string(); name.starts_with(kLabPrefix))
      names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<Lab> lab_that_is_up() {
  std::optional<Lab> lab = lab_of_json(content_of(kLabState));
  if (!lab) return std::nullopt;
  const auto is_gone = [](const LabHost& host) { return !fs::exists(kNamespaces / host.netns); };
  if (std::any_of(lab->hosts.begin(), lab->hosts.end(), is_gone)) return std::nullopt;
  return lab;
}

std::string enter(const LabHost& host) {
  const fs::path path = kNamespaces / host.netns;
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool entered = file >= 0 && ::setns(file, CLONE_NEWNET) == 0;
  const int error = errno;
  if (file >= 0) ::close(file);
  if (entered) return {};
  return fmt::format("cannot enter the lab's host {}: {}", host.netns, reason_of(error));
}

std::string why_no_lab() {
  if (std::string problem = missing_right_or_program(); !problem.empty()) return problem;
  const Lock lock;
  if (!lock.problem().empty()) return lock.problem();
  const CubicAllowed cubic;
  return trial_problem();
}

std::string lab_up(const LabPlan& plan) {
  if (std::string problem = missing_right_or_program(); !problem.empty()) return problem;
  const Lock lock;
  if (!lock.problem().empty()) return lock.problem();
  if (std::string problem = removal_of_all().problem; !problem.empty()) return problem;
  const CubicAllowed cubic;
  if (std::string problem = trial_problem(); !problem.empty()) return problem;
  std::string problem = first_problem(up_commands(plan));
  if (problem.empty()) problem = written_state(plan.lab);
  if (problem.empty()) return {};
  const std::string left = removal_of_all().problem;
  return left.empty() ? problem : problem + "; what was built is still there: " + left;
}

LabRemoval lab_down() {
  if (std::string problem = missing_right_or_program(); !problem.empty()) return {0, problem};
  const Lock lock;
  if (!lock.problem().empty()) return {0, lock.problem()};
  return removal_of_all();
}

long long LabDrops::packets() const {
  long long sum = 0;
  for (const Row& row : rows) sum += row.packets;
  return sum;
}

LabDrops drops(const Lab& lab) {
  std::map<std::string, std::map<std::string, long long>> packets;  // by namespace and device
  LabDrops result;
  for (const LabShaper& shaper : lab.shapers) {
    if (!packets.contains(shaper.netns)) {
      const Ran counters = ran(counters_command(shaper.netns));
      if (!counters.problem.empty()) return {{}, counters.problem};
      try {
        for (const auto& queue : nlohmann::json::parse(counters.out))
          if (queue.at("kind") == kLabShaper)
            packets[shaper.netns][queue.at("dev")] = queue.at("drops");
      } catch (const nlohmann::json::exception& error) {
        return {{}, fmt::format("tc's counters cannot be read: {}", error.what())};
      }
    }
    const auto& of_device = packets[shaper.netns];
    const auto found = of_device.find(shaper.device);
    if (found == of_device.end())
      return {{}, fmt::format("link {} is not shaped any more", shaper.link)};
    result.rows.push_back({shaper.link, found->second});
  }
  return result;
}

}  // namespace windtunnel
