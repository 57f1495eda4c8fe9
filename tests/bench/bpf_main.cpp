// SPDX-License-Identifier: Apache-2.0
// bpf_bench: the run time of each BPF program, for fixed system calls and each back end, beside a
// program with a fixed piece of work. docs/BENCHMARKS.md says how to read it. Needs root.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <string_view>

#include "bpf_timed.h"
#include "clock.h"
#include "producer/offset_search.h"
#include "producer/offsets_btf.h"
#include "report.h"
#include "statistics.h"

namespace ebpf::bench {
namespace {

constexpr int kSkipped = 77;
constexpr uint64_t kBytes = 512;
constexpr uint32_t kTurns = 5;  // of the rows that share a chain, in a round

constexpr BackEnd kBackEnds[] = {
    {"direct, ring buffers", "socket_trace_direct", EBPF_ATTACH_DIRECT, TransportMode::kRingBuffer},
    {"direct, perf buffers", "socket_trace_direct", EBPF_ATTACH_DIRECT, TransportMode::kPerf},
    {"raw, ring buffers", "socket_trace_atomic", EBPF_ATTACH_RAW, TransportMode::kRingBuffer},
    {"raw, perf buffers", "socket_trace", EBPF_ATTACH_RAW, TransportMode::kPerf},
    {"tracepoint, ring buffers", "socket_trace_atomic", EBPF_ATTACH_TRACEPOINT,
     TransportMode::kRingBuffer},
    {"tracepoint, perf buffers", "socket_trace", EBPF_ATTACH_TRACEPOINT, TransportMode::kPerf},
};

struct CommandLine {
  uint32_t rounds = 12;
  uint32_t runs = 100;
  std::string objects = EBPF_OBJECTS;
  std::string json;
};

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

void check(Result<> result) {
  if (!result) throw std::runtime_error(result.error().message);
}

struct Work {
  const char* name;
  EndedCall call;
  uint32_t events;  // that one call makes
  ino_t fresh = 0;  // the socket that is a new one for each call
};

// Descriptors and memory of this process that the calls are about.
class Process {
 public:
  Process() {
    fill(request_, "POST /bench HTTP/1.1\r\nHost: localhost\r\nContent-Length: 440\r\n\r\n", 'x');
    fill(response_, "HTTP/1.1 200 OK\r\nContent-Length: 450\r\n\r\n", 'x');
    fill(noise_, "", '\xf7');
  }

  std::vector<Work> works() {
    const uint64_t file = static_cast<uint64_t>(memfd_create("bench", MFD_CLOEXEC));
    const uint64_t known = connect(), fresh = connect(), unknown = connect();
    return {
        {"getuid", {SYS_getuid, {}, 1000}, 0},
        {"write to a file", {SYS_write, {file, at(request_), kBytes}, kBytes}, 0},
        {"send", {SYS_sendto, {known, at(request_), kBytes}, kBytes}, 1},
        {"receive", {SYS_recvfrom, {known, at(response_), kBytes}, kBytes}, 1},
        {"first send", {SYS_sendto, {fresh, at(request_), kBytes}, kBytes}, 1, inode_of(fresh)},
        {"unknown", {SYS_sendto, {unknown, at(noise_), kBytes}, kBytes}, 0},
    };
  }

 private:
  using Message = std::array<char, kBytes>;

  static void fill(Message& message, std::string_view begin, char rest) {
    message.fill(rest);
    std::copy(begin.begin(), begin.end(), message.begin());
  }

  static uint64_t at(const Message& message) { return reinterpret_cast<uint64_t>(message.data()); }

  static ino_t inode_of(uint64_t fd) {
    struct stat about {};
    if (fstat(static_cast<int>(fd), &about) != 0) throw std::runtime_error("no such descriptor");
    return about.st_ino;
  }

  static uint64_t connect() {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* name = reinterpret_cast<sockaddr*>(&address);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, name, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, name, &size) != 0 || ::connect(client, name, size) != 0) {
      throw std::runtime_error("cannot connect over loopback");
    }
    return static_cast<uint64_t>(client);
  }

  // How long a copy takes depends on where the bytes stand in their page: always the same here.
  alignas(4096) Message request_;
  Message response_, noise_;
};

// One call through the first `depth` programs of its path.
struct Row {
  size_t back_end;
  Work work;
  std::vector<std::string> path;
  size_t depth;
  std::vector<double> ns;
};

