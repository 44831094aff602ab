// Published runs by class: how far predictions of runs like a job were off, and what those runs
// were. `windtunnel validate --write-intervals` writes them to validation/intervals.json, which is
// compiled in, so that they are the same from any folder.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plan/job.hpp"

namespace windtunnel {

// Data: only copies of the whole model, sharded or not, or one GPU. Tensor: split over tensor ranks
// but not over a pipeline. Pipeline: any split that has a pipeline.
enum class ParallelismKind { Data, Tensor, Pipeline };
inline constexpr std::array<std::string_view, 3> kParallelismKindNames = {"data", "tensor",
                                                                          "pipeline"};

// A number that a job is like published runs in, or unlike them.
struct RunSize {
  std::string_view key;                         // in intervals.json
  std::string_view phrase;                      // "{} GPUs", for people
  std::optional<double> (*of)(const Job& job);  // whole; nothing where a model has no such size
};
inline constexpr std::size_t kRunSizes = 7;
std::span<const RunSize, kRunSizes> run_sizes();

struct RunTraits {
  std::string card;  // name of the profile; empty if the job runs on several types of GPU
  ParallelismKind parallelism = ParallelismKind::Data;
  std::string precision, family;
  std::array<std::optional<double>, kRunSizes> sizes;  // by run_sizes()
};
RunTraits run_traits(const Job& job);

struct SizeRange {
  double from = 0, to = 0;
  bool operator==(const SizeRange&) const = default;
};

struct RunClass {
  std::string card;                            // empty: any
  std::optional<ParallelismKind> parallelism;  // nothing: any
  int runs = 0;
  double p10 = 1, p90 = 1;                        // of published / predicted step time
  std::vector<std::string> precisions, families;  // sorted
  std::array<std::optional<SizeRange>, kRunSizes> sizes;
  bool operator==(const RunClass&) const = default;
};

// intervals.json, a line for each class, and the classes in it.
std::string to_json(std::span<const RunClass> classes);
std::vector<RunClass> run_classes_from(std::string_view json);
// Those that are compiled in.
const std::vector<RunClass>& published_classes();

// Fewer runs than these make no class of their own: their p10 is hardly more than the smallest.
inline constexpr int kLeastRuns = 10;

// Published runs on this card, of every kind.
int runs_on_card(std::string_view card, std::span<const RunClass> classes);

// The class that a job's interval comes from: of its card and kind, else of its card, else of all
// runs. Null where no run was published on the card.
const RunClass* class_of(const RunTraits& traits, std::span<const RunClass> classes);

// "pipeline-parallel runs on this card", "runs on any card, 4 of them on this one".
std::string class_text(const RunClass& found, int on_card);

// In what a job is unlike all runs of a class: "16384 GPUs (published: 8 to 3072)".
std::vector<std::string> unlike(const RunTraits& traits, const RunClass& runs);

}  // namespace windtunnel
