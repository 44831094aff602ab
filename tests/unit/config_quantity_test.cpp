#include "catch.hpp"
#include "config/quantity.hpp"

using windtunnel::parsed_quantity;
using windtunnel::QuantityKind;

TEST_CASE("quantities have the value that their unit says") {
  struct Row {
    QuantityKind kind;
    const char* text;
    double value;
  };
  const Row rows[] = {
      {QuantityKind::DataRate, "400 Gb/s", 50e9},  // 8 bits to a byte
      {QuantityKind::DataRate, "1 b/s", 0.125},
      {QuantityKind::DataRate, "3.35 TB/s", 3.35e12},
      {QuantityKind::DataRate, "1 GiB/s", 1073741824},
      {QuantityKind::ByteSize, "80 GB", 80e9},
      {QuantityKind::ByteSize, "80 GiB", 85899345920},
      {QuantityKind::ByteSize, "25 MiB", 26214400},
      {QuantityKind::ByteSize, "1 kB", 1000},
      {QuantityKind::ByteSize, "1 KiB", 1024},
      {QuantityKind::ByteSize, "7 B", 7},
      {QuantityKind::Duration, "2 us", 2e-6},
      {QuantityKind::Duration, "3 us", 3e-6},  // 3 * 1e-6 is not 3e-6
      {QuantityKind::Duration, "0.5 ms", 5e-4},
      {QuantityKind::Duration, "100 ns", 1e-7},
      {QuantityKind::Duration, "1.5 h", 5400},
      {QuantityKind::FlopCount, "1 GFLOP", 1e9},
      {QuantityKind::ComputeRate, "312 TFLOP/s", 312e12},
      {QuantityKind::ComputeRate, "1.2e3 GFLOP/s", 1.2e12},
      {QuantityKind::WattPower, "400 W", 400},
      {QuantityKind::WattPower, "1.2 kW", 1200},
      {QuantityKind::HourlyPrice, "21.96 USD/h", 21.96},
      {QuantityKind::Percentage, "25 %", 0.25},
      {QuantityKind::TimePerByte, "0.7 ns/B", 0.7e-9},
      {QuantityKind::Percentage, "2%", 0.02},  // spaces are free
      {QuantityKind::ByteSize, "  80   GB ", 80e9},
      {QuantityKind::FlopCount, "2EFLOP", 2e18},  // E is a prefix here, not an exponent
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto parsed = parsed_quantity(row.kind, row.text);
    CHECK(parsed.problem.empty());
    CHECK(parsed.value == row.value);
  }
}

TEST_CASE("what is no quantity is refused with an example of one") {
  struct Row {
    QuantityKind kind;
    const char* text;
    const char* problem;
  };
  const Row rows[] = {
      {QuantityKind::DataRate, "400", R"(expected a data rate such as "400 Gb/s", got '400')"},
      {QuantityKind::ByteSize, "", R"(expected a size such as "80 GB", got '')"},
      {QuantityKind::ByteSize, "GB", R"(expected a size such as "80 GB", got 'GB')"},
      {QuantityKind::Duration, "-2 us", R"(expected a time such as "2 us", got '-2 us')"},
      {QuantityKind::Duration, "+2 us", R"(expected a time such as "2 us", got '+2 us')"},
      {QuantityKind::Duration, "nan s", R"(expected a time such as "2 us", got 'nan s')"},
      {QuantityKind::Duration, "inf s", R"(expected a time such as "2 us", got 'inf s')"},
      {QuantityKind::Duration, ".5 s", R"(expected a time such as "2 us", got '.5 s')"},
      {QuantityKind::Duration, "0 us",
       R"(expected a time such as "2 us", got '0 us': it must be positive)"},
      {QuantityKind::Duration, "1e999 s", R"(expected a time such as "2 us", got '1e999 s')"},
      {QuantityKind::Duration, "1e307 h",
       R"(expected a time such as "2 us", got '1e307 h': too large)"},
      {QuantityKind::ByteSize, "1025 PiB",
       R"(expected a size such as "80 GB", got '1025 PiB': too large)"},
      {QuantityKind::DataRate, "1e-9 b/s",
       R"(expected a data rate such as "400 Gb/s", got '1e-9 b/s': too small)"},
      {QuantityKind::Duration, "1e-400 s", R"(expected a time such as "2 us", got '1e-400 s')"},
      {QuantityKind::Duration, "1,5 s",
       R"(expected a time such as "2 us", got '1,5 s' (the units are s ms us ns min h d))"},
      {QuantityKind::WattPower, "0x10 W",
       R"(expected a power such as "400 W", got '0x10 W' (the units are W kW MW))"},
      {QuantityKind::WattPower, "400 w",
       R"(expected a power such as "400 W", got '400 w' (the units are W kW MW))"},
      {QuantityKind::HourlyPrice, "3 EUR/h",
       R"(expected a price such as "21.96 USD/h", got '3 EUR/h' (the units are USD/h))"},
      {QuantityKind::Percentage, "0.25", R"(expected a percentage such as "25 %", got '0.25')"},
      {QuantityKind::FlopCount, "1 GFLOP/s",
       "expected a number of operations such as \"1 GFLOP\", got '1 GFLOP/s' "
       "(the units are FLOP kFLOP MFLOP GFLOP TFLOP PFLOP EFLOP)"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(parsed_quantity(row.kind, row.text).problem == row.problem);
  }
}

TEST_CASE("zero is a quantity where the reader allows it") {
  CHECK(parsed_quantity(QuantityKind::Duration, "0 us", true).is_valid());
  CHECK_FALSE(parsed_quantity(QuantityKind::Duration, "0", true).is_valid());
}
