#include "engine/agenda.hpp"

namespace windtunnel {

namespace {

// A token is the event in 4 bits, of whom in 28, which in 32.
constexpr int kOfBits = 28;
constexpr int kWhichBits = 32;

Token token_of(const Happening& happening) {
  return (Token(happening.event) << (kOfBits + kWhichBits)) | (Token(happening.of) << kWhichBits) |
         happening.which;
}

Happening happening_of(Token token) {
  return {.event = Event(token >> (kOfBits + kWhichBits)),
          .of = int((token >> kWhichBits) & ((Token(1) << kOfBits) - 1)),
          .which = std::uint32_t(token)};
}

}  // namespace

void Agenda::after(Seconds delay, const Happening& happening) {
  if (delay.value > 0)
    network_.after(delay, token_of(happening));
  else
    due_.push_back(happening);
}

void Agenda::flow(int path, Bytes bytes, Rate limit, const Happening& happening) {
  if (bytes.value > 0)
    network_.flow(path, bytes, limit, token_of(happening));
  else
    due_.push_back(happening);
}

void Agenda::run(const std::function<void(const Happening&)>& handle) {
  const auto drain = [&] {
    while (!due_.empty()) {
      const Happening happening = due_.front();
      due_.pop_front();
      handle(happening);
    }
  };
  drain();
  network_.run([&](Token token) {
    handle(happening_of(token));
    drain();
  });
}

}  // namespace windtunnel
