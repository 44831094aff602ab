#include "backend/calibrate/group_clock.hpp"

#include <algorithm>

#include "backend/calibrate/protocol.hpp"

namespace windtunnel {

namespace {

constexpr int kBackToBack = 4;
constexpr double kLeastPass = 0.05;  // seconds of one size, so that a few interrupts do not decide
constexpr int kMostRepetitions = 200;

}  // namespace

double GroupClock::once(const std::function<void()>& call) {
  group_.barrier();
  // While GPUs wait for the last of them, their hosts queue what is timed.
  if (!device_.place().is_cpu()) call();
  const Mark begin = device_.mark();
  for (int i = 0; i < kBackToBack; ++i) call();
  return device_.between(begin, device_.mark()).value / kBackToBack;
}

std::vector<double> GroupClock::repetitions(const std::function<void()>& call) {
  const double warm = longest({once(call), once(call)})[1];
  const double wanted = std::min(double(kMostRepetitions), kLeastPass / (kBackToBack * warm));
  const int count = std::max(int(wanted), int(kLeastRepetitions));
  std::vector<double> own;
  for (int i = 0; i < count; ++i) own.push_back(once(call));
  return longest(own);
}

std::vector<double> GroupClock::longest(const std::vector<double>& own) {
  const at::Tensor part = at::tensor(own, at::kDouble).to(device_.place());
  const at::Tensor whole = at::zeros({group_.size() * part.numel()}, part.options());
  group_.all_gather(whole, part);
  const at::Tensor most = std::get<0>(whole.view({group_.size(), -1}).max(0)).cpu();
  return {most.data_ptr<double>(), most.data_ptr<double>() + most.numel()};
}

}  // namespace windtunnel
