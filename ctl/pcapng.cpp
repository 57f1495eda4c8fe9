// SPDX-License-Identifier: Apache-2.0
#include "ctl/pcapng.h"

#include <algorithm>
#include <string_view>

namespace ebpf::ctl {
namespace {

constexpr uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr uint32_t kInterfaceDescription = 1;
constexpr uint32_t kInterfaceStatistics = 5;
constexpr uint32_t kEnhancedPacket = 6;
constexpr uint32_t kByteOrderMagic = 0x1a2b3c4d;
constexpr uint16_t kLinkTypeRaw = 101;
constexpr size_t kOptionBytesMax = 65535;

constexpr uint16_t kOptionComment = 1;

template <class T>
void append_number(std::string& out, T value) {
  for (size_t i = 0; i < sizeof value; ++i) {
    out += static_cast<char>(static_cast<uint64_t>(value) >> (8 * i));
  }
}

// One block under construction: its length stands at both of its ends.
class Block {
 public:
  Block(std::string& out, uint32_t type) : out_(out), begin_(out.size()) {
    append_number(out_, type);
    append_number(out_, uint32_t{0});
  }
  ~Block() {
    const auto bytes = static_cast<uint32_t>(out_.size() + sizeof(uint32_t) - begin_);
    std::string length;
    append_number(length, bytes);
    out_.replace(begin_ + sizeof(uint32_t), length.size(), length);
    out_ += length;
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  template <class T>
  void number(T value) {
    append_number(out_, value);
  }
  void bytes(std::string_view bytes) {
    out_ += bytes;
    out_.append((4 - bytes.size() % 4) % 4, '\0');
  }
  void option(uint16_t code, std::string_view value) {
    value = value.substr(0, kOptionBytesMax);
    number(code);
    number(static_cast<uint16_t>(value.size()));
    bytes(value);
  }
  template <class T>
  void number_option(uint16_t code, T value) {
    std::string text;
    append_number(text, value);
    option(code, text);
  }
  void time_option(uint16_t code, uint64_t us) {
    number(code);
    number(uint16_t{8});
    time(us);
  }
  void time(uint64_t us) {
    number(static_cast<uint32_t>(us >> 32));
    number(static_cast<uint32_t>(us));
  }
  void end_of_options() { number(uint32_t{0}); }

 private:
  std::string& out_;
  size_t begin_;
};

}  // namespace

void append_section_block(std::string& out, const std::string& application) {
  Block block(out, kSectionHeader);
  block.number(kByteOrderMagic);
  block.number(uint16_t{1});
  block.number(uint16_t{0});
  block.number(~uint64_t{0});  // the section ends with the file
  block.option(3, "Linux");
  block.option(4, application);
  block.end_of_options();
}

void append_interface_block(std::string& out, const std::string& name,
                            const std::string& description) {
  Block block(out, kInterfaceDescription);
  block.number(kLinkTypeRaw);
  block.number(uint16_t{0});
  block.number(uint32_t{0});  // no limit on lengths
  block.option(2, name);
  block.option(3, description);
  block.number_option(9, uint8_t{6});  // microseconds
  block.end_of_options();
}

void append_packet_block(std::string& out, const PacketBlock& packet) {
  Block block(out, kEnhancedPacket);
  block.number(packet.interface_id);
  block.time(packet.timestamp_us);
  block.number(static_cast<uint32_t>(packet.bytes.size()));
  block.number(std::max(packet.original_bytes, static_cast<uint32_t>(packet.bytes.size())));
  block.bytes({reinterpret_cast<const char*>(packet.bytes.data()), packet.bytes.size()});
  block.number_option(2, static_cast<uint32_t>(packet.direction));
  for (const std::string& comment : packet.comments) block.option(kOptionComment, comment);
  block.end_of_options();
}

void append_statistics_block(std::string& out, const StatisticsBlock& statistics) {
  Block block(out, kInterfaceStatistics);
  block.number(statistics.interface_id);
  block.time(statistics.end_us);
  block.time_option(2, statistics.start_us);
  block.time_option(3, statistics.end_us);
  block.number_option(4, statistics.received);
  block.number_option(5, statistics.dropped);
  block.number_option(7, statistics.dropped_by_os);
  if (!statistics.comment.empty()) block.option(kOptionComment, statistics.comment);
  block.end_of_options();
}

}  // namespace ebpf::ctl
