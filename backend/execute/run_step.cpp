#include "backend/execute/run_step.hpp"

#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

namespace windtunnel {

namespace {

// Ops that one thread runs in order.
struct Lane {
  Stream stream = Stream::Compute;
  int number = 0;
  std::vector<int> ops;
};

bool is_blocking_receive(const Op& op) {
  return op.kind == OpKind::Receive && op.stream == Stream::Compute;
}

// One lane a stream; the messages of each sender and direction arrive in a lane of their own. A
// receive that holds the compute stream has its message posted early all the same.
std::vector<Lane> lanes_of(const Program& program) {
  std::map<std::pair<int, Purpose>, Lane> receives;
  std::map<Stream, Lane> streams;
  for (int i = 0; i < int(program.ops.size()); ++i) {
    const Op& op = program.ops[std::size_t(i)];
    if (op.kind == OpKind::Receive) receives[{op.peer, op.purpose}].ops.push_back(i);
    if (op.stream != Stream::Receive) streams[op.stream].ops.push_back(i);
  }
  std::vector<Lane> lanes;
  lanes.reserve(streams.size() + receives.size());
  for (auto& [stream, lane] : streams) lanes.push_back({stream, 0, std::move(lane.ops)});
  int number = 0;
  for (auto& [sender, lane] : receives)
    lanes.push_back({Stream::Receive, number++, std::move(lane.ops)});
  return lanes;
}

struct Stopped {};  // another thread has failed

// One step under way. Threads share it, so that it lives as long as the last of them.
class Step {
 public:
  Step(const Program& program, std::shared_ptr<RankWork> work, std::shared_ptr<Device> device,
       std::function<void(const std::string&)> doing)
      : program_(program),
        work_(std::move(work)),
        device_(std::move(device)),
        doing_(std::move(doing)),
        begin_(program.ops.size()),
        end_(program.ops.size()),
        arrival_(program.ops.size()) {}

  void run(const Lane& lane) {
    try {
      device_->enter(lane.stream, lane.number);
      for (const int op : lane.ops) {
        if (lane.stream == Stream::Receive)
          arrive(op);
        else
          run_op(op);
      }
    } catch (const Stopped&) {
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    ++lanes_ended_;
    changed_.notify_all();
  }

  std::vector<OpTime> result(std::size_t lanes) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return error_ || lanes_ended_ == lanes; });
    if (error_) std::rethrow_exception(error_);
    std::vector<OpTime> times;
    for (std::size_t op = 0; op < program_.ops.size(); ++op)
      times.push_back({device_->time(*begin_[op]), device_->time(*end_[op]), {}});
    work_->end_step();
    for (std::size_t op = 0; op < program_.ops.size(); ++op)
      if (program_.ops[op].kind == OpKind::Compute) times[op].parts = work_->parts(int(op));
    return times;
  }

 private:
  using Marks = std::vector<std::optional<Mark>>;

  void arrive(int op) {
    const Mark begin = device_->mark();
    work_->receive(op);
    const Mark end = device_->mark();
    const std::lock_guard lock(mutex_);
    arrival_[std::size_t(op)] = end;
    if (!is_blocking_receive(program_.ops[std::size_t(op)])) {
      begin_[std::size_t(op)] = begin;
      end_[std::size_t(op)] = end;
    }
    changed_.notify_all();
  }

  void run_op(int index) {
    const Op& op = program_.ops[std::size_t(index)];
    for (const int before : op.after) wait_for(end_, before);
    if (doing_) doing_(op_name(op));
    const Mark begin = device_->mark();
    switch (op.kind) {
      case OpKind::Compute:
        work_->compute(index);
        break;
      case OpKind::Collective:
        work_->collective(index);
        break;
      case OpKind::Send:
        work_->send(index);
        break;
      case OpKind::Receive:
        wait_for(arrival_, index);
        break;
    }
    const Mark end = device_->mark();
    const std::lock_guard lock(mutex_);
    begin_[std::size_t(index)] = begin;
    end_[std::size_t(index)] = end;
    changed_.notify_all();
  }

  void wait_for(const Marks& marks, int op) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return error_ || marks[std::size_t(op)]; });
    if (error_) throw Stopped();
    const Mark mark = *marks[std::size_t(op)];
    lock.unlock();
    device_->wait(mark);
  }

  const Program& program_;
  std::shared_ptr<RankWork> work_;
  std::shared_ptr<Device> device_;
  std::function<void(const std::string&)> doing_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Marks begin_, end_, arrival_;  // by op
  std::size_t lanes_ended_ = 0;
  std::exception_ptr error_;
};

}  // namespace

std::vector<OpTime> run_step(const Program& program, const std::shared_ptr<RankWork>& work,
                             const std::shared_ptr<Device>& device,
                             const std::function<void(const std::string&)>& doing) {
  device->begin_step();
  work->begin_step();
  const std::vector<Lane> lanes = lanes_of(program);
  const auto step = std::make_shared<Step>(program, work, device, doing);
  for (const Lane& lane : lanes) std::thread([step, lane] { step->run(lane); }).detach();
  return step->result(lanes.size());
}

}  // namespace windtunnel
