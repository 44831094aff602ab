// A TCP port of this host that nobody uses now.
#pragma once

namespace windtunnel {

int free_port();  // throws BackendError

}  // namespace windtunnel
