// Communication that was measured elsewhere.
#pragma once

#include "plan/profile.hpp"

namespace windtunnel {

// Adds the collectives and messages of another profile, which take the place of the like: same
// kind, purpose, ranks and nodes.
void add_communication(const Profile& from, Profile& profile);

}  // namespace windtunnel
