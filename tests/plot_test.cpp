// The verb `plot`: its pictures show what the files say, and wrong files are refused.
#include "commands/plot.hpp"

#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "catch.hpp"
#include "commands/csv.hpp"
#include "commands/plot_look.hpp"
#include "commands/sweep_row.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"
#include "folder.hpp"
#include "report/format.hpp"
#include "report/page_files.hpp"
#include "report/report.hpp"

using namespace windtunnel;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

const std::string kRoot = WINDTUNNEL_SOURCE_DIR;

void write_run(const fs::path& folder, const std::string& job_file) {
  const Job job = load_job(kRoot + "/workloads/" + job_file, {});
  const Plan plan = build_plan(job);
  const Trace trace = simulate(plan, build_cluster(job.cluster, job.gpus), conditions_of(job));
  REQUIRE(write_outputs(folder, job, plan, trace, summarize(job, plan, trace)).empty());
}

template <class Kind>
std::vector<Kind> shapes(const Picture& picture, const std::string& what) {
  std::vector<Kind> found;
  for (const Shape& shape : picture.shapes)
    if (const auto* each = std::get_if<Kind>(&shape); each && each->what == what)
      found.push_back(*each);
  return found;
}

bool has_text(const Picture& picture, const std::string& text) {
  for (const Shape& shape : picture.shapes)
    if (const auto* each = std::get_if<Text>(&shape); each && each->text == text) return true;
  return false;
}

std::string error_of(const PlotOptions& options) {
  try {
    plot(options);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

// Twice as many GPUs, 1.9 and 3.0 times as fast: efficiencies of 95 % and 75 %.
std::string sweep_csv() {
  CsvRow header = {"gpus"};
  for (const std::string& column : sweep_columns({"gpus"})) header.push_back(column);
  std::string text = csv_line(header) + "\n";
  const auto add = [&](const char* gpus, const char* speed) {
    CsvRow row(header.size());
    row[0] = gpus;
    row[column_of(header, "status")] = "ok";
    row[column_of(header, "global_batch_samples")] = "64";
    row[column_of(header, "step_time_s")] = "1";
    row[column_of(header, "samples_per_s")] = speed;
    text += csv_line(row) + "\n";
  };
  add("8", "10");
  add("16", "19");
  add("32", "30");
  return text;
}

}  // namespace

TEST_CASE("plot: a timeline has every slice and every pause in its place") {
  const TemporaryFolder folder("plot_timeline");
  write_run(folder.path, "zb-h1-teaching.yaml");
  const Picture picture = timeline_picture(folder.path);
  const json trace = json::parse(text_of(folder.path / "trace.json"));
  const double step = json::parse(text_of(folder.path / "report.json")).at("step_time_s");
  std::map<std::string, std::vector<json>> events;  // by category
  for (const json& event : trace.at("traceEvents"))
    if (event.at("ph") == "X")
      events[event.at("cat") == "idle" ? event.at("name") : event.at("cat")].push_back(event);
  for (const char* key : {"forward", "input_gradient", "weight_gradient"}) {
    std::string purpose = key;
    std::replace(purpose.begin(), purpose.end(), '_', ' ');
    const auto drawn = shapes<Rectangle>(picture, key);
    REQUIRE(drawn.size() == 4 * 8);  // stages x micro-batches
    REQUIRE(events[purpose].size() == drawn.size());
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      // The plot is 1070 wide and begins at 198.
      const double start = events[purpose][i].at("ts").get<double>() * 1e-6 / step * 1070 + 198;
      const double width = events[purpose][i].at("dur").get<double>() * 1e-6 / step * 1070;
      CHECK(drawn[i].x == Approx(start).margin(1e-3));
      CHECK(drawn[i].width == Approx(width - 0.6).margin(1e-3));  // a seam to the next one
      CHECK(drawn[i].hatch == Hatch::None);
      CHECK(drawn[i].fill == page_colour(std::string("--c-") + key));
    }
  }
  // Stages 1 to 3 wait for their first micro-batch.
  const auto warm_up = shapes<Rectangle>(picture, "warm_up");
  REQUIRE(warm_up.size() == 3);
  REQUIRE(events["warm_up"].size() == 3);
  for (const Rectangle& pause : warm_up) {
    CHECK(pause.x == 198);
    CHECK(pause.hatch == Hatch::Rising);
    CHECK(pause.fill == page_colour("--i-warm_up"));
  }
  CHECK(has_text(picture, "stage 3  rank 3"));
  CHECK(has_text(picture, "3F7"));
  CHECK(has_text(picture, "bubble: warm-up"));
  CHECK(has_text(picture, "zb-h1-teaching: one step of 54.06 ms"));
}

