// Groups of real processes: every collective against its arithmetic (in rank_program.cpp).
#include "backend/catch.hpp"

#include "ranks.hpp"

namespace windtunnel {

TEST_CASE("collectives give every rank what the arithmetic says", "[gloo]") {
  const int ranks = GENERATE(1, 2, 3, 4);
  CAPTURE(ranks);
  CHECK(end_of_ranks(ranks, {"collectives"}).how == "");
}

TEST_CASE("two groups of the same ranks work at once", "[gloo]") {
  CHECK(end_of_ranks(3, {"two_groups"}).how == "");
}

TEST_CASE("the store hands values from rank to rank") {
  CHECK(end_of_ranks(3, {"keys"}).how == "");
}

}  // namespace windtunnel
