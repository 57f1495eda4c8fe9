// SPDX-License-Identifier: Apache-2.0
// Where the protocol's code touches a shared word, and with which memory order: found out
// while it runs, from the caller's place in the source. So no place can be forgotten, and
// each can be weakened alone.
#pragma once

#include "tests/model/checker.h"

namespace ebpf::model {

enum class Op : uint8_t {
  kLoadRelaxed,
  kLoadAcquire,
  kLoadSeqCst,
  kStoreRelaxed,
  kStoreRelease,
  kStoreSeqCst,
  kExchangeSeqCst
};

inline const char* op_name(Op op) {
  static const char* const names[] = {"load_relaxed",    "load_acquire",  "load_seq_cst",
                                      "store_relaxed",   "store_release", "store_seq_cst",
                                      "exchange_seq_cst"};
  return names[static_cast<int>(op)];
}

inline rl::memory_order order_of(Op op) {
  static const rl::memory_order orders[] = {rl::mo_relaxed, rl::mo_acquire, rl::mo_seq_cst,
                                            rl::mo_relaxed, rl::mo_release, rl::mo_seq_cst,
                                            rl::mo_seq_cst};
  return orders[static_cast<int>(op)];
}

// The orders that are weaker than the operation's own, strongest first.
inline std::vector<rl::memory_order> weaker_than(Op op) {
  switch (op) {
    case Op::kLoadSeqCst:
      return {rl::mo_acquire, rl::mo_relaxed};
    case Op::kStoreSeqCst:
      return {rl::mo_release, rl::mo_relaxed};
    case Op::kExchangeSeqCst:
      return {rl::mo_acq_rel, rl::mo_acquire, rl::mo_release, rl::mo_relaxed};
    case Op::kLoadAcquire:
    case Op::kStoreRelease:
      return {rl::mo_relaxed};
    default:
      return {};
  }
}

// One operation in the source. Lives in a fixed table: nothing here may allocate while an
// execution is being explored.
struct Site {
  const char* file = nullptr;
  uint32_t line = 0;
  uint32_t column = 0;
  const char* word = nullptr;
  Op op = Op::kLoadRelaxed;
  rl::memory_order order = rl::mo_relaxed;  // in force
  char function[40] = {};

  rl::debug_info info() const { return {function, file, line}; }
};

class Sites {
 public:
  Site& at(const std::source_location& where, const char* word, Op op) {
    uint32_t i = (where.line() * 131 + where.column() * 7 + static_cast<uint32_t>(op)) % kSize;
    for (;; i = (i + 1) % kSize) {
      Site& site = table_[i];
      if (site.file == nullptr) return enter(site, where, word, op);
      if (site.line == where.line() && site.column == where.column() && site.word == word &&
          site.op == op && site.file == where.file_name()) {
        return site;
      }
    }
  }

  std::vector<Site*> all() {
    std::vector<Site*> found;
    for (Site& site : table_) {
      if (site.file != nullptr) found.push_back(&site);
    }
    std::sort(found.begin(), found.end(), [](const Site* a, const Site* b) {
      const int files = std::strcmp(a->file, b->file);
      if (files != 0) return files < 0;
      return a->line != b->line ? a->line < b->line : a->column < b->column;
    });
    return found;
  }

  // function/word.operation, with #2, #3 … where that is not unique.
  std::string name(const Site& wanted) {
    int ordinal = 0;
    for (const Site* site : all()) {
      if (site->word == wanted.word && site->op == wanted.op &&
          std::strcmp(site->function, wanted.function) == 0) {
        ++ordinal;
      }
      if (site == &wanted) break;
    }
    std::string name = std::string(wanted.function) + "/" + wanted.word + "." + op_name(wanted.op);
    return ordinal > 1 ? name + "#" + std::to_string(ordinal) : name;
  }

 private:
  static constexpr uint32_t kSize = 256;

  static Site& enter(Site& site, const std::source_location& where, const char* word, Op op) {
    site.file = where.file_name();
    site.line = where.line();
    site.column = where.column();
    site.word = word;
    site.op = op;
    site.order = order_of(op);
    // "bool ebpf::pin_segment(Words&, ...) [with ...]": the identifier before the bracket.
    const char* end = std::strchr(where.function_name(), '(');
    if (end == nullptr) end = where.function_name() + std::strlen(where.function_name());
    const char* begin = end;
    while (begin != where.function_name() && (std::isalnum(begin[-1]) || begin[-1] == '_')) --begin;
    const size_t length = std::min<size_t>(end - begin, sizeof(site.function) - 1);
    std::memcpy(site.function, begin, length);
    return site;
  }

  Site table_[kSize];
};

inline Sites sites;

// Deliberate mistakes that are not a matter of memory orders.
enum class Trick {
  kNone,
  kPoolOneBlockLess,
  kScanIgnoresPins,
  kRetireAfterScan,
  kGenerationAfterHead,
  kDirAfterHead,
  kResetAfterHead,
  kPublishedSeqAfterCommitted,
  kEndedBeforePublish,
  kWakeBeforePublish,
  kNoBarrier,
  kSeqCstInsteadOfBarrier,
  kBellBeforeClearing,
  kPendingWakeForgotten,
  kQuietPointWhileScanning,
  kNoGenerationCheck,
  kUnpinBeforeReading,
  kNoRecheck,
  kRecheckBeforeAnnouncing,
  kFutexWithoutCompare,
  kEndedReadLast,
  kDoorbellNotDrainedFirst,
  kRegisteredLate,
  kFreedAtOnce,
  kQuietPointsReadFirst,
  kCount
};

inline const char* trick_name(Trick trick) {
  static const char* const names[] = {
      "none",
      "pool-one-block-less",
      "scan-ignores-pins",
      "retire-after-scan",
      "generation-after-head",
      "directory-after-head",
      "reset-after-head",
      "published-seq-after-committed",
      "ended-before-publish",
      "wake-before-publish",
      "no-barrier-before-wake",
      "seq_cst-stores-instead-of-barrier",
      "bell-before-clearing",
      "pending-wake-forgotten",
      "quiet-point-while-scanning",
      "no-generation-check",
      "unpin-before-reading",
      "no-recheck-before-sleep",
      "recheck-before-announcing",
      "futex-without-compare",
      "ended-read-last",
      "doorbell-drained-last",
      "slot-registered-late",
      "page-freed-at-once",
      "quiet-points-read-first",
  };
  static_assert(std::size(names) == static_cast<size_t>(Trick::kCount));
  return names[static_cast<int>(trick)];
}

inline Trick trick = Trick::kNone;

}  // namespace ebpf::model
