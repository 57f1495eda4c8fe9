// SPDX-License-Identifier: Apache-2.0
// The child processes of one run. None outlives it, whatever happens.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "libebpf/detail/result.h"

namespace ebpf::bench {

class Crew {
 public:
  Crew() = default;
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew();  // kills whoever is left

  // Forks a process that runs `body` and exits. The caller has one thread.
  Result<pid_t> start(const std::string& role, const std::function<void()>& body);
  // Kills and forgets one.
  void dismiss(pid_t pid);
  // Waits for all; past the deadline, or when one dies of a signal, an error names it.
  Result<> wait(double seconds);
  // False once a member has died of a signal or left early with an error.
  bool all_well();

 private:
  struct Member {
    pid_t pid;
    std::string role;
  };
  Result<> reap();

  std::vector<Member> members_;
  std::string trouble_;
};

}  // namespace ebpf::bench
