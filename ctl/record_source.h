// SPDX-License-Identifier: Apache-2.0
// Where the commands over records get them: live from the ring, or from a recorded file; which
// of them are wanted, and when it is enough.
#pragma once

#include <CLI/CLI.hpp>
#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "consumer/view/filter_options.h"
#include "ctl/command.h"
#include "libebpf/consumer.h"
#include "libebpf/detail/result.h"

namespace ebpf::ctl {

struct SourceOptions {
  std::string file;        // empty: the ring
  bool oldest = false;     // also what the ring still holds
  bool only_held = false;  // end when everything that the ring holds has come
  double seconds = 0;      // 0: without limit
  uint64_t count = 0;
  FilterOptions filter;
  std::vector<std::string> comms;
  std::vector<uint64_t> trace_ids;

  void declare_filter(CLI::App& app);
  void declare_limits(CLI::App& app);
  void declare_source(CLI::App& app);
};

// What the command does with them. False ends the reading.
struct RecordHandler {
  std::function<bool(const ebpf_record&)> record;
  std::function<bool(const ebpf_gap&, uint32_t lane)> gap;
  // Between batches, a few times each second; nothing of the ring is held meanwhile.
  std::function<bool()> idle = [] { return true; };
};

// How it ended.
struct SourceEnd {
  uint64_t records = 0;   // handed on
  bool file_cut = false;  // the file is cut off or damaged behind its last record
};

// Until the file's end, a limit, a signal (SIGINT, SIGTERM, SIGHUP), or until the handler says so.
Result<SourceEnd> read_records(const Options& options, const SourceOptions& source,
                               const RecordHandler& handler);

// From here on the signals above do not end the program, but set stop_requested().
void catch_signals();
const volatile std::sig_atomic_t& stop_requested();

// A file's name comes from the command line and goes into messages.
CLI::Validator file_name();

// An error of a file: never the exit code of an error of the producer.
Error file_error(const Error& error);

// Says on stderr that the file was cut off.
void warn_if_cut(const SourceOptions& source, const SourceEnd& end);

}  // namespace ebpf::ctl
