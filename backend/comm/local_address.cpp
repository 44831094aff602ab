#include "backend/comm/local_address.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>

#include "backend/backend_error.hpp"

namespace windtunnel {

namespace {

bool is_loopback(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
  return ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24 == 127;
}

}  // namespace

std::string local_address(const Place& place) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (const int error =
          getaddrinfo(place.address.c_str(), std::to_string(place.port).c_str(), &hints, &found))
    throw BackendError(fmt::format("rank {}: the address \"{}\" is unknown here: {}", place.rank,
                                   place.address, gai_strerror(error)));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);

  // Connecting a datagram socket sends nothing; it only asks for the route.
  const int socket_number = socket(found->ai_family, SOCK_DGRAM, 0);
  sockaddr_storage local{};
  socklen_t length = sizeof local;
  const bool routed = socket_number >= 0 &&
                      connect(socket_number, found->ai_addr, found->ai_addrlen) == 0 &&
                      getsockname(socket_number, reinterpret_cast<sockaddr*>(&local), &length) == 0;
  if (socket_number >= 0) close(socket_number);
  if (!routed)
    throw BackendError(
        fmt::format("rank {}: no route leads from here to {}", place.rank, place.address));

  if (is_loopback(local) && place.local_world < place.world)
    throw BackendError(fmt::format(
        "rank {}: \"{}\" means this host alone, but the job has {} processes elsewhere; set "
        "GLOO_SOCKET_IFNAME to the network interface that leads to them",
        place.rank, place.address, place.world - place.local_world));
  char text[NI_MAXHOST];
  getnameinfo(reinterpret_cast<sockaddr*>(&local), length, text, sizeof text, nullptr, 0,
              NI_NUMERICHOST);
  return text;
}

}  // namespace windtunnel
