#include "commands/sweep_page.hpp"

#include <array>
#include <nlohmann/json.hpp>

#include "commands/sweep_table.hpp"
#include "report/page.hpp"

namespace windtunnel {
namespace {

using Json = nlohmann::ordered_json;

// sweep.js starts the page.
constexpr std::array<std::string_view, 4> kScripts = {"format.js", "theme.js", "charts.js",
                                                      "sweep.js"};

Json or_null(const Number& number) {
  return number ? Json(*number) : Json(nullptr);
}

// Units are in the keys; `usd` and `gpu_s` are for a million tokens or samples.
Json point_json(const SweepPoint& point) {
  const bool has_share = point.memory && point.capacity && *point.capacity > 0;
  Json json = {{"values", point.values},
               {"status", point.status},
               {"ran", point.ran()},
               {"gpus", or_null(point.gpus)},
               {"step_s", or_null(point.step)},
               {"per_s", or_null(point.throughput)},
               {"speed_up", or_null(point.speed_up)},
               {"efficiency", or_null(point.efficiency)},
               {"mfu", or_null(point.mfu)},
               {"bubble", or_null(point.bubble)},
               {"memory", has_share ? Json(*point.memory / *point.capacity) : Json(nullptr)},
               {"usd", or_null(point.usd)},
               {"gpu_s", nullptr}};
  if (point.ran() && point.gpus) json["gpu_s"] = 1e6 * *point.gpus / *point.throughput;
  return json;
}

Json page_json(const std::string& title, const SweepPoints& sweep) {
  const SweepTable table = sweep_table(sweep);
  Json json = {{"title", title},
               {"keys", sweep.keys},
               {"naming", sweep.naming},
               {"unit", sweep.unit()},
               {"varies_gpus", sweep.varies_gpus},
               {"knee_efficiency", kKnee},
               {"cheapest", sweep.cheapest ? Json(*sweep.cheapest) : Json(nullptr)},
               {"findings", table.findings},
               {"failures", table.failures},
               {"titles", table.titles},
               {"rows", table.rows}};
  json["points"] = Json::array();
  for (const SweepPoint& point : sweep.points) json["points"].push_back(point_json(point));
  json["series"] = Json::array();
  for (const SweepSeries& series : sweep.series)
    json["series"].push_back({{"name", series.name},
                              {"points", series.points},
                              {"scaling", name_of(series.scaling)},
                              {"knee", series.knee}});
  return json;
}

}  // namespace

std::string sweep_page(const std::string& title, const SweepPoints& sweep) {
  // Values come from the command line, which need not be valid UTF-8.
  const std::string json =
      page_json(title, sweep).dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string page;
  write_page(
      "sweep.html", kScripts, [&](const PageSink& sink) { sink(without_markup(json)); },
      [&page](std::string_view piece) { page += piece; });
  return page;
}

}  // namespace windtunnel
