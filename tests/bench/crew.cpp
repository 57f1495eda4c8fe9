// SPDX-License-Identifier: Apache-2.0
#include "crew.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <exception>

#include "clock.h"

namespace ebpf::bench {

Crew::~Crew() {
  for (const Member& each : members_) kill(each.pid, SIGKILL);
  for (const Member& each : members_) waitpid(each.pid, nullptr, 0);
}

Result<pid_t> Crew::start(const std::string& role, const std::function<void()>& body) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return errno_error("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    try {
      body();
    } catch (const std::exception&) {
      _exit(1);
    }
    _exit(0);  // nothing that the parent has open is flushed or removed twice
  }
  members_.push_back({child, role});
  return child;
}

void Crew::dismiss(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  members_.erase(std::remove_if(members_.begin(), members_.end(),
                                [pid](const Member& each) { return each.pid == pid; }),
                 members_.end());
}

Result<> Crew::reap() {
  for (auto each = members_.begin(); each != members_.end();) {
    int status = 0;
    if (waitpid(each->pid, &status, WNOHANG) != each->pid) {
      ++each;
      continue;
    }
    if (trouble_.empty() && WIFSIGNALED(status)) {
      trouble_ = "the " + each->role + " died of signal " + std::to_string(WTERMSIG(status));
    } else if (trouble_.empty() && WEXITSTATUS(status) != 0) {
      trouble_ = "the " + each->role + " gave up";
    }
    each = members_.erase(each);
  }
  if (!trouble_.empty()) return Error{ECHILD, trouble_};
  return Unit{};
}

bool Crew::all_well() { return static_cast<bool>(reap()); }

Result<> Crew::wait(double seconds) {
  const uint64_t until = now_ns() + static_cast<uint64_t>(seconds * 1e9);
  while (!members_.empty()) {
    if (auto reaped = reap(); !reaped) return reaped;
    if (members_.empty()) break;
    if (now_ns() > until) {
      return Error{ETIMEDOUT, "the " + members_.front().role + " did not end in time"};
    }
    sleep_us(500);
  }
  return Unit{};
}

}  // namespace ebpf::bench
