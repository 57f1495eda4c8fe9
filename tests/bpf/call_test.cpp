// SPDX-License-Identifier: Apache-2.0
// The odd cases of the system calls: bytes that never were in user memory, long vectors,
// partial writes, pointers that lead nowhere, calls that move nothing.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <vector>

#include "tests/bpf/tracing.h"
#include "tests/bpf/traffic.h"

namespace ebpf::test {
namespace {

const std::string kRequest = "GET /hello HTTP/1.1\r\nHost: test\r\n\r\n";
const std::string kResponse = "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n";

class Call : public testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(BothObjects, Call, testing::ValuesIn(quick_variants()),
                         [](const auto& tested) { return tested.param.name; });

int file_of(size_t bytes) {
  const int fd = memfd_create("body", 0);
  require(fd >= 0 && ftruncate(fd, static_cast<off_t>(bytes)) == 0, "file");
  return fd;
}

void read_bytes(int fd, size_t bytes) {
  while (bytes > 0) bytes -= receive(fd, bytes).size();
}

// What `sendfile` and `splice` move has a length and a place in the stream, but no bytes.
TEST_P(Call, SendfileAndSpliceKeepTheStreamWithoutAHole) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    const int body = file_of(5000);
    int pipe_fds[2];
    require(pipe(pipe_fds) == 0, "pipe");
    send_all(pair.client, kResponse);                                         // 0
    require(sendfile(pair.client, body, nullptr, 5000) == 5000, "sendfile");  // 1
    require(write(pipe_fds[1], "0123456789", 10) == 10, "pipe");
    require(splice(pipe_fds[0], nullptr, pair.client, nullptr, 10, 0) == 10, "out");  // 2
    send_all(pair.client, kRequest);                                                  // 3
    require(receive(pair.server, kResponse.size()) == kResponse, "response");         // 4
    require(splice(pair.server, nullptr, pipe_fds[1], nullptr, 4000, 0) > 0, "in");   // 5
    return 0;
  });
  ASSERT_EQ(events.size(), 6u);
  EXPECT_EQ(events[1].data.syscall_len, 5000u);
  EXPECT_EQ(events[2].data.syscall_len, 10u);
  for (const size_t i : {1, 2, 5}) {
    EXPECT_EQ(events[i].data.cap_len, 0u) << i;
    EXPECT_EQ(events[i].data.l7_protocal_hint, SOCK_DATA_HTTP1) << i;
    EXPECT_EQ(events[i].data.msg_type, MSG_UNKNOWN) << i;
  }
  EXPECT_EQ(events[5].data.direction, SOCK_DIR_RCV);
  for (const size_t i : {1, 2, 3, 5}) {
    const SK_BPF_DATA& before = events[i - 1].data;
    EXPECT_EQ(events[i].data.direction, before.direction) << i;
    EXPECT_EQ(events[i].data.cap_seq, before.cap_seq + 1) << i;
    EXPECT_EQ(events[i].data.tcp_seq, (before.tcp_seq + before.syscall_len) & 0xffffffff) << i;
  }
}

TEST_P(Call, GathersVectorsOfAnyNumberUpToTheLimit) {
  TracerOptions options = small_options(GetParam());
  options.cap_bytes = 2000;
  EBPF_OPEN_TRACING(tracing, options);
  constexpr size_t kVectors = 400;
  std::string all = "POST /many HTTP/1.1\r\n\r\n";
  while (all.size() < kVectors * 3) all += std::to_string(all.size()) + ",";
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    // Some are empty, and the last one takes what is left.
    iovec parts[kVectors];
    for (size_t i = 0; i < kVectors; i++) parts[i] = {all.data() + i * 3, 3};
    parts[kVectors - 1].iov_len = all.size() - (kVectors - 1) * 3;
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = kVectors;
    const auto size = static_cast<ssize_t>(all.size());
    require(writev(pair.client, parts, kVectors) == size, "writev");
    require(sendmsg(pair.client, &message, 0) == size, "sendmsg");
    std::string room(all.size(), '\0');
    iovec rooms[kVectors];
    for (size_t i = 0; i < kVectors; i++) rooms[i] = {room.data() + i * 3, 3};
    rooms[kVectors - 1].iov_len = room.size() - (kVectors - 1) * 3;
    require(readv(pair.server, rooms, kVectors) == size, "readv");
    return 0;
  });
  ASSERT_EQ(events.size(), 3u);
  for (const Event& event : events) EXPECT_EQ(event.payload, all);
}

