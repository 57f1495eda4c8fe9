/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Which protocol the first bytes of a read or write speak. Compiled for BPF and natively
 * (tests, fuzzing, benchmarks), so it must include nothing of the kernel or of libc, and
 * every loop is unrolled: the 4.14 verifier refuses back edges.
 *
 * A protocol is one function and one line in infer().
 */
#ifndef LIBEBPF_BPF_INFER_H
#define LIBEBPF_BPF_INFER_H

#include "libebpf/sock_data.h"

#define INFER_INLINE static inline __attribute__((always_inline))

#ifdef __bpf__
/* Keeps the compiler from seeing through a value: bounds stay where they are written. */
#define INFER_FORGET(value) asm volatile("" : "+r"(value))
/* A number that goes through the stack is an unknown one to the 4.14 verifier: the paths
 * that led to it join again, and what follows is visited once. */
#define INFER_JOIN(value)             \
  do {                                \
    volatile uint64_t stack_ = value; \
    value = stack_;                   \
  } while (0)
#else
#define INFER_FORGET(value) (void)(value)
#define INFER_JOIN(value) (void)(value)
#endif

#define INFER_WINDOW_BYTES 64

/* The first bytes. Those behind `count` are zero. */
union infer_window {
  uint8_t bytes[INFER_WINDOW_BYTES];
  uint64_t words[INFER_WINDOW_BYTES / 8];
};

struct infer_input {
  const union infer_window* window;
  uint64_t count; /* bytes of the window that were captured, up to INFER_WINDOW_BYTES */
  uint64_t total; /* bytes that the call moved */
  uint64_t is_tcp;
};

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

/* ---- HTTP/1 ---- */

INFER_INLINE int infer_is_digit(uint8_t c) { return (uint8_t)(c - '0') <= 9; }

/* What may follow the method: a path, `*` (OPTIONS), an absolute URI ("http..."), or the
 * host of a CONNECT. Inline commands of other text protocols do not look like this. */
INFER_INLINE int infer_is_target(uint8_t c, int is_connect) {
  if (c == '/' || c == 'h' || c == 'H' || c == '*') return 1;
  if (!is_connect) return 0;
  return c == '[' || infer_is_digit(c) || (uint8_t)((c | 0x20) - 'a') < 26;
}

INFER_INLINE uint64_t infer_http1(const struct infer_input* in) {
  const uint64_t word = in->window->words[0];
  const uint8_t* bytes = in->window->bytes;
  uint8_t target;
  int is_connect = 0;
  if (INFER_STARTS(word, "HTTP/1.")) {
    /* HTTP/1.1 200: shorter ones end in zero bytes, which are no digits. */
    if ((bytes[7] != '0' && bytes[7] != '1') || bytes[8] != ' ') return 0;
    if (!infer_is_digit(bytes[9]) || !infer_is_digit(bytes[10]) || !infer_is_digit(bytes[11]))
      return 0;
    if (in->count > 12 && bytes[12] != ' ' && bytes[12] != '\r' && bytes[12] != '\n') return 0;
    return INFER_RESULT(SOCK_DATA_HTTP1, MSG_RESPONSE, 0);
  }
  if (INFER_STARTS(word, "GET ") || INFER_STARTS(word, "PUT ")) {
    target = bytes[4];
  } else if (INFER_STARTS(word, "POST ") || INFER_STARTS(word, "HEAD ")) {
    target = bytes[5];
  } else if (INFER_STARTS(word, "PATCH ") || INFER_STARTS(word, "TRACE ")) {
    target = bytes[6];
  } else if (INFER_STARTS(word, "DELETE ")) {
    target = bytes[7];
  } else if (INFER_STARTS(word, "OPTIONS ")) {
    target = bytes[8];
  } else if (INFER_STARTS(word, "CONNECT ")) {
    target = bytes[8];
    is_connect = 1;
  } else {
    return 0;
  }
  if (!infer_is_target(target, is_connect)) return 0;
  return INFER_RESULT(SOCK_DATA_HTTP1, MSG_REQUEST, 0);
}

/* ---- DNS ---- */

#define INFER_DNS_HEADER_BYTES 12
#define INFER_DNS_LENGTH_BYTES 2 /* before each message over TCP */
#define INFER_DNS_QUESTION_END 5 /* root label, type, class */

/* More labels do not fit into the window behind the header. */
#define INFER_DNS_LABELS 26

INFER_INLINE uint64_t infer_byte(const struct infer_input* in, uint64_t at) {
  INFER_FORGET(at);
  at &= INFER_WINDOW_BYTES - 1;
  return in->window->bytes[at];
}

