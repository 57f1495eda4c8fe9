/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the recognition of every protocol is made of: the bytes, the state of a socket, the
 * answer, and tests without branches. Compiled for BPF and natively, so it must include
 * nothing of the kernel or of libc.
 *
 * Why without branches: the 4.14 verifier walks every path, and gives up after 128 Ki
 * instructions in all. A test that is arithmetic is one path; the results of many are
 * combined with & and |, and only the verdict at the end is a jump.
 */
#ifndef LIBEBPF_BPF_INFER_BASE_H
#define LIBEBPF_BPF_INFER_BASE_H

#include "libebpf/sock_data.h"

#define INFER_INLINE static inline __attribute__((always_inline))

#ifdef __bpf__
/* Keeps the compiler from seeing through a value: bounds stay where they are written, and
 * arithmetic does not become a jump. */
#define INFER_FORGET(value) asm volatile("" : "+r"(value))
/* A number that goes through the stack is an unknown one to the 4.14 verifier: the paths
 * that led to it join again, and what follows is visited once. */
#define INFER_JOIN(value)             \
  do {                                \
    volatile uint64_t stack_ = value; \
    asm volatile("" ::: "memory");    \
    value = stack_;                   \
  } while (0)
/* What was loaded before is loaded again behind this: so many values at once do not fit into
 * the registers and 512 bytes of stack. */
#define INFER_RELOAD() asm volatile("" ::: "memory")
#else
#define INFER_RELOAD() (void)0
#define INFER_FORGET(value) (void)(value)
#define INFER_JOIN(value) (void)(value)
#endif

#define INFER_WINDOW_BYTES 256 /* a power of two */
#define INFER_SLACK_BYTES 16   /* readable behind the last place that infer_at() gives */

/* The first bytes. Those behind `count` are zero. */
union infer_window {
  uint8_t bytes[INFER_WINDOW_BYTES + INFER_SLACK_BYTES];
  uint64_t words[(INFER_WINDOW_BYTES + INFER_SLACK_BYTES) / 8];
};

struct infer_input {
  const union infer_window* window;
  uint64_t count; /* bytes of the window that were captured, up to INFER_WINDOW_BYTES */
  uint64_t total; /* bytes that the call moved */
  uint64_t is_tcp;
  uint64_t direction; /* SOCK_DIR_* */
  uint64_t protocols; /* those to look for: bits INFER_BIT_* */
};

/* Bit of a protocol, by its place in ebpf_protocol_index(). */
#define INFER_BIT_HTTP1 (1u << 1)
#define INFER_BIT_HTTP2 (1u << 2)
#define INFER_BIT_DUBBO (1u << 3)
#define INFER_BIT_MYSQL (1u << 4)
#define INFER_BIT_REDIS (1u << 5)
#define INFER_BIT_KAFKA (1u << 6)
#define INFER_BIT_DNS (1u << 7)
#define INFER_ALL_PROTOCOLS 0xfeu

/* What is known of a socket. All zero: nothing. */
struct infer_state {
  uint16_t protocol; /* SOCK_DATA_* */
  uint8_t is_likely; /* not certain yet */
  uint8_t client;    /* the direction of requests: 1 + SOCK_DIR_*; 0: not known */
  uint8_t misses;    /* records in a row that did not look like a protocol that is only likely */
  uint8_t seen;      /* message types: MSG_REQUEST | MSG_RESPONSE */
  uint8_t reserved[2];
  uint64_t pending; /* Kafka: correlation id of the last request */
};
EBPF_STATIC_ASSERT(sizeof(struct infer_state) == 16, "infer_state");

/* The longest header that is read by a call of its own. */
#define INFER_HELD_BYTES_MAX 16

/* A protocol that is only likely is given up after so many records in a row. */
#define INFER_MISSES_MAX 8

/* The answer: protocol, message type and whether it is only likely, in one word. 0: none. */
#define INFER_RESULT(protocol, msg_type, likely) \
  ((uint64_t)(protocol) | (uint64_t)(msg_type) << 16 | (uint64_t)(likely) << 24)
#define INFER_PROTOCOL(result) ((uint16_t)(result))
#define INFER_MSG_TYPE(result) ((uint8_t)((result) >> 16))
#define INFER_IS_LIKELY(result) ((uint8_t)((result) >> 24))

