#include "backend/comm/nccl_group.hpp"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>
#include <nccl.h>

#include <cstring>

#include "backend/backend_error.hpp"
#include "backend/comm/store.hpp"
#include "base/check.hpp"

namespace windtunnel {

namespace {

cudaStream_t current_stream() {
  return c10::cuda::getCurrentCUDAStream().stream();
}

ncclDataType_t type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kHalf:
      return ncclFloat16;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kLong:
      return ncclInt64;
    case at::kInt:
      return ncclInt32;
    case at::kByte:
      return ncclUint8;
    default:
      SIM_CHECK(false, "NCCL has no such type");
      return ncclFloat32;
  }
}

std::size_t count_of(const at::Tensor& tensor) {
  SIM_CHECK(tensor.is_cuda() && tensor.is_contiguous(), "NCCL moves contiguous CUDA tensors");
  return static_cast<std::size_t>(tensor.numel());
}

// An id is bytes; the store keeps text, which may hold any.
std::string text_of(const ncclUniqueId& id) {
  return {id.internal, sizeof id.internal};
}
ncclUniqueId id_of(const std::string& text) {
  ncclUniqueId id;
  SIM_CHECK(text.size() == sizeof id.internal, "the key holds an id of NCCL");
  std::memcpy(id.internal, text.data(), text.size());
  return id;
}

class NcclGroup : public Group {
 public:
  NcclGroup(Rendezvous& rendezvous, const std::string& name, const std::vector<int>& members,
            int rank, at::Device device)
      : Group(rank, static_cast<int>(members.size())), name_(name), members_(members) {
    const c10::cuda::CUDAGuard on_device(device);
    const std::string key = "nccl/" + name;
    if (rank == 0) {
      ncclUniqueId id;
      check("making an id", ncclGetUniqueId(&id));
      rendezvous.set(key, text_of(id));
    }
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 1;
    check("connecting", ncclCommInitRankConfig(&communicator_, size(), id_of(rendezvous.get(key)),
                                               rank, &config));
  }
  // After a failure peers may be gone, and destroying waits for them.
  ~NcclGroup() override {
    if (failed_)
      ncclCommAbort(communicator_);
    else
      ncclCommDestroy(communicator_);
  }

  void all_reduce(at::Tensor data) override {
    check("all-reduce", ncclAllReduce(data.data_ptr(), data.data_ptr(), count_of(data),
                                      type_of(data), ncclSum, communicator_, current_stream()));
  }

  void all_gather(at::Tensor whole, const at::Tensor& part) override {
    SIM_CHECK(count_of(whole) == count_of(part) * size(), "`whole` has a part of each member");
    check("all-gather", ncclAllGather(part.data_ptr(), whole.data_ptr(), count_of(part),
                                      type_of(part), communicator_, current_stream()));
  }

  void reduce_scatter(at::Tensor part, at::Tensor whole) override {
    SIM_CHECK(count_of(whole) == count_of(part) * size(), "`whole` has a part of each member");
    check("reduce-scatter",
          ncclReduceScatter(whole.data_ptr(), part.data_ptr(), count_of(part), type_of(part),
                            ncclSum, communicator_, current_stream()));
  }

  void broadcast(at::Tensor data, int root) override {
    check("broadcast", ncclBroadcast(data.data_ptr(), data.data_ptr(), count_of(data),
                                     type_of(data), root, communicator_, current_stream()));
  }

  void all_to_all(const std::vector<at::Tensor>& incoming,
                  const std::vector<at::Tensor>& outgoing) override {
    check("all-to-all", ncclGroupStart());
    for (int member = 0; member < size(); ++member) {
      const at::Tensor &from = incoming[member], &to = outgoing[member];
      if (to.numel() > 0)
        check("all-to-all", ncclSend(to.data_ptr(), count_of(to), type_of(to), member,
                                     communicator_, current_stream()));
      if (from.numel() > 0)
        check("all-to-all", ncclRecv(from.data_ptr(), count_of(from), type_of(from), member,
                                     communicator_, current_stream()));
    }
    check("all-to-all", ncclGroupEnd());
  }

  // NCCL knows no tags: messages between two ranks match in the order of the calls.
  void send(const at::Tensor& data, int to, int tag) override {
    check(fmt::format("send (to rank {}, tag {})", members_[to], tag),
          ncclSend(data.data_ptr(), count_of(data), type_of(data), to, communicator_,
                   current_stream()));
  }

  void receive(at::Tensor data, int from, int tag) override {
    check(fmt::format("receive (from rank {}, tag {})", members_[from], tag),
          ncclRecv(data.data_ptr(), count_of(data), type_of(data), from, communicator_,
                   current_stream()));
  }

  // NCCL has none. A collective, and the host waits for it.
  void barrier() override {
    all_reduce(at::zeros({1}, at::TensorOptions(at::kCUDA).dtype(at::kFloat)));
    c10::cuda::getCurrentCUDAStream().synchronize();
    check("barrier", ncclSuccess);
  }

 private:
  // Of the call, and of all that was queued before it.
  void check(const std::string& operation, ncclResult_t result) {
    if (result == ncclSuccess && communicator_) {
      ncclResult_t earlier = ncclSuccess;
      result = ncclCommGetAsyncError(communicator_, &earlier);
      if (result == ncclSuccess) result = earlier;
    }
    if (result == ncclSuccess) return;
    failed_ = true;
    throw BackendError(fmt::format("{} in group \"{}\" of {} failed at rank {}: {} ({})", operation,
                                   name_, ranks_text(members_), members_[rank()],
                                   ncclGetErrorString(result), ncclGetLastError(communicator_)));
  }

  std::string name_;
  std::vector<int> members_;
  ncclComm_t communicator_ = nullptr;
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<Group> make_nccl_group(Rendezvous& rendezvous, const std::string& name,
                                       const std::vector<int>& members, int rank,
                                       at::Device device) {
  return std::make_unique<NcclGroup>(rendezvous, name, members, rank, device);
}

}  // namespace windtunnel
