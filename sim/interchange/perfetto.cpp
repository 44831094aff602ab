#include "interchange/perfetto.hpp"

#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "perfetto.pb.h"

namespace windtunnel {
namespace {

constexpr std::size_t kFlushBytes = 1 << 20;
constexpr std::uint32_t kSequence = 1;  // one writer, one sequence of packets
constexpr std::int64_t kPicosecondsOfNanosecond = 1000;

std::uint64_t nanoseconds(Picoseconds time) {
  return std::uint64_t((time + kPicosecondsOfNanosecond / 2) / kPicosecondsOfNanosecond);
}

// Tracks have numbers of their own; 0 is the whole trace's.
class Tracks {
 public:
  // And whether it is new.
  std::pair<std::uint64_t, bool> number(int process, int thread, std::string_view counter) {
    const auto [found, is_new] =
        numbers_.try_emplace({process, thread, std::string(counter)}, numbers_.size() + 1);
    return {found->second, is_new};
  }

 private:
  std::map<std::tuple<int, int, std::string>, std::uint64_t> numbers_;
};

// Numbers of texts that packets refer to, from 1.
class Interned {
 public:
  template <class AddNew>
  std::uint64_t iid(std::string_view text, const AddNew& add_new) {
    const auto found = numbers_.find(text);
    if (found != numbers_.end()) return found->second;
    const std::uint64_t number = numbers_.size() + 1;
    numbers_.emplace(text, number);
    perfetto::InternedString& added = *add_new();
    added.set_iid(number);
    added.set_name(std::string(text));
    return number;
  }

 private:
  std::map<std::string, std::uint64_t, std::less<>> numbers_;
};

class PerfettoWriter : public TraceWriter {
 public:
  explicit PerfettoWriter(std::function<void(std::string_view)> sink) : sink_(std::move(sink)) {}
  PerfettoWriter(const PerfettoWriter&) = delete;
  PerfettoWriter& operator=(const PerfettoWriter&) = delete;
  ~PerfettoWriter() override { flush(); }

  void process(int process, int place, const std::string& name) override {
    perfetto::TracePacket& packet = new_packet();
    perfetto::TrackDescriptor& track = *packet.mutable_track_descriptor();
    track.set_uuid(tracks_.number(process, kNone, "").first);
    perfetto::ProcessDescriptor& descriptor = *track.mutable_process();
    descriptor.set_pid(process);
    descriptor.set_legacy_sort_index(place);
    descriptor.set_process_name(name);
    finish();
  }

  void thread(int process, int thread, const std::string& name) override {
    perfetto::TracePacket& packet = new_packet();
    perfetto::TrackDescriptor& track = *packet.mutable_track_descriptor();
    track.set_uuid(tracks_.number(process, thread, "").first);
    track.set_parent_uuid(tracks_.number(process, kNone, "").first);
    perfetto::ThreadDescriptor& descriptor = *track.mutable_thread();
    descriptor.set_pid(process);
    descriptor.set_tid(thread);
    descriptor.set_legacy_sort_index(thread);
    descriptor.set_thread_name(name);
    finish();
  }

  void slice(const TraceSlice& slice) override {
    const std::uint64_t track = tracks_.number(slice.process, slice.thread, "").first;
    perfetto::TracePacket& begin = new_packet();
    begin.set_timestamp(nanoseconds(slice.start));
    perfetto::InternedData& interned = *begin.mutable_interned_data();
    perfetto::TrackEvent& event = *begin.mutable_track_event();
    event.set_type(perfetto::TrackEvent::TYPE_SLICE_BEGIN);
    event.set_track_uuid(track);
    event.set_name_iid(names_.iid(slice.name, [&] { return interned.add_event_names(); }));
    event.add_category_iids(
        categories_.iid(slice.category, [&] { return interned.add_event_categories(); }));
    for (const SliceArgument& argument : slice.arguments) add(argument, event, interned);
    for (const int arrow : slice.arrows_out) event.add_flow_ids(flow(arrow));
    for (const int arrow : slice.arrows_in) event.add_terminating_flow_ids(flow(arrow));
    if (interned.ByteSizeLong() == 0) begin.clear_interned_data();
    finish();

    perfetto::TracePacket& end = new_packet();
    end.set_timestamp(nanoseconds(slice.end));
    end.mutable_track_event()->set_type(perfetto::TrackEvent::TYPE_SLICE_END);
    end.mutable_track_event()->set_track_uuid(track);
    finish();
  }

