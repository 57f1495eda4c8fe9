// SPDX-License-Identifier: Apache-2.0
// A consumer's life over any number of producers: attach, read, sleep, notice the end,
// find the next one. include/libebpf/consumer.h says what it promises.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "consumer/attachment.h"
#include "consumer/producer_link.h"
#include "consumer/wait.h"
#include "libebpf/consumer.h"

namespace ebpf {

struct ConsumerConfig {
  std::string socket_path;
  std::string name;
  uint64_t lanes = 0;        // 0: all
  bool spare_lanes = false;  // lanes that only another producer may have can be asked for
  Join join = Join::kTail;
  bool reattach = true;
  uint32_t spin_us = 0;
  std::optional<RecordFilter> filter;
  uint64_t resume_epoch = 0;  // 0: nothing to resume
  std::vector<ResumePoint> resume_points;
  Sink sink;
};

class Consumer {
 public:
  static Result<std::unique_ptr<Consumer>> open(ConsumerConfig config);

  // As ebpf_consumer_poll().
  int poll(int timeout_ms);
  int fd() const { return watch_.fd(); }
  void fill_stats(struct ebpf_consumer_stats& stats) const;
  std::vector<ebpf_position> positions() const;
  // Why the last attachment ended, in one line.
  std::string end_text() const;

  // Inside poll(), which is where callbacks run.
  bool busy() const { return busy_; }
  // From inside a callback: the poll ends, then whoever called it deletes the consumer.
  void request_close();
  bool close_requested() const { return close_requested_; }

 private:
  enum class Phase {
    kReading,   // attached
    kDraining,  // the producer hung up: what it left is read
    kAway,      // nothing left to read, nobody to read from
    kOver       // as kAway, and nobody is looked for
  };
  enum class Step { kGoOn, kWait };

  Consumer(ConsumerConfig config, Watch watch);

  Result<> attach_first();
  Result<> adopt(std::unique_ptr<Attachment> attachment);
  Result<> place(Attachment& attachment);

  int run(const Deadline& deadline, bool may_wait);
  int deliver();
  bool spin();
  Step advance();
  Step advance_reading();
  Step advance_away();
  Waited wait(const Deadline& deadline);
  bool arm_doorbell();

  void lose_link();
  void leave_epoch();
  void finish_epoch();
  void fold_attachment();
  bool may_return() const { return config_.reattach && !evicted_; }
  Step attach_failed(bool busy = false);
  Result<std::unique_ptr<Attachment>> try_attach();

  ConsumerConfig config_;
  Sink sink_;
  Watch watch_;
  Phase phase_ = Phase::kAway;
  std::optional<ProducerLink> link_;        // attached, or waiting for the answer to JOIN
  std::unique_ptr<Attachment> attachment_;  // while there is something to read
  bool drained_ = false;                    // the last deliver() came to the end of the epoch
  uint64_t last_epoch_ = 0;
  std::vector<ResumePoint> last_points_;  // where we stood in it
  uint64_t next_try_us_ = 0;              // kAway: when to look for a producer
  uint64_t answer_due_us_ = 0;            // while link_ waits for the answer
  uint64_t next_link_check_us_ = 0;
  bool nudged_ = false;       // our own descriptor was made readable
  bool evicted_ = false;      // an operator said so: no coming back
  bool restart_due_ = false;  // the producer to resume at is gone: to be told
  uint32_t last_end_ = EBPF_END_NONE;
  Error last_reason_{};  // EBPF_END_DETACHED
  bool busy_ = false;
  bool close_requested_ = false;
  LaneCounts past_;  // of attachments that are over
  uint64_t sleeps_ = 0;
  uint64_t reattaches_ = 0;
  uint32_t lane_count_ = 0;
};

}  // namespace ebpf