/* `text` of up to 8 bytes as the little-endian word that stands at its place in memory. */
#define INFER_C(text, i) (i < sizeof(text) - 1 ? (uint64_t)(uint8_t)(text)[i] << (8 * (i)) : 0)
#define INFER_WORD(text)                                                                          \
  (INFER_C(text, 0) | INFER_C(text, 1) | INFER_C(text, 2) | INFER_C(text, 3) | INFER_C(text, 4) | \
   INFER_C(text, 5) | INFER_C(text, 6) | INFER_C(text, 7))
#define INFER_MASK(text) (~0ull >> (8 * (8 - (sizeof(text) - 1))))
#define INFER_STARTS(word, text) (((word)&INFER_MASK(text)) == INFER_WORD(text))

/* ---- Tests: 1 or 0. Numbers are below 2^62. ---- */

INFER_INLINE uint64_t infer_eq(uint64_t a, uint64_t b) {
  uint64_t difference = (a ^ b) - 1;
  INFER_FORGET(difference);
  return difference >> 63;
}

INFER_INLINE uint64_t infer_ne(uint64_t a, uint64_t b) { return infer_eq(a, b) ^ 1; }

INFER_INLINE uint64_t infer_le(uint64_t a, uint64_t b) {
  uint64_t difference = b - a;
  INFER_FORGET(difference);
  return (difference >> 63) ^ 1;
}

INFER_INLINE uint64_t infer_in(uint64_t value, uint64_t low, uint64_t high) {
  uint64_t outside = (value - low) | (high - value);
  INFER_FORGET(outside);
  return (outside >> 63) ^ 1;
}

INFER_INLINE uint64_t infer_bit(uint64_t bits, uint64_t at) { return (bits >> (at & 63)) & 1; }

/* `yes` where the test holds, else `no`. */
INFER_INLINE uint64_t infer_pick(uint64_t test, uint64_t yes, uint64_t no) {
  return no ^ ((yes ^ no) & (0 - test));
}

INFER_INLINE uint64_t infer_is_digit(uint64_t c) { return infer_in(c, '0', '9'); }
INFER_INLINE uint64_t infer_is_letter(uint64_t c) { return infer_in(c | 0x20, 'a', 'z'); }
INFER_INLINE uint64_t infer_is_printable(uint64_t c) { return infer_in(c, 0x20, 0x7e); }

/* ---- Bytes ---- */

/* The place `at` of the window; that and the INFER_SLACK_BYTES - 1 bytes behind it may be
 * read. The caller compares `at` with `count`: a place beyond the window wraps around. */
INFER_INLINE const uint8_t* infer_at(const struct infer_input* in, uint64_t at) {
  const uint8_t* window = in->window->bytes;
#ifdef __bpf__
  /* Mask and addition in one piece: a number that is kept on the stack in between has no
   * bounds any more when it comes back, before Linux 5.11. */
  asm volatile("%0 &= %2\n\t%0 += %1" : "+&r"(at) : "r"(window), "i"(INFER_WINDOW_BYTES - 1));
  return (const uint8_t*)at;
#else
  return window + (at & (INFER_WINDOW_BYTES - 1));
#endif
}

INFER_INLINE uint64_t infer_byte(const struct infer_input* in, uint64_t at) {
  return infer_at(in, at)[0];
}

INFER_INLINE uint64_t infer_be16_at(const uint8_t* at) { return (uint64_t)at[0] << 8 | at[1]; }
INFER_INLINE uint64_t infer_be24_at(const uint8_t* at) {
  return (uint64_t)at[0] << 16 | (uint64_t)at[1] << 8 | at[2];
}
INFER_INLINE uint64_t infer_be32_at(const uint8_t* at) {
  return infer_be16_at(at) << 16 | infer_be16_at(at + 2);
}
INFER_INLINE uint64_t infer_le24_at(const uint8_t* at) {
  return at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16;
}

INFER_INLINE uint64_t infer_be16(const struct infer_input* in, uint64_t at) {
  return infer_be16_at(infer_at(in, at));
}

/* ---- State ---- */

INFER_INLINE uint64_t infer_knows(const struct infer_state* state, uint16_t protocol) {
  return infer_eq(state->protocol, protocol);
}

/* The record goes the way of the requests, or of the responses; neither where the way is
 * not known. */
INFER_INLINE uint64_t infer_from_client(const struct infer_input* in,
                                        const struct infer_state* state) {
  return infer_eq(state->client, 1 + in->direction);
}
INFER_INLINE uint64_t infer_from_server(const struct infer_input* in,
                                        const struct infer_state* state) {
  return infer_eq(state->client, 2 - in->direction);
}

#endif
