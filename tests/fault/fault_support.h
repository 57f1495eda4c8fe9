// SPDX-License-Identifier: Apache-2.0
// What the fault tests share: rounds with a seed that is printed, a producer and consumers
// in processes of their own, and one shared page on which they say what they see. The
// records follow from their sequence number, so that every byte of them can be checked.
#pragma once

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "libebpf/consumer.h"
#include "tests/unit/consumer_producer.h"

namespace ebpf::fault {

inline uint64_t env_number(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

inline uint64_t rounds() { return env_number("EBPF_FAULT_ROUNDS", 200); }

// All that is random in a test. EBPF_FAULT_SEED repeats a run.
class Dice {
 public:
  Dice() : seed_(env_number("EBPF_FAULT_SEED", std::random_device{}())), engine_(seed_) {
    printf("seed: EBPF_FAULT_SEED=%" PRIu64 "\n", seed_);
    fflush(stdout);
  }
  explicit Dice(uint64_t seed) : seed_(seed), engine_(seed) {}
  uint64_t seed() const { return seed_; }
  uint64_t word() { return engine_(); }
  uint64_t below(uint64_t end) { return engine_() % end; }
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }

 private:
  uint64_t seed_;
  std::mt19937_64 engine_;
};

inline std::string round_text(const Dice& dice, uint64_t round) {
  return "EBPF_FAULT_SEED=" + std::to_string(dice.seed()) + ", round " + std::to_string(round);
}

// True as soon as the condition holds. A step counts for 1 ms at most, however long the
// machine let us wait for our turn: the limits are for the code and not for its neighbours.
template <class Condition>
bool within_us(uint64_t limit_us, Condition&& condition) {
  uint64_t waited_us = 0;
  for (uint64_t last = now_us(); !condition();) {
    if (waited_us > limit_us) return false;
    usleep(100);
    const uint64_t now = now_us();
    waited_us += std::min<uint64_t>(now - last, 1000);
    last = now;
  }
  return true;
}

// ---- the shared page --------------------------------------------------------------------

using Word = std::atomic<uint64_t>;
constexpr size_t kReports = 8;

// Written by one consumer, but for the upper part.
struct Report {
  // By the test.
  Word finish;      // leave once nothing is unread
  Word slow_us;     // how long a slow callback takes
  Word slow_every;  // one of so many records is slow; 0: none
  Word follow;      // the producer waits for this one: a rate that it can follow
  // By the consumer.
  Word opened;
  Word delivered;  // counted by itself
  Word lost;       // sum of the gap notices that tell its own losses
  Word gaps;
  Word restarts;
  Word torn;        // records that were not intact, at the begin or the end of the callback
  Word disordered;  // records that did not follow on from the one before, or from a gap
  Word unbalanced;  // times that the library's account was wrong, or not the same as ours
  Word next_seq;
  Word epoch;            // of the producer that it reads now
  Word epoch_delivered;  // since the last restart
  Word unread;
  Word published;  // by the library's account
  Word inside;     // 1: in a slow callback
  Word error;      // of the call that ended it
  Word done;
};

struct Board {
  // By the test.
  Word target;    // records that the producer publishes in all
  Word free_run;  // 1: it waits for nobody
  Word quit;
  // By the producer.
  Word ready;
  Word published;
  Word cpu_ns;     // of the writing thread
  Word attached;   // consumers
  Word window;     // records that the ring can hold at most
  Word follow_by;  // how far it may be ahead of those that it waits for
  Word epoch;
  Word initial_seq;
  Word undelivered;
  Report reports[kReports];
};

class SharedBoard {
 public:
  SharedBoard()
      : at_(static_cast<Board*>(mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~SharedBoard() { munmap(at_, sizeof(Board)); }
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  Board* operator->() const { return at_; }
  Board& operator*() const { return *at_; }

 private:
  Board* at_;
};

// A process that runs `body` and ends with its value; killed when this goes out of scope.
class Process {
 public:
  Process() = default;
  template <class Body>
  explicit Process(Body&& body) {
    fflush(stdout);
    pid_ = fork();
    if (pid_ == 0) _exit(body());
    EXPECT_GT(pid_, 0) << std::strerror(errno);
  }
  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Process& operator=(Process&& other) noexcept {
    kill9();
    pid_ = std::exchange(other.pid_, -1);
    return *this;
  }
  ~Process() { kill9(); }

  pid_t pid() const { return pid_; }
  void kill9() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  // Returns when every thread of it stands still.
  void stop() {
    ::kill(pid_, SIGSTOP);
    int status;
    waitpid(pid_, &status, WUNTRACED);
  }
  void cont() { ::kill(pid_, SIGCONT); }
  // The value of body, or 128 and the signal.
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

inline uint64_t thread_cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// ---- processes --------------------------------------------------------------------------

int run_producer(Board& board, const std::string& path, const RingOptions& options);
int run_consumer(Report& report, const std::string& path, uint32_t from, bool reattach = true);

// Joins by hand, without any check. The descriptors as they came: data, control.
struct RawJoin {
  UniqueFd socket;
  UniqueFd data;
  UniqueFd control;
  ebpf_msg_joined joined{};
};
UniqueFd connect_to(const std::string& path);
bool join_raw(const std::string& path, RawJoin& out,
              uint32_t layout_version = EBPF_RING_LAYOUT_VERSION,
              ebpf_msg_error* refusal = nullptr);

// A ring that is written, and consumers on it.
class Stage {
 public:
  explicit Stage(const RingOptions& options = small_options())
      : path(folder_ / "producer.sock"), options_(options) {
    start_producer();
  }

  void start_producer() {
    board->ready = board->published = board->target = 0;
    producer = Process([this] { return run_producer(*board, path, options_); });
    EXPECT_TRUE(within_us(kPatienceUs, [this] { return board->ready == 1; }));
  }

  // A consumer that the producer waits for: it must get everything.
  Process witness(size_t report) {
    board->reports[report].next_seq = options_.initial_seq;
    board->reports[report].follow = 1;
    return consumer(report, EBPF_FROM_OLDEST);
  }
  // Returns once it is attached.
  Process consumer(size_t report, uint32_t from) {
    Process process(
        [this, report, from] { return run_consumer(board->reports[report], path, from); });
    EXPECT_TRUE(within_us(kPatienceUs, [&] { return board->reports[report].opened == 1; }));
    return process;
  }

  void publish(uint64_t more) { board->target += more; }
  void wait_published() {
    ASSERT_TRUE(within_us(kPatienceUs, [this] { return board->published == board->target; }))
        << board->published << " of " << board->target;
  }
  // Everything published was told to this consumer, as a record or as lost, exactly once.
  void wait_told(size_t index) {
    const Report& report = board->reports[index];
    // The account follows the last record by a moment; a wrong one never comes to agree.
    ASSERT_TRUE(within_us(kPatienceUs,
                          [&] {
                            const uint64_t published = board->published;
                            return published == board->target &&
                                   report.delivered + report.lost == published &&
                                   report.published == published && report.unread == 0;
                          }))
        << board->published << " of " << board->target << " published, " << report.delivered
        << " delivered, " << report.lost << " lost; by the account " << report.published
        << " published, " << report.unread << " unread";
    expect_sound(index);
  }
  void expect_sound(size_t index) const {
    const Report& report = board->reports[index];
    EXPECT_EQ(report.torn, 0u) << "consumer " << index;
    EXPECT_EQ(report.disordered, 0u) << "consumer " << index;
    EXPECT_EQ(report.unbalanced, 0u) << "consumer " << index;
    EXPECT_EQ(report.error, 0u) << "consumer " << index;
  }
  void wait_all_told(size_t index) {
    wait_told(index);
    EXPECT_EQ(board->reports[index].lost, 0u) << "consumer " << index;
  }
  bool wait_attached(uint64_t count, uint64_t limit_us) {
    return within_us(limit_us, [&] { return board->attached == count; });
  }

 private:
  TempFolder folder_;

 public:
  const std::string path;
  SharedBoard board;
  Process producer;

 private:
  RingOptions options_;
};

}  // namespace ebpf::fault