TEST_CASE("plot: a timeline of many ranks shows one of each stage, and narrow slices as columns") {
  const TemporaryFolder folder("plot_many");
  write_run(folder.path, "gpt3-175b-selene.yaml");
  const Picture picture = timeline_picture(folder.path);
  CHECK(has_text(picture, "stage 7  rank 896 ×8"));
  CHECK(has_text(picture, "the first rank of each stage, 8 of 128 in the trace"));
  // Columns are bounded by the width, whatever the number of slices.
  CHECK(shapes<Rectangle>(picture, "column").size() > 100);
  CHECK(picture.shapes.size() < 20'000);
}

TEST_CASE(
    "plot: the bars of a breakdown are as long as the step, and their parts are the report's") {
  const TemporaryFolder folder("plot_breakdown");
  for (const std::string job : {"zb-h1-teaching.yaml", "gpt2-124m-straggler.yaml"}) {
    write_run(folder.path, job);
    const Picture picture = breakdown_picture(folder.path);
    const json report = json::parse(text_of(folder.path / "report.json"));
    const double step = report.at("step_time_s");
    std::map<double, double> length;  // by place of the bar
    for (const Shape& shape : picture.shapes)
      if (const auto* part = std::get_if<Rectangle>(&shape); part && !part->what.empty())
        length[part->y] += part->width;
    CHECK(length.size() >= 4);
    for (const auto& [y, width] : length) CHECK(width == Approx(926).epsilon(1e-9));
    const auto forward = shapes<Rectangle>(picture, "forward");
    const double wanted = report.at("breakdown_s").at("forward").get<double>() / step * 926;
    CHECK(std::any_of(forward.begin(), forward.end(), [&](const Rectangle& part) {
      return part.width == Approx(wanted).epsilon(1e-9);
    }));
  }
  // The straggler is the cause that the others wait for.
  CHECK(!shapes<Rectangle>(breakdown_picture(folder.path), "late_member").empty());
}

TEST_CASE("plot: memory reaches the report's peak, and the line is the capacity") {
  const TemporaryFolder folder("plot_memory");
  write_run(folder.path, "zb-h1-teaching.yaml");
  const Picture picture = memory_picture(folder.path);
  const json stages = json::parse(text_of(folder.path / "report.json")).at("memory_bytes");
  const auto lines = shapes<Polyline>(picture, "capacity");
  REQUIRE(lines.size() == stages.size());
  const auto weights = shapes<Area>(picture, "weights");
  const auto highest = shapes<Area>(picture, "activations");
  REQUIRE(weights.size() == stages.size());
  REQUIRE(highest.size() == stages.size());
  for (std::size_t i = 0; i < stages.size(); ++i) {
    double bottom = 0, top = 1e9;
    for (const Vertex& point : weights[i].points) bottom = std::max(bottom, point.y);
    for (const Vertex& point : highest[i].points) top = std::min(top, point.y);
    const double per_byte =
        (bottom - lines[i].points[0].y) / stages[i].at("capacity").get<double>();
    CHECK(bottom - top == Approx(stages[i].at("total").get<double>() * per_byte).epsilon(1e-9));
    CHECK(has_text(picture, "peak " + readable(stages[i].at("total").get<double>(), "B")));
  }
}

TEST_CASE("plot: scaling marks every point, the knee and the cheapest") {
  const TemporaryFolder folder("plot_scaling");
  write_text(folder.path / "sweep.csv", sweep_csv());
  const Picture picture = scaling_picture(folder.path);
  const auto points = shapes<Disc>(picture, "point");
  REQUIRE(points.size() == 6);  // three of speed-up, then three of efficiency
  CHECK(points[0].centre.x < points[1].centre.x);
  CHECK(points[1].centre.y > points[2].centre.y);  // faster is higher
  CHECK(points[3].centre.y < points[4].centre.y);  // less efficient is lower
  const auto knees = shapes<Disc>(picture, "knee");
  REQUIRE(knees.size() == 2);
  CHECK(knees[0].centre.x == points[1].centre.x);
  CHECK(knees[1].centre.y == points[4].centre.y);
  // Without a price the cheapest point takes the least GPU time: the first.
  const auto cheapest = shapes<Polyline>(picture, "cheapest");
  REQUIRE(cheapest.size() == 2);
  CHECK(cheapest[0].points[0].x == points[0].centre.x);
  const auto ideal = shapes<Polyline>(picture, "ideal");
  REQUIRE(ideal.size() == 2);
  // Equal steps: twice the GPUs, twice the speed.
  CHECK(ideal[0].points[0].y - ideal[0].points[1].y ==
        Approx(ideal[0].points[1].y - ideal[0].points[2].y));
  CHECK(ideal[0].points[0].y == Approx(points[0].centre.y));
  CHECK(has_text(picture, "Strong scaling: the batch stays"));
  CHECK(has_text(picture, "knee: 16 GPUs, the most with an efficiency of at least 80 %"));
}

TEST_CASE("plot: the same folder gives the same bytes, in both formats") {
  const TemporaryFolder folder("plot_bytes");
  write_run(folder.path, "gpipe-vs-1f1b.yaml");
  write_text(folder.path / "sweep.csv", sweep_csv());
  for (const std::string kind : {"timeline", "breakdown", "memory", "scaling"})
    for (const std::string format : {"svg", "png"}) {
      const PlotOutcome first = plot({.folder = folder.path, .kind = kind, .format = format});
      CHECK(first.problem.empty());
      CHECK(first.file == folder.path / (kind + "." + format));
      const std::string bytes = text_of(first.file);
      CHECK(bytes.rfind(format == "png" ? "\x89PNG" : "<?xml", 0) == 0);
      CHECK(bytes.size() > 2000);
      const fs::path again = folder.path / "again";
      const std::string command = "'" WINDTUNNEL_PROGRAM "' plot '" + folder.path.string() +
                                  "' --kind " + kind + " --format " + format + " --out '" +
                                  again.string() + "' >/dev/null";
      REQUIRE(std::system(command.c_str()) == 0);
      CHECK(text_of(again) == bytes);
    }
}

TEST_CASE("plot: categories have the names of the page") {
  const std::string theme(page_file("theme.js"));
  for (const CategoryName& category : kCategories) {
    const std::string line = std::string(category.key) + ": '" + std::string(category.name) + "',";
    INFO(line);
    CHECK(theme.find("\n    " + line) != std::string::npos);
  }
  const std::regex entry(R"(\n    (\w+): '[^']+',)");
  const std::size_t rows = std::size_t(std::distance(
      std::sregex_iterator(theme.begin(), theme.end(), entry), std::sregex_iterator()));
  CHECK(rows == kCategories.size());
}

TEST_CASE("plot: what cannot be drawn is said") {
  const TemporaryFolder folder("plot_errors");
  const fs::path run = folder.path / "run", other = folder.path / "other";
  write_run(run, "gpipe-vs-1f1b.yaml");
  fs::create_directory(other);
  const auto error = [&](const fs::path& from, const std::string& kind) {
    return error_of({.folder = from, .kind = kind});
  };
  const std::string in = other.string();
  CHECK(error(run, "pie") ==
        "--kind pie: error: expected one of timeline, breakdown, memory, scaling");
  CHECK(error_of({.folder = run, .kind = "memory", .format = "gif"}) ==
        "--format gif: error: expected one of svg, png");
  CHECK(error("/nowhere", "timeline") == "/nowhere: error: no such folder");
  CHECK(error(run / "report.json", "timeline") ==
        (run / "report.json").string() + ": error: no such folder");
  CHECK(error(run, "scaling") == run.string() +
                                     ": error: no sweep.csv in it: scaling needs a "
                                     "folder of 'windtunnel sweep --out'");
  CHECK(error(other, "memory") == in + ": error: no report.json in it: memory needs a folder of "
                                       "'windtunnel simulate --out'");
  for (const char* name : {"report.json", "ranks.csv", "trace.json"})
    fs::copy(run / name, other / name);
  const auto with_trace = [&](const std::string& text) {
    write_text(other / "trace.json", text);
    return error(other, "timeline");
  };
  const std::string trace = in + "/trace.json: error: ";
  const auto with_event = [&](const std::string& event) {
    return with_trace("{\"traceEvents\":[" + event + "]}");
  };
  CHECK(with_trace("{\"traceEvents\":[") ==
        trace + "not a trace.json of windtunnel simulate: no traceEvents");
  CHECK(with_trace("[]") == trace + "not a trace.json of windtunnel simulate: no traceEvents");
  CHECK(with_event("") == trace + "no events");
  CHECK(with_event(R"({"pid":0})") == trace + "event 1: no text 'ph'");
  CHECK(with_event(R"({"ph":"X","pid":0,"tid":0})") == trace + "event 1: no 'args'");
  const auto rank_named = [](const std::string& name) {
    return json{{"ph", "M"}, {"pid", 0}, {"name", "process_name"}, {"args", {{"name", name}}}}
        .dump();
  };
  const auto slice = [](const char* rank, const char* start, const char* duration) {
    const json event = {{"ph", "X"},
                        {"tid", 0},
                        {"name", "a"},
                        {"cat", "b"},
                        {"args", json::object()},
                        {"pid", json::parse(rank)},
                        {"ts", json::parse(start)},
                        {"dur", json::parse(duration)}};
    return event.dump();
  };
  const std::string named = rank_named("rank 0 (stage 0)");
  CHECK(with_event(rank_named("gpu")) ==
        trace + "event 1: 'gpu' is not the name of a rank, such as 'rank 8 (stage 1) x4'");
  CHECK(with_event(named + "," + slice("-1", "0", "1")) ==
        trace + "event 2: 'pid' is not a whole number");
  CHECK(with_event(named + "," + slice("0", "0", "-1")) ==
        trace + "event 2: 'dur' is no time of a step");
  CHECK(with_event(named + "," + slice("0", "1e300", "1")) == trace + "event 2: 'ts' is too large");
  CHECK(with_event(slice("7", "0", "1")) == trace + "process 7 has no process_name");
  CHECK(error(other, "memory") == trace + "process 7 has no process_name");
  CHECK(with_event(named) == trace + "no slices");
  CHECK(error(other, "memory") == trace + "no memory of stage 0");

  const auto with_sweep = [&](const std::string& text) {
    write_text(other / "sweep.csv", text);
    return error(other, "scaling");
  };
  const std::string sweep = in + "/sweep.csv: error: ", csv = sweep_csv();
  const std::vector<std::string> lines = lines_of(csv);
  CHECK(with_sweep("") == sweep + "the file is empty");
  CHECK(with_sweep("gpus\n8\n") == sweep + "no column 'status'");
  CHECK(with_sweep(lines[0] + "\n8,ok\n") ==
        sweep + "line 2: 2 columns, but the first line has 16");
  CHECK(with_sweep(lines[0] + "\n" + lines[1] + "\n") ==
        sweep + "fewer than two numbers of GPUs were simulated for the same case");
  std::string wrong = csv;
  wrong.replace(wrong.find(",19,"), 4, ",x9,");
  CHECK(with_sweep(wrong) == sweep + "line 3: 'x9' in column 'samples_per_s' is no number");
  wrong = csv;
  wrong.replace(wrong.find(",19,"), 4, ",1e99,");
  CHECK(with_sweep(wrong) == sweep + "the throughputs are too far apart for one picture");
}

TEST_CASE("plot: exit codes") {
  const TemporaryFolder folder("plot_program");
  write_run(folder.path, "gpipe-vs-1f1b.yaml");
  const auto code = [&](const std::string& arguments) {
    const std::string command =
        "'" WINDTUNNEL_PROGRAM "' plot '" + folder.path.string() + "' " + arguments;
    return WEXITSTATUS(std::system((command + " >/dev/null 2>&1").c_str()));
  };
  CHECK(code("--kind timeline") == 0);
  CHECK(code("") == 2);
  CHECK(code("--kind scaling") == 2);
  CHECK(code("--kind timeline --format gif") == 2);
  CHECK(code("--kind timeline --out /nowhere/timeline.svg") == 1);
}