// As many as a system call takes; the record tells how far it came.
TEST_P(Call, BoundsTheNumberOfVectors) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    send_all(pair.client, kRequest);
    char byte = 'x';
    std::vector<iovec> parts(1024, iovec{&byte, 0});
    parts.back().iov_len = 1;
    require(writev(pair.client, parts.data(), 1024) == 1, "writev");
    for (iovec& part : parts) part.iov_len = 1;
    require(writev(pair.client, parts.data(), 1024) == 1024, "writev");
    require(syscall(SYS_writev, pair.client, parts.data(), 1025) < 0, "EINVAL");
    return 0;
  });
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[1].data.syscall_len, 1u);
  EXPECT_EQ(events[1].data.cap_len, 0u);  // behind the vectors that are looked at
  EXPECT_EQ(events[2].data.syscall_len, 1024u);
  EXPECT_GE(events[2].data.cap_len, 400u);
  EXPECT_EQ(events[2].payload, std::string(events[2].data.cap_len, 'x'));
  EXPECT_EQ(events[2].data.tcp_seq, events[1].data.tcp_seq + 1);
}

TEST_P(Call, VectorsOfSeveralMessagesShareTheRoom) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  constexpr size_t kMessages = 8;
  const std::string query = dns_query("a-long-name-in-many-pieces.example.org");
  const auto events = tracing->trace([&] {
    Pair pair = connect_udp(Family::kInet);
    std::vector<iovec> parts;
    for (size_t i = 0; i < query.size(); i++) {
      parts.push_back({const_cast<char*>(query.data()) + i, 1});
    }
    mmsghdr messages[kMessages] = {};
    for (mmsghdr& message : messages) {
      message.msg_hdr.msg_iov = parts.data();
      message.msg_hdr.msg_iovlen = parts.size();
    }
    require(sendmmsg(pair.client, messages, kMessages, 0) == kMessages, "sendmmsg");
    return 0;
  });
  // The first one takes the passes that are free; every one is there, with 16 bytes at least.
  ASSERT_GE(events.size(), 1u);
  EXPECT_EQ(events[0].payload, query);
  for (const Event& event : events) {
    EXPECT_EQ(event.data.syscall_len, query.size());
    EXPECT_EQ(event.payload, query.substr(0, event.data.cap_len));
    EXPECT_GE(event.data.cap_len, 16u);
  }
}

TEST_P(Call, RecordsWhatAPartialWriteReallyMoved) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  struct Truth {
    uint64_t moved;
    uint64_t calls;  // that moved one byte each: acknowledgements make room meanwhile
  };
  auto& truth = shared<Truth>();
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    fcntl(pair.client, F_SETFL, O_NONBLOCK);
    send_all(pair.client, kRequest);
    std::string big(16 << 20, 'x');
    const ssize_t sent = write(pair.client, big.data(), big.size());
    require(sent > 0 && static_cast<size_t>(sent) < big.size(), "partial");
    for (int refused = 0; refused < 20;) {
      if (write(pair.client, "y", 1) == 1) {
        truth.calls++;
      } else {
        refused++;
      }
    }
    truth.moved = static_cast<uint64_t>(sent);
    read_bytes(pair.server, kRequest.size() + truth.moved + truth.calls);
    send_all(pair.client, "tail");
    return 0;
  });
  const auto sent = of_direction(events, SOCK_DIR_SND);
  ASSERT_EQ(sent.size(), 3u + truth.calls);
  EXPECT_EQ(sent[1].data.syscall_len, truth.moved);
  EXPECT_EQ(sent[1].payload, std::string(512, 'x'));
  const SK_BPF_DATA& tail = sent.back().data;
  EXPECT_EQ(tail.cap_seq, 2u + truth.calls) << "what did not move anything is not counted";
  EXPECT_EQ(tail.tcp_seq, (sent[1].data.tcp_seq + truth.moved + truth.calls) & 0xffffffff);
}

