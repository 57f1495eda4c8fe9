// SPDX-License-Identifier: Apache-2.0
// What the traffic program says: HTTP/1.1 and DNS messages, as small as they can be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace traffic {

std::string http_request(const std::string& path, bool keep_alive);
std::string http_response(std::string_view body);
// A body of so many bytes in which every byte value stands: 0, 1, 2 … 255, 0 …
std::string http_body(size_t size);
// Length of the whole message that starts `bytes`; 0: more is needed.
size_t http_message_size(std::string_view bytes);
// The path of a request; "" when it is none.
std::string http_path(std::string_view request);

std::string dns_query(uint16_t id, const std::string& name);
// Answers the one question with 192.0.2.1; "" when `query` is none.
std::string dns_answer(std::string_view query);
// Whether `answer` is a good answer to `query`.
bool dns_answers(std::string_view query, std::string_view answer);

}  // namespace traffic
