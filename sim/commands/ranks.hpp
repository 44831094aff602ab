// The processes of one program that mpirun or srun started together; one alone otherwise, and
// always in a build without MPI.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace windtunnel {

class Ranks {
 public:
  // Throws ConfigError where several processes were started and this build has no MPI.
  Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  // Rank 0's text, on all ranks; all ranks call it.
  std::string broadcast(std::string text);
  // To rank 0.
  void send(const std::string& text);
  // What another rank sent and rank 0 has not received yet, without waiting.
  std::optional<std::string> receive();

 private:
  int rank_ = 0, size_ = 1;
  std::shared_ptr<void> session_;  // ends MPI where it was started
};

}  // namespace windtunnel