TEST_P(Call, MakesNoRecordOfWhatMovedNothing) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const std::string query = dns_query("example.org");
  const auto events = tracing->trace([&] {
    Pair udp = connect_udp(Family::kInet);
    Pair tcp = connect_tcp(Family::kInet);
    char room[64];
    send_all(udp.client, query);  // 0
    receive(udp.server);          // 1
    require(send(udp.client, "", 0, 0) == 0, "empty datagram");
    require(recv(udp.server, room, sizeof(room), 0) == 0, "empty datagram");
    require(recv(udp.server, room, sizeof(room), MSG_DONTWAIT) < 0, "EAGAIN");
    iovec iov = {room, sizeof(room)};
    mmsghdr messages[2] = {};
    for (mmsghdr& message : messages) {
      message.msg_hdr.msg_iov = &iov;
      message.msg_hdr.msg_iovlen = 1;
    }
    send(udp.client, "", 0, 0);
    send_all(udp.client, query);                                              // 2
    require(recvmmsg(udp.server, messages, 2, 0, nullptr) == 2, "recvmmsg");  // 3
    require(write(tcp.client, room, 0) == 0, "write");
    require(syscall(SYS_write, tcp.client, nullptr, 8) < 0, "EFAULT");
    require(recv(tcp.server, room, 0, MSG_DONTWAIT) <= 0, "recv");
    return 0;
  });
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[2].data.cap_seq, 1u);
  EXPECT_EQ(events[3].data.cap_seq, 1u);
  EXPECT_EQ(events[3].data.syscall_len, query.size());
}

// A datagram that was longer than the room: its length with MSG_TRUNC, the bytes that came
// without; never a byte that the call did not write.
TEST_P(Call, ShowsOnlyTheBytesOfACutDatagram) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const std::string query = dns_query("a.name.that.is.longer.than.the.room.example.org");
  const auto events = tracing->trace([&] {
    Pair pair = connect_udp(Family::kInet);
    char room[256] = {};
    for (int i = 0; i < 3; i++) send_all(pair.client, query);
    const auto size = static_cast<ssize_t>(query.size());
    require(recv(pair.server, room, sizeof(room), 0) == size, "recv");
    require(recv(pair.server, room, 20, MSG_TRUNC) == size, "recv");
    require(recv(pair.server, room, 20, 0) == 20, "recv");
    return 0;
  });
  ASSERT_EQ(events.size(), 6u);
  EXPECT_EQ(events[4].data.syscall_len, query.size());
  EXPECT_EQ(events[4].payload, query.substr(0, 20));
  EXPECT_EQ(events[5].data.syscall_len, 20u);
  EXPECT_EQ(events[5].payload, query.substr(0, 20));
}

// Half of the memory that a call was given cannot be read any more when it ends.
TEST_P(Call, KeepsWhatCouldBeRead) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    send_all(pair.client, kRequest);
    constexpr size_t kBig = 8 << 20;
    auto* first = static_cast<char*>(shared_memory(kBig));
    std::memset(first, 'x', kBig);
    iovec parts[2] = {{first, 100}, {first + 4096, kBig - 4096}};
    std::thread changer([&] {
      size_t got = 0;
      while (got <= kRequest.size() + 100) got += receive(pair.server, 64).size();
      parts[1].iov_base = nullptr;
      read_bytes(pair.server, kBig - 4096 + 100 + kRequest.size() - got);
    });
    require(syscall(SYS_writev, pair.client, parts, 2) > 0, "writev");
    changer.join();
    return 0;
  });
  const auto sent = of_direction(events, SOCK_DIR_SND);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[1].payload, std::string(100, 'x'));
  EXPECT_EQ(sent[1].data.syscall_len, (8u << 20) - 4096 + 100);
  EXPECT_GE(tracing->tracer().counters()[COUNTER_BAD_POINTER], 1u);
}

// A connection, and a call that waits on it, are older than the tracer.
TEST_P(Call, IsSeenOnAConnectionOlderThanTheTracer) {
  Pair pair = connect_tcp(Family::kInet);
  send_all(pair.client, "something before");
  int done[2];
  require(pipe(done) == 0, "pipe");
  const TracerOptions options = small_options(GetParam());
  const pid_t reader = fork();
  if (reader == 0) {
    for (int i = 0; i < 3; i++) {
      receive(pair.server);  // the second one waits while the tracer comes
      require(write(done[1], "r", 1) == 1, "done");
    }
    _exit(0);
  }
  const auto wait_for_reader = [&] {
    char byte;
    require(read(done[0], &byte, 1) == 1, "done");
  };
  wait_for_reader();
  EBPF_OPEN_TRACING(tracing, options);
  const uint32_t seq = next_send_seq(pair.client);
  tracing->run([&] {
    for (int i = 0; i < 2; i++) {
      send_all(pair.client, kRequest);
      wait_for_reader();
    }
    return 0;
  });
  require(waitpid(reader, nullptr, 0) == reader, "reader");
  const auto events = tracing->take(reader);
  pair.close();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].data.tcp_seq, seq);
  EXPECT_EQ(events[1].data.tcp_seq, (seq + kRequest.size()) & 0xffffffff);
}

}  // namespace
}  // namespace ebpf::test
