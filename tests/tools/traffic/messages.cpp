// SPDX-License-Identifier: Apache-2.0
#include "messages.h"

#include <algorithm>
#include <cstdlib>

namespace traffic {

namespace {

constexpr size_t kDnsHeaderBytes = 12;

void append_u16(std::string* to, unsigned value) {
  to->push_back(static_cast<char>(value >> 8));
  to->push_back(static_cast<char>(value & 0xff));
}

}  // namespace

std::string http_request(const std::string& path, bool keep_alive) {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ebpf-traffic\r\n" +
         (keep_alive ? "" : "Connection: close\r\n") + "\r\n";
}

std::string http_response(std::string_view body) {
  return "HTTP/1.1 200 OK\r\nServer: ebpf-traffic\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

std::string http_body(size_t size) {
  std::string body(size, '\0');
  for (size_t i = 0; i < size; i++) body[i] = static_cast<char>(i & 0xff);
  return body;
}

size_t http_message_size(std::string_view bytes) {
  const size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return 0;
  size_t size = end + 4;
  constexpr std::string_view kLength = "\r\nContent-Length: ";
  const size_t at = bytes.substr(0, end + 2).find(kLength);
  if (at != std::string_view::npos) {
    size += std::strtoul(std::string(bytes.substr(at + kLength.size(), 10)).c_str(), nullptr, 10);
  }
  return size <= bytes.size() ? size : 0;
}

std::string http_path(std::string_view request) {
  if (request.substr(0, 4) != "GET ") return "";
  const size_t end = request.find(' ', 4);
  return end == std::string_view::npos ? "" : std::string(request.substr(4, end - 4));
}

std::string dns_query(uint16_t id, const std::string& name) {
  std::string query;
  append_u16(&query, id);
  append_u16(&query, 0x0100);  // recursion desired
  append_u16(&query, 1);       // questions
  query.append(6, '\0');
  for (size_t at = 0; at < name.size();) {
    const size_t dot = std::min(name.find('.', at), name.size());
    query.push_back(static_cast<char>(dot - at));
    query.append(name, at, dot - at);
    at = dot + 1;
  }
  query.push_back('\0');
  append_u16(&query, 1);  // type A
  append_u16(&query, 1);  // class IN
  return query;
}

std::string dns_answer(std::string_view query) {
  if (query.size() <= kDnsHeaderBytes || (query[2] & 0x80) != 0) return "";
  std::string answer(query);
  answer[2] = static_cast<char>(0x81);  // a response
  answer[3] = static_cast<char>(0x80);
  answer[7] = 1;                // answers
  append_u16(&answer, 0xc00c);  // the name of the question
  append_u16(&answer, 1);
  append_u16(&answer, 1);
  append_u16(&answer, 0);
  append_u16(&answer, 60);  // seconds
  append_u16(&answer, 4);
  answer.append("\xc0\x00\x02\x01", 4);
  return answer;
}

bool dns_answers(std::string_view query, std::string_view answer) {
  return answer == dns_answer(query);
}

}  // namespace traffic
