// The streams of one rank: what each op still waits for, and which op a stream runs next. Streams
// run one op at a time in program order, but for two: messages come as they are sent (Receive), and
// what has no order is begun by what it waits for (Transfers).
#pragma once

#include <array>
#include <set>
#include <vector>

#include "engine/program_index.hpp"

namespace windtunnel {

class Streams {
 public:
  // The index must outlive it. `rendezvous`: a send waits for the post of its receive as for an op,
  // but for one without order: a recorded step does not say when a receive was posted.
  Streams(const RankProgram& program, bool rendezvous);

  // Whether an op may start on it: always false of a stream that does not run one at a time.
  bool is_free(Stream stream) const;
  // The op that a stream has come to; -1: it is at its end.
  int head(Stream stream) const;
  // Starts an op on a free stream; -1: none can run yet. A send whose receiver is late lets others
  // of its stream pass, as Gloo's sends do: otherwise two ranks might wait for each other for ever.
  int start(Stream stream);
  void end(Stream stream);
  // One of the things that an op waits for is there. True: it was the last.
  bool satisfy_one(int op);

 private:
  void set_ready(int op);

  RankProgram program_;
  std::vector<int> waits_;  // by op: how many it still waits for
  std::array<int, kStreams> position_{};
  std::array<bool, kStreams> busy_{};
  std::array<std::set<int>, kStreams> ready_;  // sends that wait for nothing but their stream
};

}  // namespace windtunnel
