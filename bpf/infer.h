/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Which protocol the first bytes of a read or write speak, and whether they are a request or a
 * response. Compiled for BPF and natively (tests, fuzzing, benchmarks), so it must include
 * nothing of the kernel or of libc, and every loop is unrolled: the 4.14 verifier refuses back
 * edges.
 *
 * A protocol is one function and one line in infer_first() or infer_second().
 */
#ifndef LIBEBPF_BPF_INFER_H
#define LIBEBPF_BPF_INFER_H

#include "bpf/infer_base.h"
#include "bpf/infer_db.h"
#include "bpf/infer_dns.h"
#include "bpf/infer_http.h"
#include "bpf/infer_rpc.h"

/* Whether to look for a protocol: on an unknown socket for each, else for its own one, and
 * for others as long as that one is only likely. */
INFER_INLINE uint64_t infer_wants(const struct infer_input* in, const struct infer_state* state,
                                  uint64_t found, uint16_t protocol, uint64_t bit) {
  uint64_t open = infer_eq(state->protocol, 0) | infer_ne(state->is_likely, 0);
  return (open | infer_knows(state, protocol)) & infer_eq(found & 0xffffffff, 0) &
         infer_ne(in->protocols & bit, 0);
}

/* Another protocol takes a socket over only if it is certain. */
INFER_INLINE uint64_t infer_admit(const struct infer_state* state, uint64_t result) {
  uint64_t foreign = infer_ne(state->protocol, 0) &
                     infer_ne(state->protocol, INFER_PROTOCOL(result)) &
                     infer_ne(INFER_IS_LIKELY(result), 0);
  return result & (foreign - 1);
}

