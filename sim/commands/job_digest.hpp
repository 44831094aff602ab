// A number for everything that decides what a simulation prints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace windtunnel {

// FNV-1a over parts of which each counts with its length.
class Digest {
 public:
  void add(std::string_view part);
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

// Of the job's text, of all files that it names, directly or through others, and of the overrides
// and the files that these name. Unreadable files count as such; never throws for them.
std::uint64_t job_digest(const std::string& path, const std::vector<std::string>& overrides);

// Of the program's own file, since another version may predict another time. 0 where the system
// does not tell.
std::uint64_t program_digest();

}  // namespace windtunnel
