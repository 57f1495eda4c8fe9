/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* HTTP/1 (RFC 9112) and HTTP/2 (RFC 9113, header compression: RFC 7541). */
#ifndef LIBEBPF_BPF_INFER_HTTP_H
#define LIBEBPF_BPF_INFER_HTTP_H

#include "bpf/infer_base.h"

/* ---- HTTP/1 ---- */

/* What may follow the method: a path, `*` (OPTIONS), an absolute URI ("http..."), or the
 * host of a CONNECT. Inline commands of other text protocols do not look like this. */
INFER_INLINE uint64_t infer_is_target(const uint8_t* at, uint64_t is_connect) {
  uint64_t c = at[0];
  uint64_t is_uri = infer_eq(c | 0x20, 'h') & infer_eq(at[1] | 0x20, 't') &
                    infer_eq(at[2] | 0x20, 't') & infer_eq(at[3] | 0x20, 'p');
  uint64_t is_host = infer_eq(c, '[') | infer_is_digit(c) | infer_is_letter(c);
  return infer_eq(c, '/') | infer_eq(c, '*') | is_uri | (is_connect & is_host);
}

INFER_INLINE uint64_t infer_http1(const struct infer_input* in) {
  const uint64_t word = in->window->words[0];
  const uint8_t* bytes = in->window->bytes;
  uint64_t method_bytes;
  uint64_t is_connect = 0;
  if (INFER_STARTS(word, "HTTP/1.")) {
    /* HTTP/1.1 200: shorter ones end in zero bytes, which are no digits. */
    uint64_t ok = infer_in(bytes[7], '0', '1') & infer_eq(bytes[8], ' ') &
                  infer_is_digit(bytes[9]) & infer_is_digit(bytes[10]) & infer_is_digit(bytes[11]);
    uint64_t ends = infer_eq(bytes[12], ' ') | infer_eq(bytes[12], '\r') |
                    infer_eq(bytes[12], '\n') | infer_le(in->count, 12);
    return ok & ends ? INFER_RESULT(SOCK_DATA_HTTP1, MSG_RESPONSE, 0) : 0;
  }
  if (INFER_STARTS(word, "GET ") || INFER_STARTS(word, "PUT ")) {
    method_bytes = 4;
  } else if (INFER_STARTS(word, "POST ") || INFER_STARTS(word, "HEAD ")) {
    method_bytes = 5;
  } else if (INFER_STARTS(word, "PATCH ") || INFER_STARTS(word, "TRACE ")) {
    method_bytes = 6;
  } else if (INFER_STARTS(word, "DELETE ")) {
    method_bytes = 7;
  } else if (INFER_STARTS(word, "OPTIONS ")) {
    method_bytes = 8;
  } else if (INFER_STARTS(word, "CONNECT ")) {
    method_bytes = 8;
    is_connect = 1;
  } else {
    return 0;
  }
  INFER_JOIN(is_connect);
  INFER_JOIN(method_bytes);
  if (!infer_is_target(infer_at(in, method_bytes), is_connect)) return 0;
  return INFER_RESULT(SOCK_DATA_HTTP1, MSG_REQUEST, 0);
}

/* ---- HTTP/2 ---- */

#define INFER_HTTP2_HEADER_BYTES 9
#define INFER_HTTP2_FRAMES 4 /* that are looked at */

/* What a run of frames showed. */
struct infer_http2_chain {
  uint64_t at;        /* behind the last frame */
  uint64_t frames;    /* whole headers that can be */
  uint64_t is_broken; /* or one that cannot */
  uint64_t headers;   /* HEADERS frames */
  uint64_t request;   /* 1: one of them opens a request */
  uint64_t response;
  uint64_t control;   /* SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM */
  uint64_t is_grpc;   /* a DATA frame that holds just one gRPC message */
  uint64_t oversized; /* a frame larger than the size that everyone must accept (16384) */
};

/* Of each frame type, 0 (DATA) to 9 (CONTINUATION): the flags that are defined, six bits
 * each; the length where it is fixed, four bits each; whether the stream is 0. */
#define INFER_HTTP2_FLAGS \
  (0x09ull | 0x2dull << 6 | 0x01ull << 24 | 0x0cull << 30 | 0x01ull << 36 | 0x04ull << 54)
