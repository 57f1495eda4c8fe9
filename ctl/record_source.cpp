// SPDX-License-Identifier: Apache-2.0
#include "ctl/record_source.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>

#include "consumer/record_filter.h"
#include "ctl/command_line.h"
#include "libebpf/detail/escape.h"
#include "producer/trace_player.h"

namespace ebpf::ctl {
namespace {

constexpr int kPollMs = 200;
constexpr size_t kFileBatch = 1024;
constexpr double kSecondsMax = 1e8;

using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t signal_came = 0;

void on_signal(int) { signal_came = 1; }

std::string_view name_of(const SK_BPF_DATA& data) {
  const auto* name = reinterpret_cast<const char*>(data.process_name);
  return {name, strnlen(name, sizeof data.process_name)};
}

// What the consumer's own filter does not know, and the limits.
class Reading {
 public:
  Reading(const SourceOptions& source, const RecordHandler& handler)
      : source_(source), handler_(handler), began_(Clock::now()) {}

  // False: it is enough.
  bool record(const ebpf_record& record) {
    if (wants(record.data)) {
      ++end_.records;
      if (!handler_.record(record)) done_ = true;
      if (source_.count != 0 && end_.records >= source_.count) done_ = true;
    }
    return !over();
  }
  void gap(const ebpf_gap& gap, uint32_t lane) {
    if (!handler_.gap(gap, lane)) done_ = true;
  }
  bool over() const { return done_ || signal_came != 0; }
  // Between batches.
  bool goes_on() {
    if (!handler_.idle()) done_ = true;
    const std::chrono::duration<double> passed = Clock::now() - began_;
    if (source_.seconds > 0 && passed.count() >= source_.seconds) done_ = true;
    return !over();
  }
  int next_wait_ms() const {
    if (source_.only_held) return 0;
    if (source_.seconds <= 0) return kPollMs;
    const std::chrono::duration<double, std::milli> passed = Clock::now() - began_;
    const double left_ms = source_.seconds * 1000 - passed.count();
    return left_ms < kPollMs ? std::max(static_cast<int>(left_ms) + 1, 1) : kPollMs;
  }
  SourceEnd& end() { return end_; }

 private:
  bool wants(const SK_BPF_DATA& data) const {
    const auto& ids = source_.trace_ids;
    if (!ids.empty() &&
        std::find(ids.begin(), ids.end(), data.syscall_trace_id_call) == ids.end()) {
      return false;
    }
    const auto& comms = source_.comms;
    return comms.empty() || std::find(comms.begin(), comms.end(), name_of(data)) != comms.end();
  }