INFER_INLINE uint64_t infer_be16(const struct infer_input* in, uint64_t at) {
  return infer_byte(in, at) << 8 | infer_byte(in, at + 1);
}

/* The question's name, type and class, from `at` on, as far as the window shows them. A
 * message that ends (at `end`, in window terms) before its question does is none. */
INFER_INLINE int infer_dns_question(const struct infer_input* in, uint64_t at, uint64_t end) {
#pragma GCC unroll 26
  for (int label = 0; label < INFER_DNS_LABELS; label++) {
    if (at >= in->count) return at + INFER_DNS_QUESTION_END <= end;
    uint64_t length = infer_byte(in, at);
    if (length == 0) break;
    if (length > 63) return 0;
    at += length + 1;
  }
  INFER_JOIN(at);
  if (at + INFER_DNS_QUESTION_END > end) return 0;
  if (at + INFER_DNS_QUESTION_END > in->count) return 1;
  if (infer_byte(in, at) != 0) return 0;
  if (infer_be16(in, at + 1) == 0) return 0;
  /* IN, CH, HS, NONE, ANY; the top bit is a flag of multicast DNS. */
  uint64_t dns_class = infer_be16(in, at + 3) & 0x7fff;
  return dns_class == 1 || dns_class == 3 || dns_class == 4 || dns_class == 254 || dns_class == 255;
}

/* A message that starts at `at`: 0, or behind the length over TCP. */
INFER_INLINE uint64_t infer_dns_message(const struct infer_input* in, uint64_t at, uint64_t end) {
  INFER_JOIN(at);
  INFER_JOIN(end);
  if (at + INFER_DNS_HEADER_BYTES + INFER_DNS_QUESTION_END > in->count) return 0;
  uint64_t flags = infer_be16(in, at + 2);
  uint64_t opcode = (flags >> 11) & 0xf;
  uint64_t rcode = flags & 0xf;
  uint64_t is_response = flags >> 15;
  if (flags & 0x40) return 0; /* Z */
  if (opcode == 3 || opcode > 5) return 0;
  uint64_t questions = infer_be16(in, at + 4);
  if (questions - 1 > 9) return 0;
  uint64_t answers = infer_be16(in, at + 6);
  uint64_t authority = infer_be16(in, at + 8);
  uint64_t additional = infer_be16(in, at + 10);
  if (is_response) {
    if (rcode > 10 || answers > 4096 || authority > 255 || additional > 255) return 0;
  } else {
    if (rcode != 0 || additional > 32) return 0;
    /* A plain query holds no answers; zone transfers bring one authority record, and only
     * notify and update carry more. */
    if (opcode == 0 && (answers > 1 || authority > 1)) return 0;
    if (answers > 255 || authority > 255) return 0;
  }
  INFER_JOIN(is_response);
  if (!infer_dns_question(in, at + INFER_DNS_HEADER_BYTES, end)) return 0;
  return INFER_RESULT(SOCK_DATA_DNS, is_response ? MSG_RESPONSE : MSG_REQUEST, 0);
}

/* `sticky`: the socket is known to speak DNS. Then a TCP read may be the body alone, after
 * the length was read by a call of its own: it starts with an id, which as a length would
 * mostly reach beyond what was moved. */
INFER_INLINE uint64_t infer_dns(const struct infer_input* in, int sticky) {
  uint64_t at = 0;
  uint64_t end = in->total;
  if (in->is_tcp) {
    uint64_t length = infer_be16(in, 0);
    int has_length = length >= INFER_DNS_HEADER_BYTES + INFER_DNS_QUESTION_END &&
                     (!sticky || length + INFER_DNS_LENGTH_BYTES <= in->total);
    if (has_length) {
      at = INFER_DNS_LENGTH_BYTES;
      end = length + INFER_DNS_LENGTH_BYTES;
    } else if (!sticky) {
      return 0;
    }
  }
  return infer_dns_message(in, at, end);
}

/* ---- All of them ---- */

/*
 * What a record is, cheapest test first. `sticky` is the protocol that the socket is known
 * to speak, 0 where nothing is known yet. The answer 0 means: none of the protocols, or,
 * with `sticky`, cannot be told, e.g. the middle of a body; the protocol stays.
 */
INFER_INLINE uint64_t infer(const struct infer_input* in, uint16_t sticky) {
  uint64_t result = 0;
  if (sticky ? sticky == SOCK_DATA_HTTP1 : in->is_tcp) result = infer_http1(in);
  INFER_JOIN(result);
  if (!result && (!sticky || sticky == SOCK_DATA_DNS)) result = infer_dns(in, sticky != 0);
  return result;
}

#endif
