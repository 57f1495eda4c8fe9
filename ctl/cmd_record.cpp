// SPDX-License-Identifier: Apache-2.0
// ebpfctl record FILE: a consumer of the ring that keeps what it gets (docs/TRACEFILE.md).
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "consumer/control_client.h"
#include "ctl/command_line.h"
#include "ctl/format.h"
#include "ctl/output_file.h"
#include "ctl/progress.h"
#include "ctl/record_source.h"
#include "producer/trace_recorder.h"

namespace ebpf::ctl {
namespace {

struct RecordOptions {
  SourceOptions source;
  std::string file;
  uint64_t bytes = 0;  // 0: without limit
  bool force = false;
};

// The largest share of a limit that is reached; below 0: there is no limit.
double share_of(const RecordOptions& record, uint64_t records, uint64_t bytes, double seconds) {
  double share = -1;
  const auto reached = [&](double value, double limit) {
    if (limit > 0) share = std::max(share, value / limit);
  };
  reached(static_cast<double>(records), static_cast<double>(record.source.count));
  reached(static_cast<double>(bytes), static_cast<double>(record.bytes));
  reached(seconds, record.source.seconds);
  return share;
}

// The limit that the file's header tells. A file that is recorded again keeps its own.
Result<uint32_t> capture_limit(const Options& options, const SourceOptions& source) {
  if (!source.file.empty()) return uint32_t{EBPF_CAP_BYTES_MAX};
  auto client = ControlClient::connect(options.socket_path);
  if (!client) return client.error();
  auto stats = client->get_stats();
  if (!stats) return stats.error();
  return std::clamp(stats->cap_bytes, 1u, uint32_t{EBPF_CAP_BYTES_MAX});
}

class Recording {
 public:
  Recording(const RecordOptions& options, uint32_t cap_bytes)
      : options_(options), cap_bytes_(cap_bytes), began_(std::chrono::steady_clock::now()) {}

  Result<> open() {
    if (options_.force) {
      if (auto removed = remove_regular_file(options_.file); !removed) return removed.error();
    }
    auto created = TraceRecorder::create(
        options_.file, cap_bytes_,
        [this](LogLevel, const std::string& message) { failure_ = message; },
        TraceRecorder::Existing::kRefuse);
    if (created) {
      recorder_ = std::move(*created);
      return Unit{};
    }
    const bool exists = created.error().code == EEXIST;
    return file_error({0, created.error().message + (exists ? "; --force replaces it" : "")});
  }

  RecordHandler handler() {
    RecordHandler handler;
    handler.record = [this](const ebpf_record& record) { return add(record); };
    handler.gap = [this](const ebpf_gap& gap, uint32_t) {
      lost_ += gap.count;
      recorder_->add_gap(gap);
      return !recorder_->failed();
    };
    handler.idle = [this] {
      recorder_->flush();
      show_progress();
      return !recorder_->failed() && !enough();
    };
    return handler;
  }

  // What could not be kept whole is kept under a name that says so.
  Result<> finish() {
    recorder_->finish();
    if (failure_.empty()) return Unit{};
    return Error{EIO, escape(failure_) + "; " + set_aside(options_.file)};
  }

  uint64_t records() const { return recorder_->records(); }
  uint64_t gaps() const { return recorder_->gaps(); }
  uint64_t lost() const { return lost_; }
  uint64_t bytes() const { return recorder_->bytes(); }

 private:
  bool enough() const { return options_.bytes != 0 && recorder_->bytes() >= options_.bytes; }

  bool add(const ebpf_record& record) {
    if (record.data.cap_len > cap_bytes_) {
      failure_ = "a record of " + std::to_string(record.data.cap_len) +
                 " bytes came, this recording takes up to " + std::to_string(cap_bytes_) +
                 ": the producer was started anew with another capture limit";
      return false;
    }
    recorder_->add(record);
    ++taken_;
    return !recorder_->failed() && !enough();
  }

  void show_progress() {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - began_;
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.1f s", passed.count());
    progress_.show(share_of(options_, taken_, recorder_->bytes(), passed.count()),
                   std::to_string(taken_) + " records, " + bytes_text(recorder_->bytes()) + ", " +
                       std::to_string(lost_) + " lost, " + seconds);
  }

  const RecordOptions& options_;
  uint32_t cap_bytes_;
  std::chrono::steady_clock::time_point began_;
  std::unique_ptr<TraceRecorder> recorder_;
  Progress progress_;
  std::string failure_;
  uint64_t taken_ = 0;
  uint64_t lost_ = 0;
};

std::string summary(const Options& options, const RecordOptions& record,
                    const Recording& recording) {
  if (!options.json()) {
    return std::to_string(recording.records()) + " records in " + escape(record.file) + " (" +
           bytes_text(recording.bytes()) + "), " + std::to_string(recording.lost()) + " lost in " +
           std::to_string(recording.gaps()) + " gaps\n";
  }
  nlohmann::ordered_json object;
  object["schema_version"] = kSchemaVersion;
  object["file"] = escape(record.file);
  object["records"] = recording.records();
  object["gaps"] = recording.gaps();
  object["lost"] = recording.lost();
  object["bytes"] = recording.bytes();
  return object.dump(2) + "\n";
}

Result<Output> record(const Options& options, const RecordOptions& record) {
  catch_signals();  // from here on a signal ends it in order
  auto cap_bytes = capture_limit(options, record.source);
  if (!cap_bytes) return cap_bytes.error();
  Recording recording(record, *cap_bytes);
  if (auto opened = recording.open(); !opened) return opened.error();
  auto end = read_records(options, record.source, recording.handler());
  auto finished = recording.finish();
  if (!end) {
    if (recording.records() == 0) ::unlink(record.file.c_str());
    return end.error();
  }
  if (!finished) return finished.error();
  warn_if_cut(record.source, *end);
  return Output(summary(options, record, recording));
}

}  // namespace

void add_record(CLI::App& app, const Options& options, Action& action) {
  auto chosen = std::make_shared<RecordOptions>();
  CLI::App* command = app.add_subcommand("record", "keeps records in a file, to be played again");
  command->fallthrough();
  command->add_option("FILE", chosen->file, "the file to write (mode 0600)")
      ->required()
      ->check(file_name());
  command->add_flag("--force", chosen->force, "replace the file if there is one");
  chosen->source.declare_source(*command);
  chosen->source.declare_filter(*command);
  chosen->source.declare_limits(*command);
  command->add_option("--bytes", chosen->bytes, "End when the file has so many bytes")
      ->check(whole_number(1, UINT64_MAX));
  command->callback([&, chosen] { action = [&, chosen] { return record(options, *chosen); }; });
}

}  // namespace ebpf::ctl
