// SPDX-License-Identifier: Apache-2.0
// A way to carry records from one process to several, behind one interface, so that all of
// them do the same work under the same loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libebpf/detail/result.h"
#include "record.h"

namespace ebpf::bench {

enum class Wait {
  kSleep,    // a reader that finds nothing sleeps until it is woken
  kSpin,     // it looks again and again
  kNatural,  // whichever carries more, see each transport
};

struct ChannelOptions {
  uint32_t record_bytes = 0;
  uint32_t consumers = 0;
  uint64_t ring_bytes = 0;
  Wait wait = Wait::kNatural;
  std::string directory;  // for sockets
};

// The producer's end, in its process.
class Writer {
 public:
  virtual ~Writer() = default;
  // Carries the source's next `count` records, numbered from first_seq, as one burst. May
  // block. False: it cannot.
  virtual bool write(Source& source, uint64_t first_seq, uint32_t count) = 0;
  // After a few bursts, and while there is nothing to write.
  virtual void end_pass(uint64_t /*now_ns*/) {}
  virtual void finish() {}
  // Records that a reader may fall behind before it loses some; 0: write() waits for it.
  virtual uint64_t window_records() const { return 0; }
};

// One consumer's end, in its process.
class Reader {
 public:
  virtual ~Reader() = default;
  // Hands what is there to the checker; waits as the options say. Returns the number of
  // records, 0: none, below 0: there will be no more.
  virtual int read(Checker& checker) = 0;
};

// Both ends, before the processes part.
class Channel {
 public:
  virtual ~Channel() = default;
  virtual Result<std::unique_ptr<Writer>> open_writer() = 0;
  virtual Result<std::unique_ptr<Reader>> open_reader(uint32_t index) = 0;
};

struct Transport {
  const char* name;
  Result<std::unique_ptr<Channel>> (*create)(const ChannelOptions& options);
};

extern const Transport kRing;
extern const Transport kBare;     // no protocol at all: what the hardware gives
extern const Transport kIceoryx;  // create() fails with ENOSYS where it is not built in
extern const Transport kMessageQueue;
extern const Transport kSeqpacket;
extern const Transport kPipe;

// Shuts down what a transport runs beside the bench.
void end_iceoryx();

}  // namespace ebpf::bench
