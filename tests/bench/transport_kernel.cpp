// SPDX-License-Identifier: Apache-2.0
// What the kernel has: a pipe per consumer, a SEQPACKET socket per consumer. A burst is one
// system call per consumer, straight from the source's records; no copy of our own.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "libebpf/detail/unique_fd.h"
#include "transport.h"

namespace ebpf::bench {
namespace {

constexpr uint32_t kBurstMax = 64;
constexpr int kPipeBytes = 1024 * 1024;  // as much as an unprivileged user may ask for
constexpr size_t kReadBytes = 256 * 1024;

struct Ends {
  UniqueFd writing;
  UniqueFd reading;
};

using Burst = std::array<iovec, kBurstMax>;

void gather(Source& source, uint64_t first_seq, uint32_t count, Burst& burst) {
  for (uint32_t i = 0; i < count; ++i) {
    ebpf_record* record = source.next();
    record->seq = first_seq + i;
    burst[i] = {record, source.record_bytes()};
  }
}

// ---- pipe -------------------------------------------------------------------------------

bool write_all(int fd, Burst parts, uint32_t count) {
  uint32_t at = 0;
  while (at < count) {
    const ssize_t written = writev(fd, &parts[at], static_cast<int>(count - at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    auto left = static_cast<size_t>(written);
    while (at < count && left >= parts[at].iov_len) left -= parts[at++].iov_len;
    if (left == 0) continue;
    parts[at].iov_base = static_cast<char*>(parts[at].iov_base) + left;
    parts[at].iov_len -= left;
  }
  return true;
}

bool send_all(int fd, const Burst& parts, uint32_t count) {
  std::array<mmsghdr, kBurstMax> packets{};
  for (uint32_t i = 0; i < count; ++i) {
    packets[i].msg_hdr.msg_iov = const_cast<iovec*>(&parts[i]);
    packets[i].msg_hdr.msg_iovlen = 1;
  }
  for (uint32_t at = 0; at < count;) {
    const int sent = sendmmsg(fd, &packets[at], count - at, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += static_cast<uint32_t>(sent);
  }
  return true;
}

class FdWriter : public Writer {
 public:
  FdWriter(std::vector<UniqueFd> fds, bool packets) : fds_(std::move(fds)), packets_(packets) {}
  bool write(Source& source, uint64_t first_seq, uint32_t count) override {
    if (count > kBurstMax) return false;
    gather(source, first_seq, count, burst_);
    for (const UniqueFd& fd : fds_) {
      const bool sent =
          packets_ ? send_all(fd.get(), burst_, count) : write_all(fd.get(), burst_, count);
      if (!sent) return false;
    }
    return true;
  }
  void finish() override { fds_.clear(); }

 private:
  std::vector<UniqueFd> fds_;
  bool packets_;
  Burst burst_{};
};

class PipeReader : public Reader {
 public:
  explicit PipeReader(UniqueFd fd) : fd_(std::move(fd)), buffer_(kReadBytes / sizeof(uint64_t)) {}

  int read(Checker& checker) override {
    auto* bytes = reinterpret_cast<uint8_t*>(buffer_.data());
    const ssize_t got = ::read(fd_.get(), bytes + held_, kReadBytes - held_);
    if (got < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (got == 0) return -1;
    held_ += static_cast<size_t>(got);
    const size_t size = checker.record_bytes();
    int count = 0;
    size_t at = 0;
    for (; held_ - at >= size; at += size, ++count) {
      checker.record(*reinterpret_cast<const ebpf_record*>(bytes + at));
    }
    held_ -= at;
    std::memmove(bytes, bytes + at, held_);
    return count;
  }

 private:
  UniqueFd fd_;
  std::vector<uint64_t> buffer_;
  size_t held_ = 0;
};

// ---- SEQPACKET --------------------------------------------------------------------------

class PacketReader : public Reader {
 public:
  PacketReader(UniqueFd fd, uint32_t record_bytes)
      : fd_(std::move(fd)), buffer_(size_t{kPackets} * record_bytes / sizeof(uint64_t)) {
    auto* bytes = reinterpret_cast<uint8_t*>(buffer_.data());
    for (uint32_t i = 0; i < kPackets; ++i) {
      parts_[i] = {bytes + size_t{i} * record_bytes, record_bytes};
      packets_[i].msg_hdr.msg_iov = &parts_[i];
      packets_[i].msg_hdr.msg_iovlen = 1;
    }
  }

  int read(Checker& checker) override {
    const int got = recvmmsg(fd_.get(), packets_.data(), kPackets, MSG_WAITFORONE, nullptr);
    if (got < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    for (int i = 0; i < got; ++i) {
      if (packets_[i].msg_len != checker.record_bytes()) return i > 0 ? i : -1;  // the end
      checker.record(*static_cast<const ebpf_record*>(parts_[i].iov_base));
    }
    return got;
  }

 private:
  static constexpr uint32_t kPackets = 64;
  UniqueFd fd_;
  std::vector<uint64_t> buffer_;
  std::array<iovec, kPackets> parts_{};
  std::array<mmsghdr, kPackets> packets_{};
};

// ---- both -------------------------------------------------------------------------------

class FdChannel : public Channel {
 public:
  FdChannel(std::vector<Ends> ends, const ChannelOptions& options, bool packets)
      : ends_(std::move(ends)), options_(options), packets_(packets) {}

  Result<std::unique_ptr<Writer>> open_writer() override {
    std::vector<UniqueFd> fds;
    for (Ends& each : ends_) {
      fds.push_back(std::move(each.writing));
      each.reading.reset();
    }
    return std::unique_ptr<Writer>(new FdWriter(std::move(fds), packets_));
  }

  Result<std::unique_ptr<Reader>> open_reader(uint32_t index) override {
    UniqueFd mine = std::move(ends_[index].reading);
    ends_.clear();  // or nobody would see the writer go
    if (options_.wait == Wait::kSpin && fcntl(mine.get(), F_SETFL, O_NONBLOCK) != 0) {
      return errno_error("cannot set O_NONBLOCK");
    }
    if (packets_) {
      return std::unique_ptr<Reader>(new PacketReader(std::move(mine), options_.record_bytes));
    }
    return std::unique_ptr<Reader>(new PipeReader(std::move(mine)));
  }

 private:
  std::vector<Ends> ends_;
  ChannelOptions options_;
  bool packets_;
};

Result<Ends> make_pipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return errno_error("pipe");
  (void)fcntl(fds[1], F_SETPIPE_SZ, kPipeBytes);
  return Ends{UniqueFd(fds[1]), UniqueFd(fds[0])};
}

Result<Ends> make_socketpair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    return errno_error("socketpair");
  }
  Ends ends{UniqueFd(fds[1]), UniqueFd(fds[0])};
  const int bytes = kPipeBytes;  // cut to net.core.wmem_max by the kernel
  (void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  return ends;
}

Result<std::unique_ptr<Channel>> create(const ChannelOptions& options, Result<Ends> (*make)(),
                                        bool packets) {
  std::vector<Ends> ends;
  for (uint32_t i = 0; i < options.consumers; ++i) {
    auto made = make();
    if (!made) return made.error();
    ends.push_back(std::move(*made));
  }
  return std::unique_ptr<Channel>(new FdChannel(std::move(ends), options, packets));
}

}  // namespace

const Transport kPipe{"pipe", [](const ChannelOptions& o) { return create(o, make_pipe, false); }};
const Transport kSeqpacket{
    "seqpacket", [](const ChannelOptions& o) { return create(o, make_socketpair, true); }};

}  // namespace ebpf::bench
