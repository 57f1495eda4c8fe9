// SPDX-License-Identifier: Apache-2.0
// ebpf-tail: prints the trace of a running ebpf-producer, as text or as JSON lines. Also the
// example of how to use libebpf/consumer.h: open with two callbacks, poll, close.
//
// Exit status: 0 ended by --count, a signal or a closed pipe; 1 could not go on (the line on
// stderr says why); 2 bad options; 3 no producer to attach to.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "consumer/examples/format.h"
#include "libebpf/consumer.h"

namespace {

enum ExitStatus { kOk = 0, kFailed = 1, kBadOptions = 2, kNoProducer = 3 };

struct Options {
  std::string output = "text";
  std::string from = "tail";
  std::string socket_path;
  std::string lanes;
  uint64_t lane_mask = 0;
  uint64_t count = 0;  // 0: without end
  std::vector<std::string> protocols;
  std::vector<std::string> directions;
  std::vector<std::string> msg_types;
  std::vector<uint32_t> process_ids;
  std::vector<uint16_t> ports;
};

volatile std::sig_atomic_t stop_requested = 0;

void on_signal(int) { stop_requested = 1; }

// What the callbacks work on.
class Printer {
 public:
  explicit Printer(const Options& options)
      : json_(options.output == "json"), left_(options.count), by_line_(isatty(STDOUT_FILENO)) {}

  // Non-zero ends the poll.
  int record(const ebpf_record& record) {
    if (json_) {
      ebpf::append_json_record(text_, record);
    } else {
      ebpf::append_text_record(text_, record);
    }
    if (left_ != 0 && --left_ == 0) done_ = true;
    flush_when_due();
    return done_ || stop_requested || write_error_ != 0;
  }

  void gap(const ebpf_gap& gap, uint32_t lane) {
    if (json_) {
      ebpf::append_json_gap(text_, gap, lane);
    } else {
      ebpf::append_text_gap(text_, gap);
    }
    flush_when_due();
  }

  // Called between polls; a program that reads our lines waits for none of them.
  void flush() {
    size_t written = 0;
    while (written < text_.size() && write_error_ == 0) {
      const ssize_t n = write(STDOUT_FILENO, text_.data() + written, text_.size() - written);
      if (n >= 0) written += static_cast<size_t>(n);
      if (n < 0 && errno == EINTR && stop_requested) break;  // nobody takes it
      if (n < 0 && errno != EINTR) write_error_ = errno;
    }
    text_.clear();
  }

  bool done() const { return done_; }
  int write_error() const { return write_error_; }

 private:
  static constexpr size_t kFlushBytes = 1 << 16;

  void flush_when_due() {
    if (by_line_ || text_.size() >= kFlushBytes) flush();
  }

