// SPDX-License-Identifier: Apache-2.0
// The tools that people would use instead, each as a process of its own.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <regex>
#include <sstream>

#include "clock.h"
#include "trace_subjects.h"

namespace ebpf::bench {
namespace {

constexpr uint64_t kReadyNs = 30'000'000'000;
constexpr size_t kCaptured = 200;  // a line of bpftrace's that holds a payload is as long at least

struct Tool {
  const char* name;
  const char* title;
  const char* ready;  // it says so when it has begun
  const char* lost;   // and so, there or in its output, what it lost
  uint32_t patience;
  bool sees_other_calls;
  std::vector<std::string> (*command)(const std::string& pid, const std::string& output);
};

// 200 bytes are the most that it takes of a buffer; of what was sent or received, no more.
std::string bpftrace_program(const std::string& pid) {
  return "tracepoint:syscalls:sys_enter_sendto /pid == " + pid +
         "/ { printf(\"%r\\n\", buf(args->buff, args->len)); }"
         " tracepoint:syscalls:sys_enter_recvfrom /pid == " +
         pid +
         "/ { @to[tid] = args->ubuf; }"
         " tracepoint:syscalls:sys_exit_recvfrom /@to[tid]/"
         " { if (args->ret > 0) { printf(\"%r\\n\", buf(@to[tid], args->ret)); }"
         " delete(@to[tid]); }";
}

const Tool kTools[] = {
    {"tcpdump", "tcpdump (packets only)", "listening on", "([0-9]+) packets? dropped by kernel", 1,
     false,
     [](const std::string&, const std::string&) {
       return std::vector<std::string>{"tcpdump", "-i", "lo", "-s", "0", "-w", "/dev/null", "tcp"};
     }},
    {"bpftrace", "bpftrace (200 bytes)", "Attaching", "Lost ([0-9]+) events", 1, true,
     [](const std::string& pid, const std::string& output) {
       return std::vector<std::string>{"bpftrace", "-o", output, "-e", bpftrace_program(pid)};
     }},
    {"strace", "strace", "attached", "", 10, true,
     [](const std::string& pid, const std::string&) {
       return std::vector<std::string>{
           "strace", "-p", pid, "-s", "512", "-o", "/dev/null", "-e", "trace=sendto,recvfrom"};
     }},
};

class OtherTool : public Subject {
 public:
  OtherTool(const Tool& tool, std::string said)
      : Subject(tool.title), tool_(tool), said_(std::move(said)), output_(said_ + ".output") {}
  ~OtherTool() override { end(); }

  uint32_t patience() const override { return tool_.patience; }
  bool sees_other_calls() const override { return tool_.sees_other_calls; }

  Result<> start(pid_t pid) override {
    std::vector<std::string> words = tool_.command(std::to_string(pid), output_);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::ofstream(output_).flush();  // nothing of the round before
    child_ = fork();
    if (child_ < 0) return errno_error("cannot fork");
    if (child_ == 0) become(arguments);
    const uint64_t begin = now_ns();
    while ((words_of(said_) + words_of(output_)).find(tool_.ready) == std::string::npos) {
      int status;
      if (waitpid(child_, &status, WNOHANG) == child_) child_ = -1;
      if (child_ < 0 || now_ns() - begin > kReadyNs) {
        end();
        return Error{ECHILD, std::string(tool_.name) + " does not begin: " + first_line()};
      }
      sleep_us(20'000);
    }
    sleep_us(300'000);  // bpftrace says so just before
    return Unit{};
  }

  Result<PipelineRun> stop() override {
    end();
    PipelineRun run;
    const std::string said = words_of(said_) + words_of(output_);
    const std::regex lost(tool_.lost);
    if (*tool_.lost != '\0') {
      for (std::sregex_iterator it(said.begin(), said.end(), lost), last; it != last; ++it) {
        run.lost += std::stoull((*it)[1]);
      }
    }
    std::ifstream output(output_);
    for (std::string line; std::getline(output, line);) run.published += line.size() >= kCaptured;
    return run;
  }

 private:
  [[noreturn]] void become(std::vector<char*>& arguments) {
    const int out = open(said_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int null = open("/dev/null", O_RDONLY);
    if (out < 0 || null < 0) _exit(126);
    dup2(null, 0);
    dup2(out, 1);
    dup2(out, 2);
    setenv("BPFTRACE_STRLEN", "200", 1);
    if (std::string(tool_.name) == "bpftrace") setenv("LD_PRELOAD", EBPF_MEMLOCK_SHIM, 1);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  static std::string words_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  std::string first_line() const {
    const std::string said = words_of(said_);
    return said.substr(0, said.find('\n'));
  }
  void end() {
    if (child_ < 0) return;
    kill(child_, SIGINT);
    waitpid(child_, nullptr, 0);
    child_ = -1;
  }

  const Tool& tool_;
  std::string said_;
  std::string output_;
  pid_t child_ = -1;
};

bool is_installed(const std::string& name) {
  for (const char* folder : {"/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"}) {
    if (access((folder + name).c_str(), X_OK) == 0) return true;
  }
  return false;
}

}  // namespace

Result<std::unique_ptr<Subject>> other_tool(const std::string& name, const std::string& directory) {
  for (const Tool& tool : kTools) {
    if (name != tool.name) continue;
    if (!is_installed(name)) return Error{ENOENT, "not there: no " + name + " is installed"};
    return std::unique_ptr<Subject>(new OtherTool(tool, directory + "/" + name));
  }
  return Error{EINVAL, "nothing is known of " + name};
}

}  // namespace ebpf::bench
