// Private to interchange/: sequences of protobuf messages, each after its length as a varint.
#pragma once

#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/util/delimited_message_util.h>

#include <istream>
#include <ostream>
#include <string>

namespace windtunnel {

// Reads messages one by one. Nothing that a file may hold crashes it.
class DelimitedReader {
 public:
  explicit DelimitedReader(std::istream& stream) : input_(&stream) {}

  enum class Result { Message, End, Broken };
  template <class Message>
  Result next(Message& message) {
    bool at_end = false;
    message.Clear();
    if (google::protobuf::util::ParseDelimitedFromZeroCopyStream(&message, &input_, &at_end))
      return Result::Message;
    return at_end ? Result::End : Result::Broken;
  }

 private:
  google::protobuf::io::IstreamInputStream input_;
};

template <class Message>
void write_delimited(const Message& message, std::ostream& stream) {
  google::protobuf::util::SerializeDelimitedToOstream(message, &stream);
}

}  // namespace windtunnel
