# cmake -DOUTPUT=FILE.cpp -P embed.cmake FILE...: the files as byte arrays behind page_file(name).
math(EXPR last "${CMAKE_ARGC} - 1")
set(arrays "")
set(rows "")
set(after_script FALSE)
foreach(i RANGE 1 ${last})
  set(argument "${CMAKE_ARGV${i}}")
  if(after_script)
    get_filename_component(name "${argument}" NAME)
    file(READ "${argument}" bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes "${bytes}")
    string(APPEND arrays "const unsigned char kFile${i}[] = {\n${bytes}};\n")
    string(APPEND rows "    {\"${name}\", "
                       "{reinterpret_cast<const char*>(kFile${i}), sizeof kFile${i}}},\n")
  elseif(argument MATCHES "embed.cmake$")
    set(after_script TRUE)
  endif()
endforeach()
file(WRITE "${OUTPUT}" "// Made by embed.cmake.
#include \"report/page_files.hpp\"

#include <utility>

#include \"base/check.hpp\"

namespace windtunnel {
namespace {
${arrays}
const std::pair<std::string_view, std::string_view> kFiles[] = {
${rows}};
}  // namespace

std::string_view page_file(std::string_view name) {
  for (const auto& [known, content] : kFiles)
    if (known == name) return content;
  SIM_CHECK(false, \"no such file is embedded\");
}
}  // namespace windtunnel
")
