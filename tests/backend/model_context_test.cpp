// Shared samples: who has which tokens, and that what attention sends is what the plan says.
#include "backend/catch.hpp"

#include "backend/model/attention.hpp"
#include "backend/model/context_parallel.hpp"
#include "model_runs.hpp"

namespace windtunnel {
namespace {

// A group of threads that counts the bytes it sends to other members.
class CountingGroup : public ThreadGroup {
 public:
  using ThreadGroup::ThreadGroup;
  double sent = 0;

  void all_gather(at::Tensor whole, const at::Tensor& part) override {
    sent += double(part.nbytes()) * (size() - 1);
    ThreadGroup::all_gather(whole, part);
  }
  void reduce_scatter(at::Tensor part, at::Tensor whole) override {
    sent += double(part.nbytes()) * (size() - 1);
    ThreadGroup::reduce_scatter(part, whole);
  }
  void all_to_all(const std::vector<at::Tensor>& incoming,
                  const std::vector<at::Tensor>& outgoing) override {
    for (int to = 0; to < size(); ++to)
      if (to != rank()) sent += double(outgoing[std::size_t(to)].nbytes());
    ThreadGroup::all_to_all(incoming, outgoing);
  }
};

// Bytes that a rank sends to others of n in the collectives of these pieces.
double sent_in(const std::vector<Piece>& pieces, int n) {
  double sent = 0;
  for (const Piece& piece : pieces)
    if (const auto* collective = std::get_if<LayerCollective>(&piece.what))
      sent += collective->size.value * (n - 1) / n;
  return sent;
}

}  // namespace

TEST_CASE("a rank has a chunk from the front and one from the back", "[model]") {
  const at::Tensor tokens = at::arange(8, at::kLong);
  const at::Tensor by_rank = tokens_by_rank(tokens, 2);
  CHECK(by_rank.equal(at::tensor({0, 1, 6, 7, 2, 3, 4, 5}, at::kLong).view({2, 4})));
  CHECK(tokens_in_order(by_rank).equal(tokens));
  const at::Tensor rows = at::randn({24, 3, 5});
  CHECK(tokens_in_order(tokens_by_rank(rows, 4)).equal(rows));
}

TEST_CASE("shared samples send the bytes of the plan", "[model]") {
  constexpr int kRanks = 4;
  Job job = small_job(model_of("llama", {{"layers", {1}},
                                         {"hidden", {16}},
                                         {"heads", {8}},
                                         {"kv_heads", {4}},
                                         {"head_size", {4}},
                                         {"vocab", {32}},
                                         {"ffn", {24}}}));
  job.attention = AttentionKernel::Flash;
  job.parallel.context = job.gpus = kRanks;
  for (const auto kind :
       {ContextParallel::Ring, ContextParallel::AllGather, ContextParallel::Ulysses}) {
    job.parallel.context_parallel = kind;
    const LayerWork work = layer_work(job.model, 1, job.slice());
    const auto hub = std::make_shared<ThreadGroupHub>(kRanks);
    std::vector<double> forward(kRanks), backward(kRanks);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < kRanks; ++rank)
      threads.emplace_back([&, rank] {
        CountingGroup group(rank, kRanks, hub);
        LayerContext context = context_of(job);
        context.context = &group;
        context.context_parallel = kind;
        const auto block = make_layer(job, 1, context, 1);
        const at::Tensor x = at::randn(output_shape(job, 0)).set_requires_grad(true);
        const at::Tensor y = block->forward(x, {});
        forward[std::size_t(rank)] = group.sent;
        torch::autograd::grad({y}, {x}, {at::ones_like(y)});
        backward[std::size_t(rank)] = group.sent - forward[std::size_t(rank)];
      });
    for (std::thread& thread : threads) thread.join();
    INFO(name_of(kContextParallelNames, kind));
    for (int rank = 0; rank < kRanks; ++rank) {
      CHECK(forward[std::size_t(rank)] == Approx(sent_in(work.forward, kRanks)));
      CHECK(backward[std::size_t(rank)] == Approx(sent_in(work.backward, kRanks)));
    }
  }
}

}  // namespace windtunnel
