// SPDX-License-Identifier: Apache-2.0
// A layout version one older and one newer is refused by both sides, in a line that names
// both versions.
#include "tests/fault/fault_support.h"

namespace ebpf::fault {
namespace {

constexpr uint32_t kOurs = EBPF_RING_LAYOUT_VERSION;

bool names_both(const std::string& line, uint32_t theirs) {
  return line.find("version") != std::string::npos &&
         line.find(std::to_string(theirs)) != std::string::npos &&
         line.find(std::to_string(kOurs)) != std::string::npos &&
         line.find('\n') == std::string::npos;
}

TEST(LayoutVersion, TheProducerRefusesAnother) {
  Stage stage;
  for (const uint32_t version : {kOurs - 1, kOurs + 1}) {
    RawJoin join;
    ebpf_msg_error refusal{};
    EXPECT_FALSE(join_raw(stage.path, join, version, &refusal));
    EXPECT_EQ(refusal.error, EPROTO);
    EXPECT_TRUE(names_both(refusal.text, version)) << refusal.text;
  }
  EXPECT_EQ(stage.board->attached, 0u);
  const Process witness = stage.witness(0);
  stage.publish(100);
  stage.wait_all_told(0);
}

TEST(LayoutVersion, TheConsumerRefusesAnother) {
  TestRing ring;
  std::vector<uint8_t> copy(ring.bytes());
  std::memcpy(copy.data(), ring.base(), copy.size());
  EXPECT_TRUE(RingView::create(copy.data(), copy.size()).has_value());
  for (const uint32_t version : {kOurs - 1, kOurs + 1}) {
    reinterpret_cast<ebpf_ring_header*>(copy.data())->layout_version = version;
    auto view = RingView::create(copy.data(), copy.size());
    ASSERT_FALSE(view.has_value());
    EXPECT_EQ(view.error().code, EPROTO);
    EXPECT_TRUE(names_both(view.error().message, version)) << view.error().message;
  }
}

}  // namespace
}  // namespace ebpf::fault