  bool json_;
  uint64_t left_;
  bool by_line_;
  bool done_ = false;
  int write_error_ = 0;
  std::string text_;
};

int on_record(const ebpf_record* record, uint32_t, void* user) {
  return static_cast<Printer*>(user)->record(*record);
}

void on_gap(const ebpf_gap* gap, uint32_t lane, void* user) {
  static_cast<Printer*>(user)->gap(*gap, lane);
}

bool all_digits(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// CLI11 would take -1 for the largest number there is.
std::string check_count(const std::string& text) {
  const bool zero = text.find_first_not_of('0') == std::string::npos;
  return all_digits(text) && !zero ? "" : "\"" + text + "\" is no whole number from 1 on";
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

// A word of --proto and its like, and the filter's bit for it.
struct Word {
  const char* text;
  uint32_t bit;
};
constexpr Word kProtocols[] = {{"http", EBPF_FILTER_HTTP1},  {"http2", EBPF_FILTER_HTTP2},
                               {"dubbo", EBPF_FILTER_DUBBO}, {"mysql", EBPF_FILTER_MYSQL},
                               {"redis", EBPF_FILTER_REDIS}, {"kafka", EBPF_FILTER_KAFKA},
                               {"dns", EBPF_FILTER_DNS},     {"unknown", EBPF_FILTER_UNKNOWN}};
constexpr Word kDirections[] = {{"snd", EBPF_FILTER_SND}, {"rcv", EBPF_FILTER_RCV}};
constexpr Word kMsgTypes[] = {{"request", EBPF_FILTER_REQUEST},
                              {"response", EBPF_FILTER_RESPONSE},
                              {"none", EBPF_FILTER_NO_TYPE}};

template <size_t N>
uint32_t to_mask(const std::vector<std::string>& texts, const Word (&words)[N]) {
  uint32_t mask = 0;
  for (const std::string& text : texts) {
    for (const Word& word : words) {
      if (text == word.text) mask |= word.bit;
    }
  }
  return mask;
}

template <size_t N>
CLI::IsMember one_of(const Word (&words)[N]) {
  std::vector<std::string> texts;
  for (const Word& word : words) texts.emplace_back(word.text);
  return CLI::IsMember(texts);
}

// Digits only: CLI11 would wrap what is negative or too large.
CLI::Validator number_up_to(uint64_t most) {
  return CLI::Validator(
      [most](const std::string& text) -> std::string {
        const bool good = all_digits(text) && text.size() <= 10 && std::stoull(text) <= most;
        return good ? "" : "\"" + text + "\" is no number from 0 to " + std::to_string(most);
      },
      "");
}

void declare_filter(CLI::App& app, Options& options) {
  app.add_option("--proto", options.protocols, "Only these protocols, as http,redis")
      ->delimiter(',')
      ->check(one_of(kProtocols));
  app.add_option("--pid", options.process_ids, "Only these processes, as 17,4711")
      ->delimiter(',')
      ->check(number_up_to(UINT32_MAX));
  app.add_option("--port", options.ports, "Only these ports, remote or local, as 80,443")
      ->delimiter(',')
      ->check(number_up_to(UINT16_MAX));
  app.add_option("--direction", options.directions, "Only what was sent (snd) or received (rcv)")
      ->delimiter(',')
      ->check(one_of(kDirections));
  app.add_option("--msg-type", options.msg_types, "Only requests, responses, or what is neither")
      ->delimiter(',')
      ->check(one_of(kMsgTypes));
}

ebpf_filter make_filter(const Options& options) {
  ebpf_filter filter = EBPF_FILTER_INIT;
  filter.protocols = to_mask(options.protocols, kProtocols);
  filter.directions = to_mask(options.directions, kDirections);
  filter.msg_types = to_mask(options.msg_types, kMsgTypes);
  filter.process_ids = options.process_ids.data();
  filter.process_count = static_cast<uint32_t>(options.process_ids.size());
  filter.ports = options.ports.data();
  filter.port_count = static_cast<uint32_t>(options.ports.size());
  return filter;
}

void declare_options(CLI::App& app, Options& options) {
  app.add_option("-o,--output", options.output, "text or json (one object per line)")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--count", options.count, "End after so many records")
      ->check(CLI::Validator(check_count, "[at least 1]"));
  app.add_option("--socket", options.socket_path,
                 "Socket of the producer (default: $EBPF_SOCKET or the usual place)");
  app.add_option("--from", options.from, "tail: new records only; oldest: what the ring holds too")
      ->check(CLI::IsMember({"tail", "oldest"}))
      ->capture_default_str();
  app.add_option("--lanes", options.lanes, "Lanes to read, as 0,2,5 (default: all)");
  declare_filter(app, options);
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

int run(ebpf_consumer* consumer, Printer& printer) {
  while (!stop_requested && !printer.done() && printer.write_error() == 0) {
    // Not without limit: a signal may come just before the poll falls asleep.
    const int delivered = ebpf_consumer_poll(consumer, 200);
    printer.flush();
    if (delivered < 0 && delivered != -EINTR) {
      std::fprintf(stderr, "ebpf-tail: %s\n", ebpf_last_error());
      return kFailed;
    }
  }
  if (printer.write_error() != 0 && printer.write_error() != EPIPE) {
    std::fprintf(stderr, "ebpf-tail: cannot write: %s\n", std::strerror(printer.write_error()));
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
  Printer printer(options);
  ebpf_consumer_options open_options = EBPF_CONSUMER_OPTIONS_INIT;
  open_options.socket_path = options.socket_path.empty() ? nullptr : options.socket_path.c_str();
  open_options.lanes = options.lane_mask;
  open_options.from = options.from == "oldest" ? EBPF_FROM_OLDEST : EBPF_FROM_TAIL;
  const ebpf_filter filter = make_filter(options);
  open_options.filter = &filter;
  open_options.on_record = on_record;
  open_options.on_gap = on_gap;
  open_options.user = &printer;

  ebpf_consumer* consumer = nullptr;
  if (const int error = ebpf_consumer_open(&consumer, &open_options); error < 0) {
    std::fprintf(stderr, "ebpf-tail: %s\n", ebpf_last_error());
    return exit_status_of(error);
  }
  const int status = run(consumer, printer);
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
    if (!options.lanes.empty()) options.lane_mask = parse_lanes(options.lanes);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kBadOptions;
  }
  catch_signals();
  return attach_and_print(options);
}
