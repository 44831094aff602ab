// Perfetto's binary form, read back with our own schema.
#include <map>
#include <string>

#include "catch.hpp"
#include "interchange/perfetto.hpp"
#include "perfetto.pb.h"

using namespace windtunnel;

namespace {

perfetto::Trace drawn() {
  std::string bytes;
  auto writer = perfetto_writer([&bytes](std::string_view piece) { bytes += piece; });
  writer->process(1, 0, "rank 0");
  writer->thread(1, 10, "compute");
  for (int i = 0; i < 2; ++i)
    writer->slice({.process = 1,
                   .thread = 10,
                   .start = 1'000'000 * i,
                   .end = 1'000'000 * i + 500'499,
                   .name = "0F0",
                   .category = "forward",
                   .arguments = {{"stage", std::int64_t{3}},
                                 {"recompute_us", 0.5},
                                 {"layers", std::string("0-1")}},
                   .arrows_out = {0},
                   .arrows_in = {7, 8}});
  const CounterValue values[] = {{"weights", 5e9}, {"logits", 0}};
  writer->counter(1, "memory_bytes", "bytes", 2'000, values);
  writer->counter(1, "memory_bytes", "bytes", 3'000, values);
  writer->counter(1, "link_load_percent", "%", 3'000, {values, 1});
  writer.reset();
  perfetto::Trace trace;
  REQUIRE(trace.ParseFromString(bytes));
  return trace;
}

}  // namespace

TEST_CASE("perfetto: tracks are described before they are used, each once") {
  std::map<std::uint64_t, perfetto::TrackDescriptor> tracks;
  std::map<std::string, int> events;  // by name of the counter, or of the thread
  const perfetto::Trace trace = drawn();
  for (const perfetto::TracePacket& packet : trace.packet()) {
    CHECK(packet.trusted_packet_sequence_id() == 1);
    if (packet.has_track_descriptor()) {
      const auto& track = packet.track_descriptor();
      CHECK(tracks.emplace(track.uuid(), track).second);
      CHECK((track.has_process() || tracks.contains(track.parent_uuid())));
      continue;
    }
    const auto found = tracks.find(packet.track_event().track_uuid());
    REQUIRE(found != tracks.end());
    const perfetto::TrackDescriptor& track = found->second;
    ++events[track.has_thread() ? track.thread().thread_name() : track.name()];
    if (track.name() == "memory_bytes weights") {
      CHECK(track.counter().unit() == perfetto::CounterDescriptor::UNIT_SIZE_BYTES);
      CHECK(packet.track_event().double_counter_value() == 5e9);
    }
    if (track.name() == "link_load_percent weights") CHECK(track.counter().unit_name() == "%");
  }
  CHECK(events == std::map<std::string, int>{{"compute", 4},
                                             {"memory_bytes weights", 2},
                                             {"memory_bytes logits", 2},
                                             {"link_load_percent weights", 1}});
}

TEST_CASE("perfetto: slices, their texts said once, and their arrows") {
  const perfetto::Trace trace = drawn();
  // A descriptor of the process and of the thread, then begin and end of both slices.
  REQUIRE(trace.packet_size() > 6);
  CHECK(trace.packet(0).sequence_flags() == 3);  // clears what was said before, and needs it
  CHECK(trace.packet(1).sequence_flags() == 2);
  const perfetto::TracePacket &first = trace.packet(2), &second = trace.packet(4);
  REQUIRE(first.interned_data().event_names_size() == 1);
  CHECK(first.interned_data().event_names(0).name() == "0F0");
  CHECK(first.interned_data().event_names(0).iid() == first.track_event().name_iid());
  CHECK(first.interned_data().debug_annotation_names_size() == 3);
  CHECK(!second.has_interned_data());
  CHECK(second.track_event().name_iid() == first.track_event().name_iid());
  CHECK(second.track_event().category_iids(0) == 1);
  CHECK(first.track_event().type() == perfetto::TrackEvent::TYPE_SLICE_BEGIN);
  CHECK(trace.packet(3).track_event().type() == perfetto::TrackEvent::TYPE_SLICE_END);
  // Picoseconds, to whole nanoseconds.
  CHECK(first.timestamp() == 0);
  CHECK(trace.packet(3).timestamp() == 500);
  CHECK(second.timestamp() == 1000);
  CHECK(first.track_event().debug_annotations(0).int_value() == 3);
  CHECK(first.track_event().debug_annotations(1).double_value() == 0.5);
  CHECK(first.track_event().debug_annotations(2).string_value() == "0-1");
  REQUIRE(first.track_event().flow_ids_size() == 1);
  CHECK(first.track_event().flow_ids(0) == 1);
  REQUIRE(first.track_event().terminating_flow_ids_size() == 2);
  CHECK(first.track_event().terminating_flow_ids(1) == 9);
}
