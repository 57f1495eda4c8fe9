// SPDX-License-Identifier: Apache-2.0
// ebpf-tail: prints the trace of a running ebpf-producer, as text or as JSON lines. Also the
// example of how to use libebpf/consumer.h: open with two callbacks, poll, close.
//
// Exit status: 0 ended by --count, a signal or a closed pipe; 1 could not go on (the line on
// stderr says why); 2 bad options; 3 no producer to attach to.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "consumer/view/filter_options.h"
#include "consumer/view/record_printer.h"
#include "libebpf/consumer.h"
#include "libebpf/detail/escape.h"

namespace {

enum ExitStatus { kOk = 0, kFailed = 1, kBadOptions = 2, kNoProducer = 3 };

struct Options {
  std::string output = "text";
  std::string from = "tail";
  std::string socket_path;
  std::string lanes;
  uint64_t lane_mask = 0;
  uint64_t count = 0;  // 0: without end
  ebpf::FilterOptions filter;
};

volatile std::sig_atomic_t stop_requested = 0;

void on_signal(int) { stop_requested = 1; }

// What the callbacks work on.
struct View {
  explicit View(const Options& options)
      : output(STDOUT_FILENO, stop_requested),
        printer(ebpf::record_style(options.output), output),
        left(options.count) {}

  bool ends() const { return done || stop_requested != 0 || output.failed(); }

  ebpf::StreamOutput output;
  ebpf::RecordPrinter printer;
  uint64_t left;  // 0: without end
  bool done = false;
};

int on_record(const ebpf_record* record, uint32_t, void* user) {
  auto* view = static_cast<View*>(user);
  view->printer.record(*record);
  if (view->left != 0 && --view->left == 0) view->done = true;
  return view->ends();
}

void on_gap(const ebpf_gap* gap, uint32_t lane, void* user) {
  static_cast<View*>(user)->printer.gap(*gap, lane);
}

bool all_digits(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// "0,2,5" as a bit mask.
uint64_t parse_lanes(const std::string& list) {
  uint64_t mask = 0;
  for (const std::string& item : CLI::detail::split(list, ',')) {
    uint64_t lane = 0;
    if (!all_digits(item) || !CLI::detail::lexical_cast(item, lane) || lane >= EBPF_LANES_MAX) {
      throw CLI::ValidationError("--lanes", "\"" + item + "\" is no lane, expected 0 to " +
                                                std::to_string(EBPF_LANES_MAX - 1) +
                                                ", several as 0,2,5");
    }
    mask |= 1ull << lane;
  }
  return mask;
}

void declare_options(CLI::App& app, Options& options) {
  app.add_option("-o,--output", options.output, "text or json (one object per line)")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--count", options.count, "End after so many records")
      ->check(ebpf::plain_number(1, UINT64_MAX));
  app.add_option("--socket", options.socket_path,
                 "Socket of the producer (default: $EBPF_SOCKET or the usual place)");
  app.add_option("--from", options.from, "tail: new records only; oldest: what the ring holds too")
      ->check(CLI::IsMember({"tail", "oldest"}))
      ->capture_default_str();
  app.add_option("--lanes", options.lanes, "Lanes to read, as 0,2,5 (default: all)");
  options.filter.declare(app);
  app.set_version_flag("-V,--version", std::string("ebpf-tail ") + ebpf_version());
}

// Signals end the poll in progress and the loop; a closed pipe shows up as EPIPE.
void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

void print_summary(const ebpf_consumer* consumer) {
  struct ebpf_consumer_stats stats {};
  stats.size = sizeof stats;
  if (ebpf_consumer_stats(consumer, &stats) != 0) return;
  std::fprintf(stderr,
               "ebpf-tail: %" PRIu64 " published, %" PRIu64 " delivered, %" PRIu64
               " filtered, %" PRIu64 " lost, %" PRIu64 " unread, %" PRIu64 " gaps, %" PRIu64
               " lost upstream, %" PRIu64 " re-attached\n",
               stats.published, stats.delivered, stats.filtered, stats.lost, stats.unread,
               stats.gaps, stats.upstream_lost, stats.reattaches);
}

int run(ebpf_consumer* consumer, View& view) {
  while (!view.ends()) {
    // Not without limit: a signal may come just before the poll falls asleep.
    const int delivered = ebpf_consumer_poll(consumer, 200);
    view.output.flush();
    if (delivered < 0 && delivered != -EINTR) {
      std::fprintf(stderr, "ebpf-tail: %s\n", ebpf_last_error());
      return kFailed;
    }
  }
  if (view.output.error() != 0 && view.output.error() != EPIPE) {
    std::fprintf(stderr, "ebpf-tail: cannot write: %s\n", std::strerror(view.output.error()));
    return kFailed;
  }
  if (stop_requested) print_summary(consumer);
  return kOk;
}

int exit_status_of(int open_error) {
  const bool absent = open_error == -ENOENT || open_error == -ECONNREFUSED ||
                      open_error == -ECONNRESET || open_error == -ETIMEDOUT;
  return absent ? kNoProducer : kFailed;
}

int attach_and_print(const Options& options) {
  View view(options);
  ebpf_consumer_options open_options = EBPF_CONSUMER_OPTIONS_INIT;
  open_options.socket_path = options.socket_path.empty() ? nullptr : options.socket_path.c_str();
  open_options.lanes = options.lane_mask;
  open_options.from = options.from == "oldest" ? EBPF_FROM_OLDEST : EBPF_FROM_TAIL;
  const ebpf_filter filter = options.filter.filter();
  open_options.filter = &filter;
  open_options.on_record = on_record;
  open_options.on_gap = on_gap;
  open_options.user = &view;

  ebpf_consumer* consumer = nullptr;
  if (const int error = ebpf_consumer_open(&consumer, &open_options); error < 0) {
    std::fprintf(stderr, "ebpf-tail: %s\n", ebpf_last_error());
    return exit_status_of(error);
  }
  const int status = run(consumer, view);
  ebpf_consumer_close(consumer);
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Prints the trace of a running ebpf-producer", "ebpf-tail");
  declare_options(app, options);
  try {
    app.parse(argc, argv);
    if (app.count("--lanes") != 0) options.lane_mask = parse_lanes(options.lanes);
  } catch (const CLI::Success& success) {
    app.exit(success);
    if (std::cout.flush()) return kOk;
    std::fprintf(stderr, "ebpf-tail: cannot write: %s\n", std::strerror(errno));
    return kFailed;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "ebpf-tail: %s (see --help)\n", ebpf::one_line(error.what()).c_str());
    return kBadOptions;
  }
  catch_signals();
  return attach_and_print(options);
}