  const SourceOptions& source_;
  const RecordHandler& handler_;
  Clock::time_point began_;
  bool done_ = false;
  SourceEnd end_;
};

int on_record(const ebpf_record* record, uint32_t, void* user) {
  return static_cast<Reading*>(user)->record(*record) ? 0 : 1;
}

void on_gap(const ebpf_gap* gap, uint32_t lane, void* user) {
  static_cast<Reading*>(user)->gap(*gap, lane);
}

struct Close {
  void operator()(ebpf_consumer* consumer) const { ebpf_consumer_close(consumer); }
};
using ConsumerHandle = std::unique_ptr<ebpf_consumer, Close>;

Result<ConsumerHandle> attach(const Options& options, const SourceOptions& source,
                              Reading& reading) {
  ebpf_consumer_options wanted = EBPF_CONSUMER_OPTIONS_INIT;
  const ebpf_filter filter = source.filter.filter();
  wanted.socket_path = options.socket_path.c_str();
  wanted.from = source.oldest ? EBPF_FROM_OLDEST : EBPF_FROM_TAIL;
  wanted.name = "ebpfctl";
  wanted.filter = &filter;
  wanted.on_record = on_record;
  wanted.on_gap = on_gap;
  wanted.user = &reading;
  ebpf_consumer* consumer = nullptr;
  if (const int error = ebpf_consumer_open(&consumer, &wanted); error < 0) {
    return Error{-error, ebpf_last_error()};
  }
  return ConsumerHandle(consumer);
}

bool has_unread(const ebpf_consumer* consumer) {
  struct ebpf_consumer_stats stats {};
  stats.size = sizeof stats;
  return ebpf_consumer_stats(consumer, &stats) == 0 && stats.unread > 0;
}

Result<SourceEnd> read_ring(const Options& options, const SourceOptions& source,
                            const RecordHandler& handler) {
  Reading reading(source, handler);
  auto consumer = attach(options, source, reading);
  if (!consumer) return consumer.error();
  while (reading.goes_on()) {
    const int delivered = ebpf_consumer_poll(consumer->get(), reading.next_wait_ms());
    if (delivered < 0 && delivered != -EINTR) return Error{EIO, ebpf_last_error()};
    if (source.only_held && delivered == 0 && !has_unread(consumer->get())) break;
  }
  return reading.end();
}

Result<SourceEnd> read_file(const SourceOptions& source, const RecordHandler& handler) {
  auto opened = TracePlayer::open(source.file);
  if (!opened) return file_error(opened.error());
  TracePlayer& player = **opened;
  auto filter = RecordFilter::create(source.filter.filter());
  if (!filter) return filter.error();

  Reading reading(source, handler);
  using Step = TracePlayer::Step;
  Step step = Step::kMore;
  for (size_t frames = 1; step != Step::kEnd && step != Step::kCut && !reading.over(); ++frames) {
    step = player.next();
    if (step == Step::kRecord && filter->wants(player.record().data)) {
      reading.record(player.record());
    }
    if (step == Step::kGap) reading.gap(player.gap(), 0);
    if (frames % kFileBatch == 0) reading.goes_on();
  }
  reading.goes_on();
  reading.end().file_cut = step == Step::kCut;
  return reading.end();
}

}  // namespace

void SourceOptions::declare_filter(CLI::App& app) {
  filter.declare(app);
  app.add_option("--comm", comms, "Only processes of this name; several times for several")
      ->check(printable_text(1, EBPF_COMM_BYTES - 1));
  app.add_option("--trace", trace_ids, "Only these trace ids")
      ->delimiter(',')
      ->check(plain_number(0, UINT64_MAX));
}

void SourceOptions::declare_limits(CLI::App& app) {
  app.add_option("--seconds", seconds, "End after so many seconds")
      ->check(decimal_number(0.001, kSecondsMax));
  app.add_option("--count", count, "End after so many records")->check(whole_number(1, UINT64_MAX));
}

void SourceOptions::declare_source(CLI::App& app) {
  CLI::Option* from =
      app.add_option("--from", file, "Read this recorded file, not the ring")->check(file_name());
  app.add_flag("--oldest", oldest, "Begin with what the ring still holds")->excludes(from);
}

CLI::Validator file_name() {
  return {[](std::string& path) {
            if (path.empty()) return std::string("the name of a file is empty");
            const bool control = std::any_of(path.begin(), path.end(), [](unsigned char byte) {
              return byte < 0x20 || byte == 0x7f;
            });
            return control ? shown_word(path) + " has control bytes" : std::string();
          },
          "FILE", "file_name"};
}

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
}

const volatile std::sig_atomic_t& stop_requested() { return signal_came; }

Error file_error(const Error& error) { return {EIO, escape(error.message)}; }

void warn_if_cut(const SourceOptions& source, const SourceEnd& end) {
  if (!end.file_cut) return;
  std::fprintf(stderr, "ebpfctl: %s is cut off or damaged; shown is what stands before that\n",
               escape(source.file).c_str());
}

Result<SourceEnd> read_records(const Options& options, const SourceOptions& source,
                               const RecordHandler& handler) {
  catch_signals();
  return source.file.empty() ? read_ring(options, source, handler) : read_file(source, handler);
}

}  // namespace ebpf::ctl
