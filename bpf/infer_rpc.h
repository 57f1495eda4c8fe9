/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Dubbo 2 and Kafka. */
#ifndef LIBEBPF_BPF_INFER_RPC_H
#define LIBEBPF_BPF_INFER_RPC_H

#include "bpf/infer_base.h"

/* ---- Dubbo ----
 *
 * 16 bytes: magic da bb; request, two-way and event bits above the serialization id; status;
 * request id (8 bytes); length of the body. Big-endian.
 */
#define INFER_DUBBO_HEADER_BYTES 16
#define INFER_DUBBO_BODY_MAX (64u << 20)
/* Statuses that there are: 20, 30, 31, 40, 50 in one word, 60, 70, 80, 90, 100 in another. */
#define INFER_DUBBO_STATUSES (1ull << 20 | 1ull << 30 | 1ull << 31 | 1ull << 40 | 1ull << 50)
#define INFER_DUBBO_STATUSES_60 (1ull | 1ull << 10 | 1ull << 20 | 1ull << 30 | 1ull << 40)

INFER_INLINE uint64_t infer_dubbo(const struct infer_input* in) {
  const uint8_t* bytes = in->window->bytes;
  if (bytes[0] != 0xda || bytes[1] != 0xbb) return 0;
  uint64_t flags = bytes[2];
  uint64_t status = bytes[3];
  uint64_t length = infer_be32_at(bytes + 12);
  uint64_t is_request = flags >> 7;
  uint64_t answers = (infer_bit(INFER_DUBBO_STATUSES, status) & infer_le(status, 50)) |
                     (infer_bit(INFER_DUBBO_STATUSES_60, status - 60) & infer_in(status, 60, 100));
  uint64_t ok = infer_le(INFER_DUBBO_HEADER_BYTES, in->count);
  ok &= infer_ne(flags & 0x1f, 0);
  ok &= infer_pick(is_request, infer_eq(status, 0), answers);
  ok &= infer_in(length, 1, INFER_DUBBO_BODY_MAX);
  /* What follows the message, if that ends here, is the next one. */
  uint64_t next = INFER_DUBBO_HEADER_BYTES + length;
  ok &= infer_le(in->count, next + 1) | infer_eq(infer_be16(in, next), 0xdabb);
  if (!ok) return 0;
  return INFER_RESULT(SOCK_DATA_DUBBO, infer_pick(is_request, MSG_REQUEST, MSG_RESPONSE), 0);
}

/* ---- Kafka ----
 *
 * Requests: length (4 bytes), API key (2), API version (2), correlation id (4), client id (a
 * string behind its length (2), -1: null). Responses: length, correlation id. Big-endian.
 */
#define INFER_KAFKA_KEY_MAX 92
#define INFER_KAFKA_VERSION_MAX 18
#define INFER_KAFKA_LENGTH_MAX (100u << 20)
#define INFER_KAFKA_CLIENT_MAX 255
/* Ids count up from 0. These last ones are kept for the log-in of the Java client. Between
 * lies, among others, what text looks like. */
#define INFER_KAFKA_ID_MAX 0x1fffffffull
#define INFER_KAFKA_LOGIN_ID_MIN 0x7ffffff8ull
#define INFER_KAFKA_LOGIN_ID_MAX 0x7fffffffull
/* How far the id of a response may be from that of the last request that was seen. */
#define INFER_KAFKA_PENDING_MAX 1024

INFER_INLINE uint64_t infer_kafka_id(const struct infer_input* in, uint64_t at) {
  return infer_be32_at(in->window->bytes + at);
}

INFER_INLINE uint64_t infer_kafka(const struct infer_input* in, const struct infer_state* state) {
  const uint8_t* bytes = in->window->bytes;
  uint64_t length = infer_be32_at(bytes);
  uint64_t end = length + 4;
  uint64_t known = infer_knows(state, SOCK_DATA_KAFKA);
  uint64_t certain = known & (state->is_likely ^ 1);
  uint64_t fits = infer_eq(end, in->total);
  uint64_t may_fit = infer_le(in->total, end) & infer_le(length, INFER_KAFKA_LENGTH_MAX);
  may_fit |= known & infer_le(end, in->total); /* several in one call */

  /* A request. */
  uint64_t version = infer_be16_at(bytes + 6);
  uint64_t id = infer_kafka_id(in, 8);
  uint64_t client_bytes = infer_be16_at(bytes + 12);
  uint64_t is_null = infer_eq(client_bytes, 0xffff);
  uint64_t request = may_fit & infer_le(14, in->count) & infer_le(10, length);
  request &= infer_le(infer_be16_at(bytes + 4), INFER_KAFKA_KEY_MAX);
  request &= infer_le(version, INFER_KAFKA_VERSION_MAX);
  request &= infer_le(id, INFER_KAFKA_ID_MAX) |
             infer_in(id, INFER_KAFKA_LOGIN_ID_MIN, INFER_KAFKA_LOGIN_ID_MAX);
  uint64_t named =
      infer_in(client_bytes, 1, INFER_KAFKA_CLIENT_MAX) & infer_le(client_bytes + 10, length);
  /* The first eight letters of the client id, and its last one, are text. */
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++)
    named &= infer_is_printable(bytes[14 + i]) | infer_le(client_bytes, i);
  uint64_t last = 13 + (client_bytes & 0xff);
  named &= infer_is_printable(infer_byte(in, last)) | infer_le(in->count, last);
  /* Without a name, a request that was not awaited must end where the call does. */
  uint64_t nameless = (is_null & (fits | known)) | (infer_eq(client_bytes, 0) & certain);
  request &= named | nameless;
  request &= (infer_from_server(in, state) & known) ^ 1;

  /* A response: to one of the last requests. Only an exact one proves the protocol. */
  uint64_t answered = infer_kafka_id(in, 4);
  uint64_t response =
      known & infer_from_server(in, state) & infer_le(8, in->count) & infer_le(4, length) & may_fit;
  uint64_t is_near = infer_in(answered + INFER_KAFKA_PENDING_MAX, state->pending,
                              state->pending + 2 * INFER_KAFKA_PENDING_MAX);
  response &= (certain & is_near) | (infer_eq(state->pending, answered) & infer_le(in->total, end));
  INFER_JOIN(request);
  INFER_JOIN(response);
  if (response) return INFER_RESULT(SOCK_DATA_KAFKA, MSG_RESPONSE, 0);
  return request ? INFER_RESULT(SOCK_DATA_KAFKA, MSG_REQUEST, certain ^ 1) : 0;
}

#endif