#define INFER_HTTP2_LENGTHS (5ull << 8 | 4ull << 12 | 8ull << 24 | 4ull << 32)
#define INFER_HTTP2_ON_STREAM 0x22full
#define INFER_HTTP2_ON_CONNECTION 0x0d0ull
#define INFER_HTTP2_CONTROL 0x1d8ull
#define INFER_HTTP2_SETTINGS_LENGTHS 0x1041041041041041ull /* 0, 6, 12, ... 60 */

/* A header field that a block starts with: by HPACK's static table, 1 to 7 belong to requests
 * (:authority, :method, :path, :scheme), 8 to 14 to responses (:status); indexed whole (0x80),
 * or its name (0x40, 0x00, 0x10). Or the name is spelled out: ":..." as it is, or in the
 * Huffman code, in which a colon with s and t behind it starts with b8 84. */
INFER_INLINE void infer_http2_field(struct infer_http2_chain* chain, const uint8_t* at,
                                    uint64_t is_seen) {
  uint64_t kind = at[0] & 0xf0;
  uint64_t index = at[0] & 0x0f;
  uint64_t is_name = infer_eq(kind, 0x40) | infer_eq(kind, 0) | infer_eq(kind, 0x10);
  uint64_t is_static = infer_eq(kind, 0x80) | is_name;
  uint64_t is_spelled = is_name & infer_eq(index, 0) &
                        (infer_eq(at[2], ':') | infer_in(at[2], 0xb8, 0xb9)) &
                        infer_in(at[1] & 0x7f, 3, 10);
  uint64_t is_status = (infer_eq(at[2], ':') & infer_eq(at[3], 's') & infer_eq(at[4], 't')) |
                       (infer_eq(at[2], 0xb8) & infer_eq(at[3], 0x84));
  chain->request |=
      is_seen & ((is_static & infer_in(index, 1, 7)) | (is_spelled & (is_status ^ 1)));
  chain->response |= is_seen & ((is_static & infer_in(index, 8, 14)) | (is_spelled & is_status));
}

/* One frame; `live` is 1 as long as the chain goes on. */
INFER_INLINE uint64_t infer_http2_frame(const struct infer_input* in,
                                        struct infer_http2_chain* chain, uint64_t live) {
  uint64_t at = chain->at;
  live &= infer_le(at + INFER_HTTP2_HEADER_BYTES, in->count);
  const uint8_t* frame = infer_at(in, at);
  uint64_t length = infer_be24_at(frame);
  uint64_t type = frame[3];
  uint64_t flags = frame[4];
  uint64_t stream = infer_be32_at(frame + 5);
  uint64_t fixed = (INFER_HTTP2_LENGTHS >> ((type & 0xf) * 4)) & 0xf;
  uint64_t allowed = (INFER_HTTP2_FLAGS >> ((type * 6) & 63)) & 0x3f;
  uint64_t bad = infer_le(10, type) | (stream >> 31);
  bad |= infer_ne(flags & ~allowed & 0xff, 0);
  bad |= infer_ne(fixed, 0) & infer_ne(length, fixed);
  bad |= infer_eq(type, 4) &
         ((infer_bit(INFER_HTTP2_SETTINGS_LENGTHS, length) ^ 1) | infer_le(61, length));
  bad |= infer_eq(type, 4) & infer_bit(flags, 0) & infer_ne(length, 0); /* acknowledged */
  bad |= infer_bit(INFER_HTTP2_ON_CONNECTION, type) & infer_ne(stream, 0);
  bad |= infer_bit(INFER_HTTP2_ON_STREAM, type) & infer_eq(stream, 0);
  bad |= infer_eq(type, 7) & infer_le(length, 7);
  bad |= infer_eq(type, 5) & infer_le(length, 3);
  bad |= infer_eq(type, 1) & infer_eq(length, 0);
  chain->is_broken |= live & bad;
  live &= bad ^ 1;
  chain->frames += live;
  chain->oversized |= live & infer_le(16385, length);
  chain->control |= live & infer_bit(INFER_HTTP2_CONTROL, type);

  uint64_t is_headers = live & infer_eq(type, 1) & infer_le(1, length);
  uint64_t skip = INFER_HTTP2_HEADER_BYTES + (infer_bit(flags, 3) & is_headers) +
                  5 * (infer_bit(flags, 5) & is_headers);
  chain->headers |= is_headers;
  const uint8_t* block = infer_at(in, at + skip);
  /* A change of the table's size may come first; it is a number of one to three bytes. */
  uint64_t is_resize = infer_eq(block[0] & 0xe0, 0x20);
  uint64_t is_long = is_resize & infer_eq(block[0], 0x3f);
  skip += is_resize + is_long + (is_long & (block[1] >> 7));
  /* Fields of the dynamic table say nothing; two of them are passed over. */
  block = infer_at(in, at + skip);
  uint64_t dynamic = infer_le(0xbe, block[0]) & infer_ne(block[0], 0xff);
  skip += dynamic + (dynamic & infer_le(0xbe, block[1]) & infer_ne(block[1], 0xff));
  uint64_t is_seen = is_headers & infer_le(at + skip + 1, in->count);
  is_seen &= (chain->request | chain->response) ^ 1;
  infer_http2_field(chain, infer_at(in, at + skip), is_seen);
  const uint8_t* message = infer_at(in, at + INFER_HTTP2_HEADER_BYTES);
  chain->is_grpc |= live & infer_eq(type, 0) & infer_le(at + 14, in->count) &
                    infer_le(message[0], 1) & infer_eq(infer_be32_at(message + 1) + 5, length);
  uint64_t next = at + INFER_HTTP2_HEADER_BYTES + length;
  chain->at = infer_pick(live, next, at);
  return live;
}