  void counter(int process, std::string_view name, std::string_view unit, Picoseconds time,
               std::span<const CounterValue> values) override {
    for (const CounterValue& value : values) {
      const std::string label = std::string(name) + " " + std::string(value.series);
      const auto [track, is_new] = tracks_.number(process, kNone, label);
      if (is_new) describe_counter(process, track, label, unit);
      perfetto::TracePacket& packet = new_packet();
      packet.set_timestamp(nanoseconds(time));
      perfetto::TrackEvent& event = *packet.mutable_track_event();
      event.set_type(perfetto::TrackEvent::TYPE_COUNTER);
      event.set_track_uuid(track);
      event.set_double_counter_value(value.value);
      finish();
    }
  }

 private:
  static constexpr int kNone = -1;  // of a track that is no thread's

  // Perfetto takes flow 0 for none.
  static std::uint64_t flow(int arrow) { return std::uint64_t(arrow) + 1; }

  void describe_counter(int process, std::uint64_t track, const std::string& label,
                        std::string_view unit) {
    perfetto::TracePacket& packet = new_packet();
    perfetto::TrackDescriptor& descriptor = *packet.mutable_track_descriptor();
    descriptor.set_uuid(track);
    descriptor.set_parent_uuid(tracks_.number(process, kNone, "").first);
    descriptor.set_name(label);
    perfetto::CounterDescriptor& counter = *descriptor.mutable_counter();
    if (unit == "bytes")
      counter.set_unit(perfetto::CounterDescriptor::UNIT_SIZE_BYTES);
    else
      counter.set_unit_name(std::string(unit));
    finish();
  }

  void add(const SliceArgument& argument, perfetto::TrackEvent& event,
           perfetto::InternedData& interned) {
    perfetto::DebugAnnotation& added = *event.add_debug_annotations();
    added.set_name_iid(
        keys_.iid(argument.key, [&] { return interned.add_debug_annotation_names(); }));
    if (const auto* whole = std::get_if<std::int64_t>(&argument.value))
      added.set_int_value(*whole);
    else if (const auto* number = std::get_if<double>(&argument.value))
      added.set_double_value(*number);
    else
      added.set_string_value(std::get<std::string>(argument.value));
  }

  // The packet that finish() appends. A Trace is its packets one after another.
  perfetto::TracePacket& new_packet() {
    trace_.Clear();
    perfetto::TracePacket& packet = *trace_.add_packet();
    packet.set_trusted_packet_sequence_id(kSequence);
    packet.set_sequence_flags(
        perfetto::TracePacket::SEQ_NEEDS_INCREMENTAL_STATE |
        (is_first_ ? perfetto::TracePacket::SEQ_INCREMENTAL_STATE_CLEARED : 0));
    is_first_ = false;
    return packet;
  }

  void finish() {
    trace_.AppendToString(&buffer_);
    if (buffer_.size() >= kFlushBytes) flush();
  }

  void flush() {
    sink_(buffer_);
    buffer_.clear();
  }

  std::function<void(std::string_view)> sink_;
  std::string buffer_;
  perfetto::Trace trace_;  // of one packet
  bool is_first_ = true;
  Tracks tracks_;
  Interned names_, categories_, keys_;
};

}  // namespace

std::unique_ptr<TraceWriter> perfetto_writer(std::function<void(std::string_view)> sink) {
  return std::make_unique<PerfettoWriter>(std::move(sink));
}

}  // namespace windtunnel