class Measurement {
 public:
  Measurement(const CommandLine& line, std::vector<std::unique_ptr<TimedPrograms>>& programs)
      : line_(line), programs_(programs) {}

  Json run() {
    const auto empty = must(PlainProgram::empty());
    const auto reference = must(PlainProgram::reference());
    std::vector<double> empty_ns, reference_ns;
    make_rows();
    for (uint32_t round = 0; round < line_.rounds; ++round) {
      for (const std::vector<Row*>& group : groups()) {
        for (uint32_t turn = 0; turn < kTurns; ++turn) {
          reference_ns.push_back(must(reference.time(line_.runs)));
          empty_ns.push_back(must(empty.time(line_.runs)));
          for (Row* row : group) row->ns.push_back(time(*row));
        }
      }
    }
    const double floor = quantile(empty_ns, 0), unit = quantile(reference_ns, 0) - floor;
    Json document;
    document["empty_ns"] = spread(empty_ns);
    document["reference_ns"] = {{"min", unit + floor}, {"median", quantile(reference_ns, 0.5)}};
    document["run_time"] = rows_json(floor, unit);
    return document;
  }

 private:
  void make_rows() {
    for (size_t i = 0; i < std::size(kBackEnds); ++i) {
      if (!programs_[i]) continue;
      check(programs_[i]->open_buffers());
      for (const Work& work : process_.works()) add_rows(i, work);
    }
  }

  void add_rows(size_t back_end, const Work& work) {
    TimedPrograms& programs = *programs_[back_end];
    const bool is_tracepoint = kBackEnds[back_end].attach_kind == EBPF_ATTACH_TRACEPOINT;
    if (is_tracepoint && work.call.nr == SYS_getuid) return;
    if (work.fresh == 0) check(programs.run(work.call, 4));
    programs.take_events();
    check(programs.run(work.call, 1));
    if (programs.take_events() != work.events) {
      throw std::runtime_error(std::string(kBackEnds[back_end].name) + ": " + work.name +
                               " does not make " + std::to_string(work.events) + " events");
    }
    if (work.fresh != 0) programs.forget_socket(work.fresh);
    const auto path = must(programs.path_of(work.call));
    for (size_t depth = 1; depth <= path.size(); ++depth) {
      rows_.push_back({back_end, work, path, depth, {}});
    }
  }

  // Rows whose programs are chained alike: that takes long to change.
  std::vector<std::vector<Row*>> groups() {
    std::map<std::pair<size_t, std::vector<std::string>>, std::vector<Row*>> by_chain;
    for (Row& row : rows_) {
      std::vector<std::string> chained;
      for (size_t i = 0; i < row.depth; ++i) {
        if (row.path[i].rfind("enter", 0) != 0 && row.path[i] != "exit") {
          chained.push_back(row.path[i]);
        }
      }
      by_chain[{row.back_end, chained}].push_back(&row);
    }
    std::vector<std::vector<Row*>> groups;
    for (auto& [chain, rows] : by_chain) groups.push_back(std::move(rows));
    return groups;
  }

  double time(const Row& row) {
    return must(programs_[row.back_end]->time(row.work.call, row.path, row.depth, line_.runs,
                                              row.work.fresh));
  }

  // What each program of a path adds: without the time that the count itself takes.
  Json rows_json(double floor, double unit) const {
    Json all = Json::array();
    double before = 0;
    for (const Row& row : rows_) {
      if (row.depth == 1) before = 0;
      const bool has_two = row.path[0] != "exit" && row.depth > 1;  // enter and exit, both counted
      const double best = quantile(row.ns, 0) - floor * (has_two ? 2 : 1);
      all.push_back({{"back_end", kBackEnds[row.back_end].name},
                     {"call", row.work.name},
                     {"program", row.path[row.depth - 1]},
                     {"ns", best - before},
                     {"until_here_ns", best},
                     {"until_here_median_ns", quantile(row.ns, 0.5)},
                     {"until_here_ratio", best / unit},
                     {"is_last", row.depth == row.path.size()}});
      before = best;
    }
    return all;
  }

  const CommandLine& line_;
  std::vector<std::unique_ptr<TimedPrograms>>& programs_;
  Process process_;
  std::vector<Row> rows_;
};

