// SPDX-License-Identifier: Apache-2.0
#include "producer/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <vector>

#include "libebpf/detail/escape.h"
#include "producer/filter_options.h"

namespace ebpf {
namespace {

// A decimal number within bounds. CLI11's own Range reads "1e3" and wraps negative ones.
CLI::Validator number(uint64_t low, uint64_t high, bool power_of_two) {
  const std::string what = (power_of_two ? "a power of two, " : "a number, ") +
                           std::to_string(low) + " to " + std::to_string(high);
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        const bool digits = !text.empty() && text.size() <= 19 &&
                            text.find_first_not_of("0123456789") == std::string::npos;
        const uint64_t value = digits ? std::strtoull(text.c_str(), nullptr, 10) : 0;
        const bool good = digits && value >= low && value <= high &&
                          (!power_of_two || std::has_single_bit(value));
        return good ? std::string() : "must be " + what + ", not '" + text + "'";
      },
      "");
}

// One of some words; each stands for the enum value of its place in the list.
CLI::Validator choice(const std::vector<std::string>& words) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        std::string all;
        for (size_t i = 0; i < words.size(); ++i) {
          if (text == words[i]) {
            text = std::to_string(i);
            return {};
          }
          all += (i == 0 ? "" : ", ") + words[i];
        }
        return "must be one of " + all + ", not '" + text + "'";
      },
      "");
}

// A decimal number such as 0.5; no exponent, and none that is no number.
CLI::Validator decimal(double low, double high) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        const bool digits = !text.empty() && text.size() <= 20 && text != "." &&
                            text.find_first_not_of("0123456789.") == std::string::npos &&
                            std::count(text.begin(), text.end(), '.') <= 1;
        const double value = digits ? std::strtod(text.c_str(), nullptr) : -1;
        char range[64];
        std::snprintf(range, sizeof range, "%.0f to %.0f", low, high);
        return value >= low && value <= high
                   ? std::string()
                   : std::string("must be a number, ") + range + ", not '" + text + "'";
      },
      "");
}

void add_ring_options(CLI::App& app, ProducerOptions& options) {
  app.add_option("--threads", options.ring.lane_count,
                 "Lanes of the ring: a socket stays on one, so agents can read with so many "
                 "threads")
      ->check(number(1, EBPF_LANES_MAX, false))
      ->capture_default_str();
  app.add_option("--ring-size", options.ring.ring_records,
                 "Full-size records that the ring holds at least; a power of two")
      ->check(number(2, 1u << 24, true))
      ->capture_default_str();
  app.add_option("--max-consumers", options.ring.max_consumers, "Agents that can attach")
      ->check(number(1, EBPF_CONSUMERS_MAX, false))
      ->capture_default_str();
  app.add_flag("--prefault", options.ring.memory.prefault,
               "Take all memory of the ring at the start, the reserve included");
  app.add_flag("--huge-pages", options.ring.memory.huge_pages,
               "Put the ring on huge pages if there are any ('ebpfctl tracer show -v' tells)");
  app.add_option("--numa-node", options.ring.memory.numa_node,
                 "Bind the ring's memory to this NUMA node")
      ->check(number(0, 1023, false));
  app.add_option("--cap-len", options.ring.cap_bytes, "Payload bytes captured per call")
      ->check(number(1, EBPF_CAP_BYTES_MAX, false))
      ->capture_default_str();
}

