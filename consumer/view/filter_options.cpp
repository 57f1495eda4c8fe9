// SPDX-License-Identifier: Apache-2.0
#include "consumer/view/filter_options.h"

#include <charconv>

#include "libebpf/detail/escape.h"

namespace ebpf {
namespace {

// A word of --proto and its like, and the filter's bit for it.
struct Word {
  const char* text;
  uint32_t bit;
};
constexpr Word kProtocols[] = {{"http", EBPF_FILTER_HTTP1},  {"http2", EBPF_FILTER_HTTP2},
                               {"dubbo", EBPF_FILTER_DUBBO}, {"mysql", EBPF_FILTER_MYSQL},
                               {"redis", EBPF_FILTER_REDIS}, {"kafka", EBPF_FILTER_KAFKA},
                               {"dns", EBPF_FILTER_DNS},     {"unknown", EBPF_FILTER_UNKNOWN}};
constexpr Word kDirections[] = {{"snd", EBPF_FILTER_SND}, {"rcv", EBPF_FILTER_RCV}};
constexpr Word kMsgTypes[] = {{"request", EBPF_FILTER_REQUEST},
                              {"response", EBPF_FILTER_RESPONSE},
                              {"none", EBPF_FILTER_NO_TYPE}};

template <size_t N>
uint32_t to_mask(const std::vector<std::string>& texts, const Word (&words)[N]) {
  uint32_t mask = 0;
  for (const std::string& text : texts) {
    for (const Word& word : words) {
      if (text == word.text) mask |= word.bit;
    }
  }
  return mask;
}

// What was given, as a message may show it.
std::string shown(const std::string& text) {
  constexpr size_t kShownBytes = 40;
  return "'" + escape(std::string_view(text).substr(0, kShownBytes)) +
         (text.size() > kShownBytes ? "..." : "") + "'";
}

template <size_t N>
CLI::Validator one_of(const Word (&words)[N]) {
  return {[&words](std::string& text) -> std::string {
            std::string all;
            for (const Word& word : words) {
              if (text == word.text) return "";
              all += (all.empty() ? "" : ", ") + std::string(word.text);
            }
            return shown(text) + " is none of " + all;
          },
          "WORDS", "words"};
}

}  // namespace

CLI::Validator plain_number(uint64_t least, uint64_t most) {
  return {[least, most](std::string& text) -> std::string {
            uint64_t number = 0;
            const char* end = text.data() + text.size();
            const auto read = std::from_chars(text.data(), end, number);
            const bool whole = !text.empty() && read.ec == std::errc() && read.ptr == end;
            if (whole && number >= least && number <= most) return "";
            return shown(text) + " is no whole number from " + std::to_string(least) + " to " +
                   std::to_string(most);
          },
          "NUMBERS", "numbers"};
}

void FilterOptions::declare(CLI::App& app) {
  app.add_option("--proto", protocols_, "Only these protocols, as http,redis")
      ->delimiter(',')
      ->check(one_of(kProtocols));
  app.add_option("--pid", process_ids_, "Only these processes, as 17,4711")
      ->delimiter(',')
      ->check(plain_number(0, UINT32_MAX));
  app.add_option("--port", ports_, "Only these ports, remote or local, as 80,443")
      ->delimiter(',')
      ->check(plain_number(0, UINT16_MAX));
  app.add_option("--direction", directions_, "Only what was sent (snd) or received (rcv)")
      ->delimiter(',')
      ->check(one_of(kDirections));
  app.add_option("--msg-type", msg_types_, "Only requests, responses, or what is neither (none)")
      ->delimiter(',')
      ->check(one_of(kMsgTypes));
}

ebpf_filter FilterOptions::filter() const {
  ebpf_filter filter = EBPF_FILTER_INIT;
  filter.protocols = to_mask(protocols_, kProtocols);
  filter.directions = to_mask(directions_, kDirections);
  filter.msg_types = to_mask(msg_types_, kMsgTypes);
  filter.process_ids = process_ids_.data();
  filter.process_count = static_cast<uint32_t>(process_ids_.size());
  filter.ports = ports_.data();
  filter.port_count = static_cast<uint32_t>(ports_.size());
  return filter;
}

}  // namespace ebpf
