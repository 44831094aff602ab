// The messages under way between pipeline neighbours, and the receives that wait for them.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "engine/agenda.hpp"
#include "engine/communicators.hpp"
#include "engine/core_time.hpp"
#include "engine/layout.hpp"
#include "engine/program_index.hpp"
#include "engine/traffic.hpp"

namespace windtunnel {

class Transfers {
 public:
  // All must outlive it; `programs` by simulated rank.
  Transfers(const Communicators& communicators, const Layout& layout,
            const std::vector<RankProgram>& programs, const CoreTime& core_time, Agenda& agenda,
            Traffic& traffic);

  struct Transfer {
    int sender = 0, send = 0;       // simulated rank and op
    int receiver = 0, receive = 0;  // likewise
    int path = 0;
    Bytes bytes;
    Rate limit;
    Seconds flowing;                            // since when
    CoreTime::Mark sender_mark, receiver_mark;  // when it was sent
  };

  void send(int rank, int op);
  void start_flow(int transfer);  // of Event::SendLatency
  Transfer end(int transfer);     // of Event::TransferDone: its message has arrived

  // A receive that is not beside compute begins. True: its message is there.
  bool receive(int rank, int op);
  // When the receive of a transfer that has ended began to take its message; nothing: it has not
  // begun.
  std::optional<Seconds> receive_start(const Transfer& ended);

 private:
  struct Inbox {
    std::vector<bool> arrived;      // by op
    std::map<int, Seconds> wanted;  // receives that wait for their message, since when
  };
  const Communicators& communicators_;
  const Layout& layout_;
  const std::vector<RankProgram>& programs_;
  const CoreTime& core_time_;
  Agenda& agenda_;
  Traffic& traffic_;
  std::vector<Inbox> inboxes_;  // by simulated rank
  std::vector<Transfer> transfers_;
  std::vector<int> free_;  // of transfers_
};

}  // namespace windtunnel