// A child measures: the process that loads the programs is never traced.
Json measure_in_child(const CommandLine& line,
                      std::vector<std::unique_ptr<TimedPrograms>>& programs) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("cannot make a pipe");
  const pid_t pid = fork();
  if (pid == 0) {
    close(ends[0]);
    pin_to(Cpu::kFirst);
    int code = 0;
    try {
      const std::string text = Measurement(line, programs).run().dump();
      for (size_t sent = 0; sent < text.size();) {
        const ssize_t count = write(ends[1], text.data() + sent, text.size() - sent);
        if (count <= 0) _exit(1);
        sent += static_cast<size_t>(count);
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "bpf_bench: %s\n", error.what());
      code = 1;
    }
    _exit(code);
  }
  close(ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t count; (count = read(ends[0], part, sizeof part)) > 0;) {
    text.append(part, static_cast<size_t>(count));
  }
  close(ends[0]);
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 || text.empty()) {
    throw std::runtime_error("the measuring process failed, status " + std::to_string(status));
  }
  return Json::parse(text);
}

offsets_table find_offsets() {
  const LogSink log = [](LogLevel, const std::string&) {};
  if (auto table = offsets_from_btf("", log)) return *table;
  auto found = search_offsets(log);
  if (!found) throw std::runtime_error(found.error().message);
  return found->table;
}

void print(std::FILE* out, const Json& document) {
  std::fprintf(out, "\nRun time of BPF programs, ns (the best of all rounds)\n");
  std::fprintf(out, "An empty one takes %.0f, which is taken off; the reference %.0f.\n",
               document["empty_ns"]["min"].get<double>(),
               document["reference_ns"]["min"].get<double>());
  for (const Json& row : document["run_time"]) {
    const double ns = row["ns"];
    std::fprintf(out, "%-26s %-18s %-14s %7.0f", row["back_end"].get<std::string>().c_str(),
                 row["call"].get<std::string>().c_str(), row["program"].get<std::string>().c_str(),
                 ns);
    if (row["is_last"]) {
      std::fprintf(out, "  in all %6.0f, %5.2f of the reference",
                   row["until_here_ns"].get<double>(), row["until_here_ratio"].get<double>());
    }
    std::fprintf(out, "\n");
  }
  for (const Json& missing : document["not_measured"]) {
    std::fprintf(out, "not measured: %s\n", missing.get<std::string>().c_str());
  }
}

int run(const CommandLine& line) {
  Json document = begin_document("bpf_bench");
  document["settings"] = {{"rounds", line.rounds}, {"runs_per_round", line.runs}};
  const auto statistics = begin_timing();
  if (!statistics) {
    std::cout << "SKIP: " << statistics.error().message << "\n";
    return kSkipped;
  }
  const offsets_table offsets = find_offsets();
  std::vector<std::unique_ptr<TimedPrograms>> programs;
  document["not_measured"] = Json::array();
  size_t loaded = 0;
  for (const BackEnd& back_end : kBackEnds) {
    auto one = TimedPrograms::load(line.objects, back_end, offsets);
    programs.push_back(one ? std::move(*one) : nullptr);
    loaded += bool(programs.back());
    if (!one) {
      document["not_measured"].push_back(std::string(back_end.name) + ": " + one.error().message);
    }
  }
  if (loaded == 0) {
    std::cout << "SKIP: " << document["not_measured"].dump() << "\n";
    return kSkipped;
  }
  document.update(measure_in_child(line, programs));
  document["figures"] = Json::array();
  print(line.json == "-" ? stderr : stdout, document);
  return line.json.empty() || write_document(line.json, document) ? 0 : 1;
}

}  // namespace
}  // namespace ebpf::bench

int main(int argc, char** argv) try {
  ebpf::bench::CommandLine line;
  CLI::App app{"Measures the run time of each BPF program, for fixed system calls"};
  app.add_option("--rounds", line.rounds, "Rounds, all rows in turn")->check(CLI::Range(1, 10000));
  app.add_option("--runs", line.runs, "Calls per row in a round")->check(CLI::Range(4, 10000));
  app.add_flag_callback(
      "--quick", [&line] { line.rounds = 1; }, "One round");
  app.add_option("--objects", line.objects, "Folder of the BPF objects");
  app.add_option("--json", line.json, "Write the figures to this file; to stdout without one")
      ->expected(0, 1)
      ->default_str("-");
  CLI11_PARSE(app, argc, argv);
  if (geteuid() != 0) {
    std::cout << "SKIP: bpf_bench needs root, as it loads BPF programs\n";
    return ebpf::bench::kSkipped;
  }
  return ebpf::bench::run(line);
} catch (const std::exception& error) {
  std::cerr << "bpf_bench: " << error.what() << "\n";
  return 1;
}
