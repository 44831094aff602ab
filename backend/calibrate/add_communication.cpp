#include "backend/calibrate/add_communication.hpp"

namespace windtunnel {

void add_communication(const Profile& from, Profile& profile) {
  profile.source += ", " + from.source;
  for (const CollectiveTime& time : from.collectives) {
    std::erase_if(profile.collectives, [&](const CollectiveTime& own) {
      return own.kind == time.kind && own.purpose == time.purpose && own.ranks == time.ranks &&
             own.nodes == time.nodes;
    });
    profile.collectives.push_back(time);
  }
  for (const MessageTime& time : from.messages) {
    std::erase_if(profile.messages,
                  [&](const MessageTime& own) { return own.nodes == time.nodes; });
    profile.messages.push_back(time);
  }
}

}  // namespace windtunnel
