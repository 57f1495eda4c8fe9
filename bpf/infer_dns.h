/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* DNS (RFC 1035; flags and codes: RFC 6895; over TCP: RFC 7766; multicast: RFC 6762). */
#ifndef LIBEBPF_BPF_INFER_DNS_H
#define LIBEBPF_BPF_INFER_DNS_H

#include "bpf/infer_base.h"

#define INFER_DNS_HEADER_BYTES 12
#define INFER_DNS_LENGTH_BYTES 2 /* before each message over TCP */
#define INFER_DNS_QUESTION_END 5 /* root label, type, class */
#define INFER_DNS_LABELS 24      /* of a name that are followed; what is behind them is believed */
#define INFER_DNS_TYPE_NB 32     /* a NetBIOS name, whose protocol looks like DNS otherwise */
#define INFER_DNS_TYPE_SRV 33    /* and NetBIOS node status, of a name in 32 letters */

/* IN, CH, HS, NONE, ANY; the top bit is a flag of multicast DNS. */
INFER_INLINE uint64_t infer_dns_class(uint64_t value) {
  value &= 0x7fff;
  return infer_eq(value, 1) | infer_in(value, 3, 4) | infer_in(value, 254, 255);
}

/* A name, type and class, from `at` on, as far as the window shows them. A message that ends
 * (at `end`, in window terms) before they do is none. */
INFER_INLINE uint64_t infer_dns_question(const struct infer_input* in, uint64_t at, uint64_t end) {
  uint64_t live = 1;
  uint64_t bad = 0;
  const uint8_t* name = infer_at(in, at);
  uint64_t is_coded = infer_eq(name[0], 32) & infer_ne(name[1], '_');
  INFER_JOIN(is_coded);
#pragma GCC unroll 24
  for (int label = 0; label < INFER_DNS_LABELS; label++) {
    live &= infer_le(at + 1, in->count);
    uint64_t length = infer_byte(in, at);
    live &= infer_ne(length, 0);
    bad |= live & infer_le(64, length);
    at += (length + 1) & (0 - live);
  }
  INFER_JOIN(bad);
  INFER_JOIN(at);
  bad |= infer_le(end + 1, at + INFER_DNS_QUESTION_END);
  uint64_t is_whole = infer_le(at + INFER_DNS_QUESTION_END, in->count) & (live ^ 1);
  const uint8_t* fields = infer_at(in, at);
  uint64_t type = infer_be16_at(fields + 1);
  uint64_t ok = infer_ne(type, 0) & infer_ne(type, INFER_DNS_TYPE_NB) &
                (infer_ne(type, INFER_DNS_TYPE_SRV) | (is_coded ^ 1)) &
                infer_dns_class(infer_be16_at(fields + 3));
  return (bad ^ 1) & (ok | (is_whole ^ 1));
}

/* A message that starts at `at`: 0, or behind the length over TCP. */
INFER_INLINE uint64_t infer_dns_message(const struct infer_input* in, uint64_t at, uint64_t end) {
  INFER_JOIN(at);
  INFER_JOIN(end);
  const uint8_t* header = infer_at(in, at);
  uint64_t flags = infer_be16_at(header + 2);
  uint64_t opcode = (flags >> 11) & 0xf;
  uint64_t is_response = flags >> 15;
  uint64_t questions = infer_be16_at(header + 4);
  uint64_t answers = infer_be16_at(header + 6);
  uint64_t authority = infer_be16_at(header + 8);
  uint64_t additional = infer_be16_at(header + 10);
  uint64_t bad = infer_le(in->count + 1, at + INFER_DNS_HEADER_BYTES + INFER_DNS_QUESTION_END);
  bad |= infer_bit(flags, 6); /* Z */
  bad |= infer_eq(opcode, 3) | infer_le(6, opcode);
  /* What multicast DNS announces has answers without questions, and the id 0. */
  uint64_t announced = infer_eq(flags, 0x8400) & infer_eq(infer_be16_at(header), 0) &
                       infer_eq(questions, 0) & infer_in(answers, 1, 255) & (in->is_tcp ^ 1);
  bad |= (infer_in(questions, 1, 10) | announced) ^ 1;
  uint64_t bad_response =
      infer_le(11, flags & 0xf) | infer_le(4097, answers) | infer_le(256, authority | additional);
  /* A plain query holds no answers; zone transfers bring one authority record, and only
   * notify and update carry more. Multicast queries bring the answers that are known. */
  uint64_t is_multicast =
      infer_eq(flags & 0xfdff, 0) & infer_eq(infer_be16_at(header), 0) & (in->is_tcp ^ 1);
  uint64_t bad_query =
      infer_ne(flags & 0xf, 0) | infer_le(33, additional) | infer_le(256, answers | authority) |
      (infer_eq(opcode, 0) & (is_multicast ^ 1) & (infer_le(2, answers) | infer_le(2, authority)));
  bad |= infer_pick(is_response, bad_response, bad_query);
  INFER_JOIN(is_response);
  if (bad) return 0;
  if (!infer_dns_question(in, at + INFER_DNS_HEADER_BYTES, end)) return 0;
  return INFER_RESULT(SOCK_DATA_DNS, infer_pick(is_response, MSG_RESPONSE, MSG_REQUEST), 0);
}

/* `known`: the socket speaks DNS. Then a TCP read may be the body alone, after the length was
 * read by a call of its own: it starts with an id, which as a length would mostly reach beyond
 * what was moved. */
INFER_INLINE uint64_t infer_dns(const struct infer_input* in, uint64_t known) {
  uint64_t at = 0;
  uint64_t end = in->total;
  if (in->is_tcp) {
    uint64_t length = infer_be16(in, 0);
    uint64_t has_length = infer_le(INFER_DNS_HEADER_BYTES + INFER_DNS_QUESTION_END, length) &
                          ((known ^ 1) | infer_le(length + INFER_DNS_LENGTH_BYTES, in->total));
    if (!(has_length | known)) return 0;
    at = has_length * INFER_DNS_LENGTH_BYTES;
    end = infer_pick(has_length, length + INFER_DNS_LENGTH_BYTES, in->total);
  }
  return infer_dns_message(in, at, end);
}

#endif
