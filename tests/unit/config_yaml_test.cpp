// What yaml-cpp 0.7.0 lets pass or gets wrong, one trap a test, and how YamlFile treats it.
#include <string>

#include "catch.hpp"
#include "config/yaml_file.hpp"

using namespace windtunnel;

namespace {

// The message of whatever `read` throws; empty if it throws nothing.
template <class Read>
std::string error_of(const Read& read) {
  try {
    read();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

std::string error_of_text(const std::string& text) {
  return error_of([&] { YamlFile::from_text(text, "a.yaml"); });
}

YamlMap map_of(const YamlFile& file) {
  return file.root().map();
}

}  // namespace

TEST_CASE("lines and columns count from 1 and the file is named") {
  // yaml-cpp: from 0, and no name.
  const YamlFile file = YamlFile::from_text("# comment\n\ngpus: eight\n", "jobs/a.yaml");
  CHECK(error_of([&] { map_of(file).at("gpus").count(); }) ==
        "jobs/a.yaml:3:7: error: gpus: expected a positive integer, got 'eight'\n"
        "    gpus: eight\n"
        "          ^");
}

TEST_CASE("a missing key is reported at its mapping, with the keys that nobody asked for") {
  // yaml-cpp: the mark is -1:-1, and asking for it throws.
  const YamlFile file = YamlFile::from_text("a: 1\nb:\n  pipelin: 8\n  data: 2\n", "a.yaml");
  CHECK(error_of([&] {
          YamlMap inner = map_of(file).at("b").map();
          inner.at("data");
          inner.at("pipeline");
        }) ==
        "a.yaml:3:3: error: b: missing key 'pipeline' (not used so far: 'pipelin')\n"
        "      pipelin: 8\n"
        "      ^");
}

TEST_CASE("a bad value is an error, never a fallback") {
  // yaml-cpp: as<int>(100) of "fifty" is 100.
  const YamlFile file = YamlFile::from_text("a: fifty\n", "a.yaml");
  CHECK(error_of([&] { map_of(file).find("a")->count(); }) != "");
}

TEST_CASE("duplicate keys are refused") {
  // yaml-cpp: the first one wins.
  CHECK(error_of_text("a: 1\nb: 2\na: 3\n") ==
        "a.yaml:3:1: error: duplicate key 'a', first in line 1\n"
        "    a: 3\n"
        "    ^");
  CHECK(error_of_text("- {a: 1, a: 1}") != "");
  CHECK(error_of_text("a: {a: {a: 1}}\nb: {a: {a: 1}}\n") == "");
}

TEST_CASE("numbers are decimal") {
  // yaml-cpp: 010 is 8.
  const char* refused[] = {"010", "0x8", "0o7", "8.0", "1e3", "+8", "1_000", " ", "~", "8 8", "٨"};
  for (const char* text : refused) {
    CAPTURE(text);
    const YamlFile file = YamlFile::from_text(std::string("a: ") + text + "\n", "a.yaml");
    CHECK(error_of([&] { map_of(file).at("a").integer(0, 1 << 20); }) != "");
  }
  const YamlFile file = YamlFile::from_text("a: 1234567890123\nb: 0\nc: -5\n", "a.yaml");
  CHECK(map_of(file).at("a").integer(1, std::int64_t{1} << 60) == 1234567890123);
  CHECK(map_of(file).at("b").integer(0, 1) == 0);
  CHECK(map_of(file).at("c").integer(-10, 1) == -5);
  CHECK(error_of([&] { map_of(file).at("a").count(); }) ==
        "a.yaml:1:4: error: a: expected a positive integer, got '1234567890123' "
        "(the largest is 2147483647)\n"
        "    a: 1234567890123\n"
        "       ^");
}

TEST_CASE("booleans are true and false") {
  // yaml-cpp: yes, no, on, off, y, n, True.
  const YamlFile file =
      YamlFile::from_text("a: true\nb: false\nc: [no, y, on, True, 1]\n", "a.yaml");
  CHECK(map_of(file).at("a").flag());
  CHECK_FALSE(map_of(file).at("b").flag());
  for (const YamlValue& item : map_of(file).at("c").items())
    CHECK(error_of([&] { item.flag(); }) != "");
}

TEST_CASE("nothing is not the text null") {
  // yaml-cpp: ~ as a string is "null".
  const YamlFile file = YamlFile::from_text("a: ~\nb:\nc: null\nd: ''\ne: no\n", "a.yaml");
  for (const char* key : {"a", "b", "c"}) {
    CAPTURE(key);
    const std::string error = error_of([&] { map_of(file).at(key).text(); });
    CHECK(error.find("expected text, got nothing") != std::string::npos);
  }
  CHECK(error_of([&] { map_of(file).at("d").text(); }) != "");
  CHECK(map_of(file).at("e").text() == "no");
}

TEST_CASE("a quoted number is text") {
  const YamlFile file = YamlFile::from_text("a: \"8\"\nb: '80 GB'\n", "a.yaml");
  CHECK(error_of([&] { map_of(file).at("a").count(); }) != "");
  CHECK(map_of(file).at("b").quantity(QuantityKind::ByteSize) == 80e9);
}

TEST_CASE("a quote that is never closed is an error") {
  // yaml-cpp: the rest of the file is the text.
  CHECK(error_of_text("a: \"x\n") != "");
  CHECK(error_of_text("a: 'x\nb: 2\n") != "");
  CHECK(error_of_text("a: 'x\n  y'\n") == "");
}

TEST_CASE("aliases, anchors, tags and second documents are refused") {
  CHECK(error_of_text("a: &x 1\nb: *x\n") != "");
  CHECK(error_of_text("&x a: 1\n") != "");
  CHECK(error_of_text("a: !!str 1\n") != "");
  CHECK(error_of_text("a: 1\n---\nb: 1\n") != "");
  CHECK(error_of_text("a: 1\n...\nb: 1\n") != "");
  CHECK(error_of_text("---\na: 1\n...\n") == "");
}

TEST_CASE("no size or depth of a file is a danger") {
  CHECK(error_of_text(std::string(1 << 20, '\n') + "a") == "a.yaml: error: larger than 1 MiB");
  for (const char* piece : {"[", "{a: ", "- ", "? ", "[{a: ", "!", "&a ", "a: ", "'", "\"", "|\n",
                            "*a ", "- - ", "{", "%", "# ", "---\n", ": ", ", "}) {
    CAPTURE(piece);
    std::string text;
    while (text.size() < (1 << 18)) text += piece;
    error_of([&] { YamlFile::from_text(text, "a.yaml").root(); });
  }
  CHECK(error_of_text("? [a]\n: 1\n") != "");
  CHECK(error_of_text("a: " + std::string(31, '[') + std::string(31, ']')) == "");
  CHECK(error_of_text("a: " + std::string(32, '[') + std::string(32, ']')) != "");
}

TEST_CASE("text of other systems") {
  const YamlFile marked = YamlFile::from_text(
      "\xEF\xBB\xBF"
      "a: 1\r\nb: x\r\n",
      "a.yaml");
  CHECK(map_of(marked).at("a").count() == 1);
  CHECK(map_of(marked).at("b").text() == "x");
  CHECK(error_of_text("a: \xFF\n") == "a.yaml: error: not UTF-8 text (line 1)");
  CHECK(error_of_text("a: \xED\xA0\x80\n") != "");  // a surrogate
  CHECK(error_of_text("a: \xF4\x90\x80\x80\n") != "");
  CHECK(error_of_text("a: \xF0\x9F\x9A\x80\n") == "");
  CHECK(error_of_text("a: \x1b[31m\n") ==
        "a.yaml: error: not a text file: control character 0x1b in line 1");
}

TEST_CASE("a caret stands below its character") {
  const YamlFile file = YamlFile::from_text("größe: x\nä: \"tab\there\"\n", "a.yaml");
  CHECK(error_of([&] { map_of(file).at("größe").count(); }) ==
        "a.yaml:1:8: error: größe: expected a positive integer, got 'x'\n"
        "    größe: x\n"
        "           ^");
  const YamlFile tabs = YamlFile::from_text("{a: 'x\ty', b: z}\n", "a.yaml");
  CHECK(error_of([&] { map_of(tabs).at("b").count(); }) ==
        "a.yaml:1:15: error: b: expected a positive integer, got 'z'\n"
        "    {a: 'x\ty', b: z}\n"
        "          \t       ^");
}

TEST_CASE("a long line is cut around its error, and a long value too") {
  const std::string before(300, 'a'), after(300, 'b');
  const YamlFile file = YamlFile::from_text("{" + before + ": 1, x: " + after + "}\n", "a.yaml");
  const std::string error = error_of([&] { map_of(file).at("x").count(); });
  CHECK(error == "a.yaml:1:310: error: x: expected a positive integer, got '" +
                     std::string(60, 'b') + "...'\n    ..." + std::string(52, 'a') +
                     ": 1, x: " + std::string(60, 'b') + "\n" + std::string(4 + 3 + 60, ' ') + "^");
}

TEST_CASE("an unknown key is refused with the closest known one that is free") {
  const YamlFile file = YamlFile::from_text("tensor: 1\ntenser: 2\n", "a.yaml");
  YamlMap map = map_of(file);
  map.at("tensor");
  map.find("pipeline");
  CHECK(error_of([&] { map.finish(); }) ==
        "a.yaml:2:1: error: unknown key 'tenser'\n"
        "    tenser: 2\n"
        "    ^");
}

TEST_CASE("suggestions are close") {
  CHECK(suggestion("pipelin", {"tensor", "pipeline"}) == " (did you mean 'pipeline'?)");
  CHECK(suggestion("tesnor", {"tensor", "pipeline"}) == " (did you mean 'tensor'?)");
  CHECK(suggestion("color", {"tensor", "pipeline"}) == "");
  CHECK(suggestion("gpu", {"gpus"}) == " (did you mean 'gpus'?)");
  CHECK(suggestion("x", {"y"}) == "");
  CHECK(suggestion("", {"name"}) == "");
  CHECK(suggestion("x", {}) == "");
}

TEST_CASE("files that cannot be read") {
  CHECK(error_of([] { YamlFile::open("no/such/file.yaml"); }) ==
        "no/such/file.yaml: error: no such file");
  CHECK(error_of([] { YamlFile::open(WINDTUNNEL_SOURCE_DIR "/tests"); }) == WINDTUNNEL_SOURCE_DIR
        "/tests: error: is a folder, not a file");
  CHECK(error_of([] { YamlFile::open("/dev/zero"); }) == "/dev/zero: error: larger than 1 MiB");
  CHECK(error_of([] { YamlFile::open(""); }) != "");
}
