// SPDX-License-Identifier: Apache-2.0
// Makes packets of records: IP and TCP or UDP headers around the payload, with the addresses,
// ports and sequence numbers that the traffic really had.
//
// A connection within this host is traced twice, once for each of its ends. Each of its bytes is
// written once, from whichever end tells it first, so that a reader of the capture sees one clean
// stream; `both_sides` writes all records, the two ends on two interfaces.
//
// A payload that was captured in part makes packets of the full length that are cut off, as a
// capture with a snap length has them: sequence numbers go on without a hole.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "ctl/pcapng.h"
#include "ctl/seq_ranges.h"
#include "libebpf/consumer.h"

namespace ebpf::ctl {

// Addresses and ports of both ends in one order, whoever's record it is; *end tells which of
// them, 0 or 1, is the one that is traced.
std::string connection_key(const SK_BPF_DATA& data, uint32_t* end);

class PacketMaker {
 public:
  explicit PacketMaker(bool both_sides) : both_sides_(both_sides) {}

  // Section and interfaces: the beginning of the file.
  void begin(std::string& out);
  void add(std::string& out, const ebpf_record& record);
  void add_gap(const ebpf_gap& gap);
  // The statistics: the end of the file.
  void end(std::string& out);

  uint64_t packets() const { return packets_; }
  uint64_t lost() const { return lost_; }
  uint64_t seen_twice() const { return seen_twice_; }  // records that added nothing
  uint64_t skipped() const { return skipped_; }        // records of no TCP or UDP socket

 private:
  // The two ends of a connection; which is 0 and which 1 the key says.
  struct Connection {
    uint64_t socket_ids[2] = {0, 0};
    uint32_t first_end = 0;  // whose record came first
    SeqRanges sent[2];       // by the end that sent it
  };
  using Connections = std::unordered_map<std::string, Connection>;

  Connection& find(const SK_BPF_DATA& data, uint32_t* end);
  void add_tcp(std::string& out, const ebpf_record& record, Connection& connection, uint32_t end);
  void add_udp(std::string& out, const ebpf_record& record, Connection& connection, uint32_t end);
  void write_range(std::string& out, const ebpf_record& record, uint64_t offset, uint32_t seq,
                   uint64_t bytes, const SeqRanges& answer);
  void write_packet(std::string& out, const ebpf_record& record, const std::string& headers,
                    uint64_t offset, uint32_t wire_bytes);

  bool both_sides_;
  uint32_t interface_id_ = 0;
  Connections connections_;
  Connections older_;  // what is not used again goes with the next generation
  std::string gap_text_;
  std::string packet_;
  uint64_t records_ = 0;
  uint64_t packets_ = 0;
  uint64_t lost_ = 0;
  uint64_t lost_in_kernel_ = 0;
  uint64_t seen_twice_ = 0;
  uint64_t skipped_ = 0;
  uint64_t first_us_ = 0;
  uint64_t last_us_ = 0;
  bool unknown_loss_ = false;
};

}  // namespace ebpf::ctl
