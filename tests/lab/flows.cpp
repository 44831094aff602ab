#include "flows.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <string>
#include <thread>

#include "catch.hpp"

namespace windtunnel {
namespace {

using Clock = std::chrono::steady_clock;

// A burst of 32 KiB lasts 2.6 ms at 100 Mb/s, and two flows find their shares in some rounds.
constexpr std::chrono::milliseconds kWarmUp{500}, kMeasured{2000};

pid_t process(const std::function<void()>& work) {
  const pid_t id = ::fork();
  REQUIRE(id >= 0);
  if (id != 0) return id;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a killed test leaves no flows behind
  work();
  ::_exit(1);
}

sockaddr_in address_of(const std::string& host, std::size_t flow) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(std::uint16_t(5000 + flow));
  ::inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  return address;
}

void send_for_ever(const LabHost& from, sockaddr_in to) {
  ::signal(SIGPIPE, SIG_DFL);
  if (!enter(from).empty()) return;
  static char buffer[1 << 16];
  for (int attempt = 0; attempt < 500; ++attempt) {
    const int flow = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(flow, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0)
      while (::send(flow, buffer, sizeof buffer, 0) > 0) {
      }
    ::close(flow);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

// Writes the rate between the two moments, which are the same for all flows: their sum is then that
// of a shared link, however unevenly they alternate.
void receive(const LabHost& to, sockaddr_in address, Clock::time_point first,
             Clock::time_point last, int result) {
  if (!enter(to).empty()) return;
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
  if (::listen(listener, 1) != 0) return;
  const int flow = ::accept(listener, nullptr, nullptr);
  static char buffer[1 << 16];
  double bytes = 0;
  for (;;) {
    const ssize_t count = ::recv(flow, buffer, sizeof buffer, 0);
    if (count <= 0) return;
    const Clock::time_point now = Clock::now();
    if (now > last) break;
    if (now > first) bytes += double(count);
  }
  const double rate = bytes / std::chrono::duration<double>(last - first).count();
  if (::write(result, &rate, sizeof rate) == sizeof rate) ::_exit(0);
}

}  // namespace

std::vector<double> goodputs(const Lab& lab, const std::vector<Flow>& flows) {
  const Clock::time_point first = Clock::now() + kWarmUp, last = first + kMeasured;
  std::vector<pid_t> senders, receivers;
  std::vector<int> results;
  for (std::size_t i = 0; i < flows.size(); ++i) {
    const LabHost& from = lab.hosts[std::size_t(flows[i].from)];
    const LabHost& to = lab.hosts[std::size_t(flows[i].to)];
    const sockaddr_in address = address_of(to.address, i);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    receivers.push_back(process([&] { receive(to, address, first, last, ends[1]); }));
    senders.push_back(process([&] { send_for_ever(from, address); }));
    ::close(ends[1]);
    results.push_back(ends[0]);
  }
  std::vector<double> rates(flows.size());
  bool all_ran = true;
  for (std::size_t i = 0; i < flows.size(); ++i) {
    all_ran = ::read(results[i], &rates[i], sizeof(double)) == sizeof(double) && all_ran;
    ::close(results[i]);
  }
  for (const auto* processes : {&senders, &receivers})
    for (const pid_t id : *processes) {
      ::kill(id, SIGKILL);
      ::waitpid(id, nullptr, 0);
    }
  REQUIRE(all_ran);
  return rates;
}

}  // namespace windtunnel
