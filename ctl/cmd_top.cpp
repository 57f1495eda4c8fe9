// SPDX-License-Identifier: Apache-2.0
// ebpfctl top: what goes on just now, on a live screen or, with --batch, line by line.
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>

#include "ctl/command_line.h"
#include "ctl/record_source.h"
#include "ctl/ring_status.h"
#include "ctl/terminal.h"
#include "ctl/top_model.h"
#include "ctl/top_screen.h"

namespace ebpf::ctl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSliceMs = 50;  // how long a key may wait
constexpr size_t kFilterMax = 40;

struct TopOptions {
  double interval_s = 1;
  uint64_t count = 0;  // 0: without limit
  bool batch = false;
  std::string sort = "records";
  std::string filter;
};

TopSort sort_of(const std::string& name) {
  return name == "bytes" ? TopSort::kBytes : name == "name" ? TopSort::kName : TopSort::kRecords;
}

struct ConsumerCloser {
  void operator()(ebpf_consumer* consumer) const { ebpf_consumer_close(consumer); }
};

// Reads the ring as any consumer does, and asks the producer for the rest.
class TopSource {
 public:
  Result<> open(const std::string& socket_path) {
    path_ = socket_path;
    ebpf_consumer_options options = EBPF_CONSUMER_OPTIONS_INIT;
    options.socket_path = path_.c_str();
    options.name = "ebpfctl-top";
    options.user = &model_;
    options.on_record = [](const ebpf_record* record, uint32_t, void* user) {
      static_cast<TopModel*>(user)->add(*record);
      return 0;
    };
    ebpf_consumer* consumer = nullptr;
    const int error = ebpf_consumer_open(&consumer, &options);
    if (error != 0) return Error{-error, escape(ebpf_last_error())};
    consumer_.reset(consumer);
    if (auto asked = ask(); !asked) return asked;
    started_ = Clock::now();
    model_.begin(stats_);
    return Unit{};
  }

  // Takes in records for so long, or a little longer.
  Result<> read(int timeout_ms) {
    const int got = ebpf_consumer_poll(consumer_.get(), timeout_ms);
    if (got >= 0 || got == -EINTR) return Unit{};
    return Error{-got == EPIPE ? ECONNABORTED : -got, escape(ebpf_last_error())};
  }

  TopView take(TopSort sort, const std::string& filter) {
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - started_).count();
    started_ = now;
    struct ebpf_consumer_stats own {};
    own.size = sizeof own;
    if (::ebpf_consumer_stats(consumer_.get(), &own) == 0) model_.set_own_lost(own.lost);
    auto asked = ask();
    if (!asked) {
      client_.reset();
      last_error_ = asked.error();
      return model_.take_gone(seconds, asked.error().message);
    }
    return model_.take(seconds, stats_, ring_, sort, filter);
  }

  const Error& last_error() const { return last_error_; }

 private:
  Result<> ask() {
    if (!client_) {
      auto client = ControlClient::connect(path_);
      if (!client) return client.error();
      client_.emplace(std::move(*client));
    }
    auto status = ask_ring_status(*client_);
    if (!status) return status.error();
    stats_ = status->stats;
    ring_ = std::move(status->ring);
    return Unit{};
  }

  std::string path_;
  TopModel model_;
  std::unique_ptr<ebpf_consumer, ConsumerCloser> consumer_;
  std::optional<ControlClient> client_;
  ebpf_msg_stats stats_{};
  RingState ring_{};
  Error last_error_;
  Clock::time_point started_;
};

class Top {
 public:
  Top(const Options& options, const TopOptions& top)
      : options_(options), top_(top), sort_(sort_of(top.sort)), filter_(top.filter) {}

  Result<Output> run() {
    const bool batch = top_.batch || options_.json();
    if (!batch && (!output_is_terminal() || ::isatty(STDIN_FILENO) != 1)) {
      return Error{kBadOption, "top needs a terminal; with --batch it writes to anything"};
    }
    catch_signals();
    if (auto opened = source_.open(options_.socket_path); !opened) return opened.error();
    return batch ? run_batch() : run_screen();
  }

 private:
  Result<Output> run_batch() {
    for (uint64_t shown = 0; top_.count == 0 || shown < top_.count; shown++) {
      const auto end = next_end();
      while (Clock::now() < end && !stop_requested()) {
        if (auto read = source_.read(slice_ms(end)); !read) return read.error();
      }
      if (stop_requested()) break;
      const TopView view = source_.take(sort_, filter_);
      if (!view.problem.empty()) return source_.last_error();
      if (auto written = write_output(text_of(view, shown > 0)); !written) return written.error();
    }
    return Output("");
  }

