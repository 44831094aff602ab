// Numbers with a unit as text: "400 Gb/s", "80 GiB", "2 us". A number without its unit is an error.
//
// A prefix k M G T P E is a power of 1000, Ki Mi Gi Ti Pi a power of 1024. b is a bit and B a byte
// of 8 bits: "400 Gb/s" is 50e9 bytes per second. 1 FLOP is one floating point operation, a
// multiply-add counts 2.
#pragma once

#include <string>
#include <string_view>

namespace windtunnel {

enum class QuantityKind {
  ByteSize,
  DataRate,
  Duration,
  FlopCount,
  ComputeRate,
  WattPower,
  HourlyPrice,
  Percentage,
  TimePerByte
};

struct ParsedQuantity {
  double value = 0;     // in bytes, bytes/s, s, FLOP, FLOP/s, W, USD/h, 0.25 for "25 %", s/B
  std::string problem;  // why the text is not such a quantity; empty if it is
  bool is_valid() const { return problem.empty(); }
};

// Never negative, zero only where `allow_zero`, and within bounds that no machine or job exceeds.
ParsedQuantity parsed_quantity(QuantityKind kind, std::string_view text, bool allow_zero = false);

// "a data rate such as "400 Gb/s"", for messages.
std::string expected_quantity(QuantityKind kind);

// A plain decimal number, as 12, 0.5 or 3e11: no sign, hexadecimal, nan or inf. The rest of the
// text after the number is left in `text`. False if there is none or it exceeds a double.
bool read_number(std::string_view& text, double& value);

}  // namespace windtunnel