#define INFER_TRY(name, call)                                                              \
  do {                                                                                     \
    if (infer_wants(in, state, result, SOCK_DATA_##name, INFER_BIT_##name)) result = call; \
    INFER_JOIN(result);                                                                    \
    result = infer_admit(state, result);                                                   \
  } while (0)

/*
 * What a record is. The answer 0 means: none of the protocols, or, on a socket that is known,
 * that it cannot be told, e.g. the middle of a body. In two steps, because one BPF program of
 * Linux 4.14 does not hold all of it; the second one is for TCP only.
 */
INFER_INLINE uint64_t infer_first(const struct infer_input* in, const struct infer_state* state) {
  uint64_t result = 0;
  if (in->is_tcp) {
    result = infer_http2_preface(in, state);
    INFER_JOIN(result);
    INFER_TRY(HTTP1, infer_http1(in));
    INFER_TRY(DUBBO, infer_dubbo(in));
    INFER_TRY(MYSQL, infer_mysql(in, state));
    INFER_TRY(KAFKA, infer_kafka(in, state));
  }
  INFER_TRY(DNS, infer_dns(in, infer_knows(state, SOCK_DATA_DNS)));
  return result;
}

/* A certain socket keeps its protocol: nothing else is to be looked for, but the preface by which
 * HTTP/2 takes over HTTP/1. */
INFER_INLINE uint64_t infer_is_settled(const struct infer_state* state) {
  return state->protocol && !state->is_likely;
}

#define INFER_OWN(name, call) \
  if (state->protocol == SOCK_DATA_##name) return in->protocols & INFER_BIT_##name ? (call) : 0

/* What infer_first() says of a settled socket, with less to do. */
INFER_INLINE uint64_t infer_settled(const struct infer_input* in, const struct infer_state* state) {
  if (in->is_tcp) {
    uint64_t preface = infer_http2_preface(in, state);
    if (preface) return preface;
    INFER_OWN(HTTP1, infer_http1(in));
    INFER_OWN(DUBBO, infer_dubbo(in));
    INFER_OWN(MYSQL, infer_mysql(in, state));
    INFER_OWN(KAFKA, infer_kafka(in, state));
  }
  INFER_OWN(DNS, infer_dns(in, 1));
  return 0;
}

INFER_INLINE uint64_t infer_needs_second(const struct infer_input* in,
                                         const struct infer_state* state, uint64_t result) {
  return in->is_tcp & (infer_wants(in, state, result, SOCK_DATA_HTTP2, INFER_BIT_HTTP2) |
                       infer_wants(in, state, result, SOCK_DATA_REDIS, INFER_BIT_REDIS));
}

INFER_INLINE uint64_t infer_second(const struct infer_input* in, const struct infer_state* state) {
  uint64_t result = 0;
  INFER_TRY(HTTP2, infer_http2(in, state));
  INFER_TRY(REDIS, infer_redis(in, state));
  return result;
}

/* What the record taught of its socket. */
INFER_INLINE void infer_learn(const struct infer_input* in, struct infer_state* state,
                              uint64_t result) {
  uint64_t type = INFER_MSG_TYPE(result);
  if (!result) {
    if (!state->is_likely) return;
    if (++state->misses < INFER_MISSES_MAX) return;
    __builtin_memset(state, 0, sizeof(*state));
    return;
  }
  if (state->protocol != INFER_PROTOCOL(result)) state->seen = 0;
  state->protocol = INFER_PROTOCOL(result);
  state->is_likely = INFER_IS_LIKELY(result);
  state->misses = 0;
  state->seen |= type;
  if (type == MSG_REQUEST) state->client = 1 + in->direction;
  if (type == MSG_RESPONSE) state->client = 2 - in->direction;
  if (state->protocol == SOCK_DATA_KAFKA && type == MSG_REQUEST)
    state->pending = infer_kafka_id(in, 8);
}

/*
 * Whether a record is just the start of a message, which some programs read with a call of
 * its own: the length (DNS, MySQL, Kafka), or the header (MySQL compressed, HTTP/2, Dubbo). It
 * is to wait for the next call then. `state`: before this record taught anything; `result`:
 * what was inferred of it. On an unknown socket what says something by itself does not wait,
 * but for a header of Dubbo.
 */
INFER_INLINE uint64_t infer_holds(const struct infer_input* in, const struct infer_state* state,
                                  uint64_t result) {
  const uint8_t* bytes = in->window->bytes;
  uint64_t total = in->total;
  uint64_t protocol = state->protocol;
  if (!in->is_tcp || in->direction != SOCK_DIR_RCV) return 0;
  if (total > INFER_HELD_BYTES_MAX || in->count != total) return 0;
  uint64_t open = infer_eq(protocol, 0);
  uint64_t be32 = infer_be32_at(bytes);
  uint64_t holds = infer_eq(total, 2) & (open | infer_eq(protocol, SOCK_DATA_DNS)) &
                   infer_le(INFER_DNS_HEADER_BYTES, be32 >> 16);
  holds |= infer_eq(total, 4) & (open | infer_eq(protocol, SOCK_DATA_KAFKA)) &
           infer_in(be32, 4, INFER_KAFKA_LENGTH_MAX);
  uint64_t mysql = (open | infer_eq(protocol, SOCK_DATA_MYSQL)) & infer_ne(infer_le24_at(bytes), 0);
  holds |= (infer_eq(total, 4) | infer_eq(total, 7)) & mysql;
  holds |= infer_eq(total, 9) & (open | infer_eq(protocol, SOCK_DATA_HTTP2)) &
           infer_in(be32 >> 8, 1, 16384) & infer_le(bytes[3], 9);
  holds |= infer_eq(total, 16) & (open | infer_eq(protocol, SOCK_DATA_DUBBO)) &
           infer_eq(be32 >> 16, 0xdabb) & infer_ne(infer_be32_at(bytes + 12), 0);
  return holds & ((open ^ 1) | infer_eq(result & 0xffffffff, 0) |
                  infer_eq(INFER_PROTOCOL(result), SOCK_DATA_DUBBO));
}

/* All of it. */
INFER_INLINE uint64_t infer(const struct infer_input* in, struct infer_state* state) {
  uint64_t result = infer_is_settled(state) ? infer_settled(in, state) : infer_first(in, state);
  if (infer_needs_second(in, state, result)) result = infer_second(in, state);
  infer_learn(in, state, result);
  return result;
}

#endif