void add_kernel_options(CLI::App& app, ProducerOptions& options) {
  TracerOptions& tracer = options.tracer;
  app.add_option("--perf-pages", tracer.perf_pages,
                 "Pages of each CPU's event buffer; a power of two")
      ->check(number(1, 65536, true))
      ->capture_default_str();
  app.add_option("--max-socket-entries", tracer.max_socket_entries,
                 "Sockets that are followed at once")
      ->check(number(1, 1u << 24, false))
      ->capture_default_str();
  app.add_option("--max-trace-entries", tracer.max_trace_entries,
                 "Threads that are followed at once")
      ->check(number(1, 1u << 24, false))
      ->capture_default_str();
  app.add_option("--socket-map-max-reclaim", options.socket_map_max_reclaim,
                 "Sweep idle sockets when so many are followed")
      ->check(number(1, 1u << 24, false))
      ->capture_default_str();
  app.add_option("--attach", tracer.attach,
                 "How to hook system calls: auto, raw, tracepoint, direct")
      ->transform(choice({"auto", "raw", "tracepoint", "direct"}))
      ->type_name("MODE")
      ->default_str("auto");
  app.add_option("--transport", tracer.transport,
                 "How events leave the kernel: auto, perf, ringbuf (BPF ring buffers, Linux 5.12)")
      ->transform(choice({"auto", "perf", "ringbuf"}))
      ->type_name("MODE")
      ->default_str("auto");
  app.add_option("--offsets", tracer.offsets, "Where kernel offsets come from: auto, btf, search")
      ->transform(choice({"auto", "btf", "search"}))
      ->type_name("MODE")
      ->default_str("auto");
  app.add_option("--btf", tracer.btf_file, "BTF file to use instead of the kernel's own")
      ->type_name("FILE");
  app.add_option("--bpf-file", tracer.bpf_file, "BPF object to load instead of the embedded one")
      ->type_name("FILE");
  app.add_flag("--capture-unknown", tracer.capture_unknown,
               "Deliver traffic of no known protocol, too");
  app.add_flag("--low-latency", options.low_latency,
               "Hand records on within a fraction of a millisecond, for more CPU time");
  app.add_flag("--stopped", options.stopped, "Capture nothing until 'ebpfctl tracer start'");
}

void add_file_options(CLI::App& app, CommandLine* line) {
  ProducerOptions& options = line->producer;
  app.add_option("--socket", options.socket_path, "Where agents find the producer")
      ->envname(EBPF_SOCKET_ENV)
      ->type_name("PATH")
      ->capture_default_str();
  app.add_option("--log-file", line->log_file, "Append the log to a file instead of stderr")
      ->type_name("FILE");
  app.add_flag("-v,--verbose", line->verbose, "Log details, too");
  auto* record = app.add_option("--record", options.record_path,
                                "Write every record to a file, too (mode 0600)")
                     ->type_name("FILE");
  auto* replay =
      app.add_option("--replay", options.replay.path, "Play a recorded file instead of tracing")
          ->type_name("FILE")
          ->excludes(record);
  app.add_option("--speed", options.replay.speed, "Replay so many times faster; 0: without waiting")
      ->check(decimal(0, 1e6))
      ->needs(replay)
      ->capture_default_str();
  app.add_flag("--loop", options.replay.loop,
               "Replay again and again; each round has later times and new ids")
      ->needs(replay);
  app.add_option("--wait-consumers", options.replay.wait_consumers,
                 "Begin the replay when so many agents are attached")
      ->check(number(0, EBPF_CONSUMERS_MAX, false))
      ->needs(replay)
      ->capture_default_str();
  app.add_option("--linger", options.replay.linger_s,
                 "Seconds to wait for agents to leave after the replay")
      ->check(decimal(0, 86400))
      ->needs(replay)
      ->capture_default_str();
}

}  // namespace

std::optional<int> parse_command_line(int argc, char** argv, CommandLine* line) {
  CLI::App app{
      "Traces the socket reads and writes of every process and gives them to agents\n"
      "through a ring in shared memory.",
      "ebpf-producer"};
  app.set_version_flag("-V,--version", "ebpf-producer " LIBEBPF_VERSION);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::Throw);
  add_kernel_options(app, line->producer);
  add_filter_options(app, line->producer.tracer.filters);
  add_ring_options(app, line->producer);
  add_file_options(app, line);
  for (CLI::Option* option : app.get_options({})) {
    if (option->get_items_expected_max() == 0) option->disable_flag_override();
  }
  app.footer(
      "Exit codes: 0 ended in order, 1 failure, 2 bad option, 3 the kernel refuses (a missing\n"
      "privilege or feature), 4 another producer serves the socket.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    app.exit(success, std::cout, std::cerr);
    if (std::cout.flush()) return kExitOk;
    std::fprintf(stderr, "ebpf-producer: cannot write: %s\n", std::strerror(errno));
    return kExitFailure;
  } catch (const CLI::Error& error) {
    std::fprintf(stderr, "ebpf-producer: %s (see --help)\n", one_line(error.what()).c_str());
    return kExitBadOption;
  }
  // Who says how many pages wants so many.
  if (!app.get_option("--perf-pages")->empty()) {
    line->producer.tracer.perf_pages_least = line->producer.tracer.perf_pages;
  }
  line->producer.tracer.lane_count = line->producer.ring.lane_count;
  line->producer.tracer.cap_bytes = line->producer.ring.cap_bytes;
  return std::nullopt;
}

}  // namespace ebpf
