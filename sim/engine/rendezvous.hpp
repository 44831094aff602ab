// Rendezvous: a send begins when its receive is posted. A rank posts the receives beside compute
// when its compute stream comes to the op that needs them, and some ahead.
#pragma once

#include <vector>

#include "engine/communicators.hpp"
#include "engine/layout.hpp"
#include "engine/program_index.hpp"
#include "plan/rank_grid.hpp"

namespace windtunnel {

class Rendezvous {
 public:
  // All must outlive it; `programs` by simulated rank.
  Rendezvous(const Communicators& communicators, const Layout& layout, const RankGrid& grid,
             const std::vector<RankProgram>& programs, int receives_ahead);

  struct PostedSend {
    int rank = 0, op = 0;  // of the sender, simulated
  };
  // The sends whose receives a rank posts: before anything runs, and when it comes to an op.
  std::vector<PostedSend> post_first(int rank);
  std::vector<PostedSend> post_for(int rank, int op);

 private:
  void post(int rank, int queue, int count, std::vector<PostedSend>& sends);
  PostedSend send_of(int receiver, int receive) const;

  const Communicators& communicators_;
  const Layout& layout_;
  const RankGrid& grid_;
  const std::vector<RankProgram>& programs_;
  const int receives_ahead_;
  std::vector<std::vector<int>> posted_;  // by rank and queue of receives: how many
};

}  // namespace windtunnel
