// Schedules as CSV: what is written reads back, PyTorch's way of writing reads too, and a file that
// is no schedule for a job is refused at its place.
#include "catch.hpp"
#include "schedules/csv.hpp"

using namespace windtunnel;

namespace {

// "line:column: problem", counted from 1 as messages count; empty if the text is a schedule.
std::string problem_of(std::string_view csv, const ScheduleShape& shape) {
  const ParsedSchedule parsed = parsed_schedule(csv, shape);
  if (parsed.problem.empty()) return "";
  return std::to_string(parsed.line + 1) + ":" + std::to_string(parsed.column + 1) + ": " +
         parsed.problem;
}

constexpr ScheduleShape kTwoRanks = {.devices = 2, .chunks = 1, .micro_batches = 2};
constexpr std::string_view kGood = "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n";

}  // namespace

TEST_CASE("csv: every row of the table reads back as it was written") {
  int schedules = 0;
  for (const ScheduleFamily& family : schedule_table())
    for (const int devices : {1, 2, 4})
      for (const int chunks : {1, 2})
        for (const int micro_batches : {1, 4, 8}) {
          if (!family.limits(devices, micro_batches, chunks).empty()) continue;
          INFO(family.name << " p" << devices << " m" << micro_batches << " v" << chunks);
          const Schedule made = family.make(devices, micro_batches, chunks);
          const ParsedSchedule read = parsed_schedule(
              to_csv(made), {.devices = devices, .chunks = chunks, .micro_batches = micro_batches});
          CHECK(read.problem == "");
          CHECK(read.schedule.actions == made.actions);
          CHECK(read.schedule.device_of_stage == made.device_of_stage);
          CHECK(read.schedule.micro_batches == made.micro_batches);
          ++schedules;
        }
  CHECK(schedules >= 50);
}

TEST_CASE("csv: cells may be idle, quoted or spaced, and lines may end as Python's csv ends them") {
  const Schedule plain = parsed_schedule(kGood, kTwoRanks).schedule;
  for (const std::string_view same :
       {"0F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", "0F0,0F1,,,0B0,,0B1,\n,1F0,1B0,1F1,1B1",
        "\"0F0\", 0F1 ,0B0,\" 0B1\"\n1F0,1B0,1F1,1B1\n"}) {
    INFO(same);
    const ParsedSchedule read = parsed_schedule(same, kTwoRanks);
    CHECK(read.problem == "");
    CHECK(read.schedule.actions == plain.actions);
  }
  CHECK(to_csv(plain) == kGood);
}

TEST_CASE("csv: what is no schedule for the job is refused at its place") {
  const auto problem = [](std::string_view csv) { return problem_of(csv, kTwoRanks); };
  CHECK(problem(kGood) == "");
  CHECK(problem("") == "1:1: 0 lines for 2 pipeline ranks of the job");
  CHECK(problem("0F0,0F1,0B0,0B1\n") == "2:1: 1 line for 2 pipeline ranks of the job");
  CHECK(problem("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n\n") ==
        "3:1: a line too many: the job has 2 pipeline ranks");
  CHECK(problem("0F0,0F1,0B0,0B1\n,,\n") ==
        "2:1: 0 stages on this rank instead of 1 (virtual_stages)");
  for (const std::string_view bad : {"0X0", "F0", "0F", "0F0x", "-1F0", "0SEND_F0", "0UNSHARD",
                                     "99999999999F0", "0F99999999999", "0 F0"})
    CHECK(problem("0F0, " + std::string(bad) + ",0B0,0B1\n1F0,1B0,1F1,1B1\n") ==
          "1:6: '" + std::string(bad) +
              "' is not an action such as 2F0: stage, one of F B I W, micro-batch (messages "
              "follow from the actions)");
  CHECK(problem("0F0,0F1,0B0,0B1\n1F0,1B0,2F1,1B1\n") ==
        "2:9: 2F1: the job has stages 0 to 1 (pipeline 2 x virtual_stages 1)");
  CHECK(problem("0F0,0F1,0B0,0B1\n1F0,1B0,1F2,1B1\n") ==
        "2:9: 1F2: the job has micro-batches 0 to 1");
  CHECK(problem("0F0,0F1,0B0,0B1\n0F0,1B0,1F1,1B1\n") ==
        "2:1: 0F0: stage 0 is on the rank of line 1 already");
  CHECK(problem("0F0,0F1,0B0,1B1\n1F0,1B0,1F1,1B1\n") ==
        "1:13: 1B1: one stage more than the 1 of a rank (virtual_stages)");
  CHECK(problem("0F0,0F1,0F0,0B0,0B1\n1F0,1B0,1F1,1B1\n") == "1:9: 0F0 is listed twice");
  CHECK(problem("0F0,0F1,0B0,0B1\n1F0,1B0,1F1\n") == "2:1: 1B1 is missing");
  CHECK(problem("0F0,0F1,0I0,0B1\n1F0,1B0,1F1,1B1\n") == "1:1: 0W0 is missing");
  CHECK(problem("0F0,0F1,0B0,0B1,0W1\n1F0,1B0,1F1,1B1\n") == "1:1: 0W1 repeats a part of 0B1");
  // Rank 0 wants the gradient of micro-batch 0 before it sends micro-batch 1, rank 1 the reverse.
  CHECK(problem("0F0,0B0,0F1,0B1\n1F0,1F1,1B1,1B0\n") ==
        "1:5: deadlock: device 0 waits at 0B0, device 1 waits at 1F1");
}

TEST_CASE("csv: no text crashes the reader") {
  const std::string good(kGood);
  for (std::size_t length = 0; length <= good.size(); ++length)
    problem_of(good.substr(0, length), kTwoRanks);
  for (std::size_t at = 0; at < good.size(); ++at)
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = good;
      changed[at] = char(byte);
      const ParsedSchedule parsed = parsed_schedule(changed, kTwoRanks);
      if (parsed.problem.empty()) CHECK(check_schedule(parsed.schedule) == "");
    }
}