  Result<Output> run_screen() {
    auto screen = TopScreen::open(options_.color);
    if (!screen) return screen.error();
    TopView view = source_.take(sort_, filter_);
    uint64_t shown = 0;
    auto end = next_end();
    show(*screen, view);
    while (!stop_requested() && !quit_ && (top_.count == 0 || shown < top_.count)) {
      if (auto read = source_.read(slice_ms(end)); !read) return read.error();
      bool changed = false;
      for (int key = screen->key(); key != TopScreen::kNoKey; key = screen->key()) {
        press(key);
        changed = true;
      }
      if (Clock::now() >= end) {
        end = next_end();
        TopView fresh = source_.take(sort_, filter_);
        if (!paused_) view = std::move(fresh);
        changed = true;
        shown++;
      }
      if (changed) show(*screen, view);
    }
    return Output("");
  }

  Clock::time_point next_end() const {
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(
                              std::chrono::duration<double>(top_.interval_s));
  }
  static int slice_ms(Clock::time_point end) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    return static_cast<int>(std::clamp<int64_t>(left.count() + 1, 0, kSliceMs));
  }

  std::string text_of(const TopView& view, bool separate) const {
    if (options_.json()) return top_json(view);
    std::string text = separate ? "\n" : "";
    for (const TopLine& line : top_lines(view, 0, 0)) text += line.text + "\n";
    return text;
  }

  void show(TopScreen& screen, const TopView& view) const {
    const size_t height = screen.height();
    screen.show(top_lines(view, screen.width(), height > 1 ? height - 1 : 1), help_line());
  }

  std::string help_line() const {
    if (editing_) return "filter: " + escape(filter_) + "_   (Enter: done, Esc: none)";
    std::string line = "q quit  r records  b bytes  n name  / filter  p pause";
    line += sort_ == TopSort::kBytes  ? "  [by bytes]"
            : sort_ == TopSort::kName ? "  [by name]"
                                      : "  [by records]";
    if (paused_) line += " [paused]";
    if (!filter_.empty()) line += " [filter: " + escape(filter_) + "]";
    return line;
  }

  void press(int key) {
    if (editing_) return edit(key);
    switch (key) {
      case 'q':
      case 3:  // Ctrl-C
        quit_ = true;
        break;
      case 'r':
        sort_ = TopSort::kRecords;
        break;
      case 'b':
        sort_ = TopSort::kBytes;
        break;
      case 'n':
        sort_ = TopSort::kName;
        break;
      case 'p':
        paused_ = !paused_;
        break;
      case '/':
        editing_ = true;
        filter_.clear();
        break;
      default:
        break;
    }
  }

  void edit(int key) {
    constexpr int kEscape = 27;
    constexpr int kDelete = 127;
    if (key == '\n' || key == '\r') {
      editing_ = false;
    } else if (key == kEscape) {
      editing_ = false;
      filter_.clear();
    } else if (key == kDelete || key == '\b' || key == TopScreen::kBackspace) {
      if (!filter_.empty()) filter_.pop_back();
    } else if (key >= 0x20 && key < 0x7f && filter_.size() < kFilterMax) {
      filter_ += static_cast<char>(key);
    }
  }

  const Options& options_;
  const TopOptions& top_;
  TopSource source_;
  TopSort sort_;
  std::string filter_;
  bool editing_ = false;
  bool paused_ = false;
  bool quit_ = false;
};

}  // namespace

void add_top(CLI::App& app, const Options& options, Action& action) {
  auto chosen = std::make_shared<TopOptions>();
  CLI::App* command = app.add_subcommand("top", "a live screen of what goes on");
  command->fallthrough();
  command->add_option("--interval", chosen->interval_s, "seconds between two looks (default: 1)")
      ->check(decimal_number(0.1, 3600));
  command->add_flag("--batch", chosen->batch, "plain lines instead of a screen, for pipes");
  command->add_option("--count", chosen->count, "end after so many looks")
      ->check(whole_number(1, 1000000000));
  command->add_option("--sort", chosen->sort, "processes and sockets by (default: records)")
      ->check(one_of({"records", "bytes", "name"}));
  command
      ->add_option("--filter", chosen->filter, "only processes and sockets with this in their line")
      ->check(printable_text(1, kFilterMax));
  command->callback([&, chosen] { action = [&, chosen] { return Top(options, *chosen).run(); }; });
}

}  // namespace ebpf::ctl
