// SPDX-License-Identifier: Apache-2.0
#include "producer/offset_search.h"

#include <sched.h>
#include <signal.h>

#include <string>
#include <system_error>
#include <thread>

#include "producer/offset_search_candidates.h"
#include "producer/offset_search_steps.h"

namespace ebpf {
namespace {

using search::SearchState;

// On the searching thread, whose end closes every descriptor that is made here.
Result<SearchedOffsets> search_on_this_thread(const LogSink& log) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);  // the program's handlers do not run here
  // Descriptors of the search never show up in the rest of the process.
  if (unshare(CLONE_FILES) != 0) return errno_error("offset search: unshare(CLONE_FILES)");

  auto reader = search::KernelReader::open(log);
  if (!reader) return search::field_error("reading kernel memory", reader.error());
  SearchState state{**reader, log};
  using Step = Result<> (*)(SearchState&);
  for (Step step : {search::find_descriptor_table, search::find_inode, search::find_socket,
                    search::find_sock_fields, search::find_sequence_numbers})
    if (auto found = step(state); !found) return found.error();
  auto cpus = search::check_every_cpu(state);
  if (!cpus) return cpus.error();
  return SearchedOffsets{state.table, *cpus, state.has_ipv6};
}

Result<SearchedOffsets> search_once(const LogSink& log) {
  Result<SearchedOffsets> result = Error{EAGAIN, "offset search: not started"};
  try {
    std::thread thread([&] { result = search_on_this_thread(log); });
    thread.join();
  } catch (const std::system_error& error) {
    return Error{error.code().value(),
                 std::string("offset search: cannot start a thread: ") + error.what()};
  }
  return result;
}

// The kernel's memory moves on while it is looked at, so that now and then the right offset
// fails a comparison. A wrong one that passes them all is another matter: for that there are
// the checks at the end.
constexpr int kAttempts = 4;

}  // namespace

Result<SearchedOffsets> search_offsets(const LogSink& log) {
  const LogSink sink = log ? log : [](LogLevel, const std::string&) {};
  Result<SearchedOffsets> result = search_once(sink);
  for (int attempt = 1; attempt < kAttempts && !result; ++attempt) {
    sink(LogLevel::kDebug, result.error().message + "; once more");
    result = search_once(sink);
  }
  if (result) {
    sink(LogLevel::kInfo,
         "offsets found by search, the same on " + std::to_string(result->cpus_checked) + " CPUs");
  }
  return result;
}

}  // namespace ebpf