/* What a client opens a connection with; it may also turn one of HTTP/1 into HTTP/2. */
INFER_INLINE uint64_t infer_http2_preface(const struct infer_input* in,
                                          const struct infer_state* state) {
  const uint64_t* words = in->window->words;
  uint64_t open = infer_eq(state->protocol, 0) | infer_ne(state->is_likely, 0) |
                  infer_knows(state, SOCK_DATA_HTTP1) | infer_knows(state, SOCK_DATA_HTTP2);
  if (!(open & infer_ne(in->protocols & INFER_BIT_HTTP2, 0))) return 0;
  if (words[0] != INFER_WORD("PRI * HT") || words[1] != INFER_WORD("TP/2.0\r\n")) return 0;
  return INFER_RESULT(SOCK_DATA_HTTP2, MSG_REQUEST, 0);
}

INFER_INLINE uint64_t infer_http2(const struct infer_input* in, const struct infer_state* state) {
  struct infer_http2_chain chain;
  __builtin_memset(&chain, 0, sizeof(chain));
  uint64_t live = 1;
#pragma GCC unroll 4
  for (int i = 0; i < INFER_HTTP2_FRAMES; i++) {
    live = infer_http2_frame(in, &chain, live);
    INFER_JOIN(chain.at);
  }
  uint64_t known = infer_knows(state, SOCK_DATA_HTTP2);
  uint64_t fits = infer_eq(chain.at, in->total);
  uint64_t is_chain =
      infer_le(1, chain.frames) & (chain.is_broken ^ 1) & (known | (chain.oversized ^ 1));
  uint64_t has_role = chain.request | chain.response;
  uint64_t is_two = infer_le(2, chain.frames);
  uint64_t certain = known & (state->is_likely ^ 1);

  /* Who opened the connection is known: what a HEADERS frame is, the way tells. */
  uint64_t request =
      infer_pick(infer_ne(state->client, 0) & known, infer_from_client(in, state), chain.request);
  uint64_t response =
      infer_pick(infer_ne(state->client, 0) & known, infer_from_server(in, state), chain.response);
  uint64_t type =
      chain.headers * (request * MSG_REQUEST | (response & (request ^ 1)) * MSG_RESPONSE);

  uint64_t is_likely_now = is_chain & fits & (has_role | chain.control | chain.is_grpc | is_two);
  /* A block of fields that is longer than the call. */
  is_likely_now |= is_chain & has_role & infer_le(64, in->count) &
                   infer_le(in->total + 1, chain.at) & infer_eq(in->window->bytes[5], 0);
  uint64_t is_certain_now = is_chain & has_role & is_two;
  /* The second record that holds up makes it certain. */
  is_certain_now |= known & is_chain & (fits | is_two);
  is_certain_now |= certain & is_chain;
  if (is_certain_now) return INFER_RESULT(SOCK_DATA_HTTP2, type, 0);
  return is_likely_now ? INFER_RESULT(SOCK_DATA_HTTP2, type, 1) : 0;
}

#endif
