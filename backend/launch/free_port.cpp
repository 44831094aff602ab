#include "backend/launch/free_port.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "backend/backend_error.hpp"

namespace windtunnel {

int free_port() {
  const int file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t length = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  // The kernel chooses for port 0.
  const bool chosen =
      file >= 0 && bind(file, any, length) == 0 && getsockname(file, any, &length) == 0;
  const int error = errno;
  if (file >= 0) close(file);
  if (!chosen) throw BackendError(fmt::format("no free TCP port: {}", std::strerror(error)));
  return ntohs(address.sin_port);
}

}  // namespace windtunnel
