#include "cli/exec_beside.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"

namespace uniscale::cli {

void exec_beside(const std::string& name, const std::vector<std::string>& arguments,
                 const std::string& called) {
  const std::string binary = (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
  std::vector<char*> argv;
  argv.push_back(const_cast<char*>((called.empty() ? binary : called).c_str()));
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execv(binary.c_str(), argv.data());
  throw base::UserError(fmt::format("{}: cannot be started: {}", binary, std::strerror(errno)));
}

std::vector<std::string> as_set_flags(const config::AnySection& section, const void* options) {
  std::vector<std::string> arguments;
  const std::string resolved = section.resolved(options);  // "[name]\nkey = value\n…"
  const std::string name = resolved.substr(1, resolved.find(']') - 1);
  for (size_t begin = resolved.find('\n') + 1; begin < resolved.size();) {
    const size_t end = resolved.find('\n', begin);
    const std::string line = resolved.substr(begin, end - begin);
    const size_t equals = line.find(" = ");
    arguments.push_back("--set");
    arguments.push_back(name + "." + line.substr(0, equals) + "=" + line.substr(equals + 3));
    begin = end + 1;
  }
  return arguments;
}

}  // namespace uniscale::cli
