// A plan as a graph: what must have ended before an op, whether the plan runs to its end, and when
// each op of one program ends for given durations.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "plan/plan.hpp"

namespace windtunnel {

// The ops that an op waits for directly: `after`, and the one before it on its stream. Messages of
// the receive stream have no order.
inline std::vector<std::vector<int>> predecessors(const Program& program) {
  std::vector<std::vector<int>> list(program.ops.size());
  std::array<int, kStreams> last;
  last.fill(-1);
  for (int i = 0; i < int(program.ops.size()); ++i) {
    const Op& op = program.ops[std::size_t(i)];
    list[std::size_t(i)] = op.after;
    int& before = last[std::size_t(op.stream)];
    if (before >= 0 && op.stream != Stream::Receive) list[std::size_t(i)].push_back(before);
    before = i;
  }
  return list;
}

// Which ops must have ended before an op starts.
class Ancestors {
 public:
  explicit Ancestors(const Program& program) : sets_(program.ops.size()) {
    const std::vector<std::vector<int>> before = predecessors(program);
    const std::size_t size = program.ops.size(), words = size / 64 + 1;
    std::size_t done = 0;
    for (bool progress = true; progress;) {
      progress = false;
      for (std::size_t i = 0; i < size; ++i) {
        const bool ready = std::all_of(before[i].begin(), before[i].end(),
                                       [&](int j) { return !sets_[std::size_t(j)].empty(); });
        if (!sets_[i].empty() || !ready) continue;
        sets_[i].assign(words, 0);
        for (const int j : before[i]) {
          sets_[i][std::size_t(j) / 64] |= std::uint64_t(1) << (j % 64);
          for (std::size_t word = 0; word < words; ++word)
            sets_[i][word] |= sets_[std::size_t(j)][word];
        }
        ++done;
        progress = true;
      }
    }
    has_cycle_ = done < size;
  }

  bool has_cycle() const { return has_cycle_; }
  bool contains(std::size_t op, std::size_t earlier) const {
    return sets_[op][earlier / 64] >> (earlier % 64) & 1;
  }

 private:
  std::vector<std::vector<std::uint64_t>> sets_;  // by op; empty on a cycle and behind it
  bool has_cycle_ = false;
};

// Runs all programs together, without time: a receive ends when its send has ended, a collective
// across pipeline coordinates when all of them have come to it. Returns where it stopped, or empty.
class UntimedRun {
 public:
  explicit UntimedRun(const Plan& plan) : plan_(plan) {
    for (const Program& program : plan.programs) {
      before_.push_back(predecessors(program));
      done_.emplace_back(program.ops.size());
    }
  }

  std::string stop() {
    for (bool progress = true; progress;) {
      progress = false;
      for (std::size_t p = 0; p < done_.size(); ++p)
        for (std::size_t i = 0; i < done_[p].size(); ++i)
          if (!done_[p][i] && is_ready(p, i) && ends(p, i)) progress = true;
    }
    for (std::size_t p = 0; p < done_.size(); ++p)
      for (std::size_t i = 0; i < done_[p].size(); ++i)
        if (!done_[p][i])
          return "program " + std::to_string(p) + " stops before op " + std::to_string(i) + ", " +
                 op_name(plan_.programs[p].ops[i]);
    return "";
  }

 private:
  const Op& op(std::size_t p, std::size_t i) const { return plan_.programs[p].ops[i]; }
  bool is_ready(std::size_t p, std::size_t i) const {
    return std::all_of(before_[p][i].begin(), before_[p][i].end(),
                       [&](int j) { return bool(done_[p][std::size_t(j)]); });
  }

  bool ends(std::size_t p, std::size_t i) {
    const Op& what = op(p, i);
    if (what.kind == OpKind::Receive) {
      if (!sent_.contains({what.purpose, what.stage, what.micro_batch})) return false;
    } else if (what.kind == OpKind::Send) {
      sent_.insert({{what.purpose, what.stage, what.micro_batch}, true});
    } else if (what.kind == OpKind::Collective) {
      const std::vector<std::size_t> others = programs_of(what.group, p);
      std::vector<std::size_t> theirs;
      for (const std::size_t other : others) {
        const int j = next_collective(other, what.group);
        if (j < 0 || !is_ready(other, std::size_t(j)) || !is_same(what, op(other, std::size_t(j))))
          return false;
        theirs.push_back(std::size_t(j));
      }
      for (std::size_t k = 0; k < others.size(); ++k) done_[others[k]][theirs[k]] = true;
    }
    done_[p][i] = true;
    return true;
  }

  // Programs that the members of the group run.
  std::vector<std::size_t> programs_of(GroupName group, std::size_t p) const {
    std::vector<std::size_t> list;
    const int rank = plan_.grid.rank({.pipeline = plan_.programs[p].pipeline});
    for (const int member : plan_.grid.members(group, rank))
      list.push_back(std::size_t(plan_.grid.coordinates(member).pipeline));
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
    return list;
  }

  int next_collective(std::size_t p, GroupName group) const {
    for (std::size_t i = 0; i < done_[p].size(); ++i)
      if (!done_[p][i] && op(p, i).kind == OpKind::Collective && op(p, i).group == group)
        return int(i);
    return -1;
  }

  static bool is_same(const Op& a, const Op& b) {
    return a.collective == b.collective && a.bytes == b.bytes && a.purpose == b.purpose;
  }

  const Plan& plan_;
  std::vector<std::vector<std::vector<int>>> before_;
  std::vector<std::vector<bool>> done_;
  std::map<std::tuple<Purpose, int, int>, bool> sent_;
};

// Ends of the ops of one program that depends on no other, each as early as possible.
inline std::vector<double> end_times(const Program& program,
                                     const std::function<double(const Op&)>& duration) {
  const std::vector<std::vector<int>> before = predecessors(program);
  std::vector<double> ends(program.ops.size(), -1);
  const std::function<double(std::size_t)> end = [&](std::size_t i) {
    if (ends[i] >= 0) return ends[i];
    double start = 0;
    for (const int j : before[i]) start = std::max(start, end(std::size_t(j)));
    return ends[i] = start + duration(program.ops[i]);
  };
  for (std::size_t i = 0; i < ends.size(); ++i) end(i);
  return ends;
}

}  // namespace windtunnel
