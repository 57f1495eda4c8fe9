/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* MySQL (client/server protocol, plain and compressed) and Redis (RESP2, RESP3). */
#ifndef LIBEBPF_BPF_INFER_DB_H
#define LIBEBPF_BPF_INFER_DB_H

#include "bpf/infer_base.h"

/* ---- MySQL ----
 *
 * A packet: length of the body (3 bytes, little-endian), sequence number (1), body. Commands
 * have the sequence number 0, and the body starts with the command. In the compressed
 * protocol another header stands in front: length, sequence number, and the length of what
 * was compressed (3 bytes), 0 where it was not.
 */
#define INFER_MYSQL_HEADER_BYTES 4
#define INFER_MYSQL_OUTER_BYTES 7
/* Commands that consist of the one byte: STATISTICS, PING, RESET_CONNECTION. QUIT and other
 * ones say too little on a socket that nothing is known of. */
#define INFER_MYSQL_BARE (1ull << 0x09 | 1ull << 0x0e | 1ull << 0x1f)
/* With a text: INIT_DB, QUERY, FIELD_LIST, STMT_PREPARE. */
#define INFER_MYSQL_TEXT (1ull << 0x02 | 1ull << 0x03 | 1ull << 0x04 | 1ull << 0x16)
/* With the id of a statement and nothing else: STMT_CLOSE, STMT_RESET. */
#define INFER_MYSQL_STATEMENT (1ull << 0x19 | 1ull << 0x1a)

INFER_INLINE uint64_t infer_is_sql(uint64_t c) {
  return infer_is_printable(c) | infer_in(c, '\t', '\r');
}

/* Whether a body of `length` bytes at `body` is a command, so clearly that it is likely on
 * an unknown socket. */
INFER_INLINE uint64_t infer_mysql_command(const uint8_t* body, uint64_t length) {
  uint64_t command = body[0];
  uint64_t is_text =
      infer_is_sql(body[1]) & infer_is_sql(body[2]) & infer_is_sql(body[3]) & infer_is_sql(body[4]);
  uint64_t statement_end = infer_eq(body[4], 0);
  /* STMT_EXECUTE: id, flags, and the number of iterations, which is always 1. */
  uint64_t executes = infer_le(10, length) & infer_le(body[5], 15) & infer_eq(body[6], 1) &
                      infer_eq(body[7] | body[8] | body[9], 0);
  uint64_t is_command = infer_bit(INFER_MYSQL_TEXT, command) & infer_le(5, length) & is_text;
  /* QUERY of a client that may send attributes: their number, 0, one set of them, the text. */
  is_command |= infer_eq(command, 0x03) & infer_le(7, length) & infer_eq(body[1], 0) &
                infer_eq(body[2], 1) & infer_is_sql(body[3]) & infer_is_sql(body[4]) &
                infer_is_sql(body[5]) & infer_is_sql(body[6]);
  is_command |= infer_bit(INFER_MYSQL_BARE, command) & infer_eq(length, 1);
  is_command |= infer_bit(INFER_MYSQL_STATEMENT, command) & infer_eq(length, 5) & statement_end;
  is_command |= infer_eq(command, 0x17) & executes;
  is_command |= infer_eq(command, 0x1c) & infer_eq(length, 9) & statement_end; /* STMT_FETCH */
  return is_command & infer_le(command, 0x1f);
}

/* "5.7.18", "8.0.21", "11.4.2-MariaDB": digits and a dot, and a zero behind the version. */
INFER_INLINE uint64_t infer_mysql_greeting(const struct infer_input* in, uint64_t length) {
  const uint8_t* bytes = in->window->bytes;
  uint64_t dot = infer_eq(bytes[6], '.') | (infer_is_digit(bytes[6]) & infer_eq(bytes[7], '.'));
  return infer_eq(bytes[3], 0) & infer_eq(bytes[4], 0x0a) & infer_is_digit(bytes[5]) & dot &
         infer_in(length, 40, 255) & infer_eq(length + INFER_MYSQL_HEADER_BYTES, in->total);
}

/* The client's answer to it: capabilities, largest packet, character set, 23 zeros. */
INFER_INLINE uint64_t infer_mysql_login(const struct infer_input* in, uint64_t length) {
  const uint64_t* words = in->window->words;
  uint64_t zeros = infer_eq((words[2] | words[2] >> 32) & 0xffffffff, 0) &
                   infer_eq((words[3] | words[3] >> 32) & 0xffffffff, 0);
  uint64_t ends = infer_eq(length + INFER_MYSQL_HEADER_BYTES, in->total) |
                  infer_eq(in->total, INFER_MYSQL_HEADER_BYTES);
  return infer_eq(in->window->bytes[3], 1) & infer_in(length, 32, 4096) & ends & zeros &
         infer_bit(in->window->bytes[5], 1) /* protocol of 4.1: bit 9 of the capabilities */
         & infer_ne(in->window->bytes[12], 0) & infer_le(36, in->count);
}

/* "#" and five letters or digits: the SQL state of an error. */
INFER_INLINE uint64_t infer_mysql_error(const uint8_t* body, uint64_t length) {
  return infer_eq(body[0], 0xff) & infer_le(9, length) & infer_eq(body[3], '#') &
         (infer_is_digit(body[4]) | infer_is_letter(body[4])) &
         (infer_is_digit(body[5]) | infer_is_letter(body[5])) &
         (infer_is_digit(body[8]) | infer_is_letter(body[8]));
}

/* What takes the place of the greeting where a client is turned away: an error without a state,
 * as "Host ... is not allowed", "Too many connections". */
INFER_INLINE uint64_t infer_mysql_refusal(const uint8_t* body, uint64_t length) {
  uint64_t code = body[1] | (uint64_t)body[2] << 8;
  return infer_eq(body[0], 0xff) & infer_le(12, length) & infer_in(code, 1000, 4999) &
         infer_in(body[3], 'A', 'Z') & infer_is_printable(body[4]) & infer_is_printable(body[5]) &
         infer_is_printable(body[6]);
}

/* Whether the first body of an answer is one that there can be: OK, error, end, the request
 * for a file, or the number of columns, with which a packet is as good as over. */
INFER_INLINE uint64_t infer_mysql_answer(const uint8_t* body, uint64_t length) {
  uint64_t first = body[0];
  return (infer_eq(first, 0) & infer_le(7, length)) |
         (infer_eq(first, 0xff) & infer_le(3, length)) | infer_in(first, 0xfb, 0xfe) |
         (infer_in(first, 1, 0xfa) & infer_le(length, 2));
}

/* zlib's header, at the places where compressed packets have it. */
INFER_INLINE uint64_t infer_is_zlib(const uint8_t* at) {
  return infer_eq(at[0], 0x78) & (infer_eq(at[1], 0x01) | infer_eq(at[1], 0x5e) |
                                  infer_eq(at[1], 0x9c) | infer_eq(at[1], 0xda));
}

INFER_INLINE uint64_t infer_mysql(const struct infer_input* in, const struct infer_state* state) {
  const uint8_t* bytes = in->window->bytes;
  uint64_t length = infer_le24_at(bytes);
  uint64_t sequence = bytes[3];
  uint64_t end = length + INFER_MYSQL_HEADER_BYTES;
  uint64_t outer_end = length + INFER_MYSQL_OUTER_BYTES;
  uint64_t known = infer_knows(state, SOCK_DATA_MYSQL);
  uint64_t certain = known & (state->is_likely ^ 1);
  uint64_t fits = infer_eq(end, in->total);
  uint64_t inner_length = infer_le24_at(bytes + 7);
  uint64_t original = infer_le24_at(bytes + 4);
  uint64_t outer_fits = infer_eq(outer_end, in->total) & infer_le(11, in->count);
  uint64_t is_plain = outer_fits & infer_eq(original, 0) &
                      infer_le(inner_length + INFER_MYSQL_HEADER_BYTES, length);
  uint64_t is_packed = outer_fits & infer_le(50, original) & infer_is_zlib(bytes + 7);
  is_plain &= infer_eq(inner_length + INFER_MYSQL_HEADER_BYTES, length) | known;

  INFER_JOIN(is_packed);
  INFER_JOIN(is_plain);
  uint64_t greeting = infer_mysql_greeting(in, length);
  INFER_JOIN(greeting);
  uint64_t login = infer_mysql_login(in, length);
  uint64_t zero = infer_eq(sequence, 0);
  INFER_JOIN(login);
  uint64_t command = zero & fits & infer_mysql_command(bytes + 4, length);
  INFER_JOIN(command);
  command |=
      zero & is_plain & infer_eq(bytes[10], 0) & infer_mysql_command(bytes + 11, inner_length);

  INFER_JOIN(command);
  /* Answers that say enough by themselves: errors with a state, OK without warnings, the
   * columns of a result ("def" at its place), a prepared statement, a compressed packet. */
  const uint64_t* words = in->window->words;
  uint64_t error = fits & infer_le(sequence, 16) & infer_mysql_error(bytes + 4, length);
  error |= fits & zero & infer_mysql_refusal(bytes + 4, length);
  INFER_JOIN(error);
  uint64_t ok = fits & infer_eq(length, 7) & infer_eq(sequence, 1) &
                infer_eq(bytes[4] | bytes[9] | bytes[10], 0) & infer_le(bytes[8], 0x40);
  INFER_JOIN(ok);
  uint64_t column = infer_eq(words[1] & 0xffffffffffull, 0x6665640302ull); /* 02 03 "def" */
  uint64_t columns = infer_eq(words[0] & 0xffffffff, 0x01000001) & column;
  /* MariaDB tells behind their number whether they follow. */
  columns |= infer_eq(words[0] & 0xffffffff, 0x01000002) & infer_eq(bytes[5], 1) &
             infer_eq(words[1] >> 8 & 0xffffffffff, 0x6665640302ull);
  columns &= infer_le(14, in->count);
  INFER_JOIN(columns);
  uint64_t prepared = infer_eq(words[0] & 0xffffffffff, 0x000100000cull) & infer_eq(bytes[18], 0) &
                      infer_eq(bytes[19], 2) & infer_eq(bytes[20], 3) & infer_eq(bytes[21], 'd') &
                      infer_eq(bytes[22], 'e') & infer_eq(bytes[23], 'f');
  INFER_JOIN(prepared);
  uint64_t answer = error | ok | columns | prepared | (is_packed & infer_ne(sequence, 0));

  INFER_JOIN(answer);
  /* The answer to a command: sequence number 1, and packets that follow on one another. */
  const uint8_t* next = infer_at(in, end);
  uint64_t follows = fits | (infer_le(end + 4, in->count) & infer_eq(next[3], sequence + 1)) |
                     (infer_le(end + 1, in->total) & infer_le(in->count, end + 3));
  uint64_t pair = known & infer_from_server(in, state) & infer_le(5, in->count);
  pair &= infer_in(sequence, 1, 2); /* 2: to a login */
  pair &= (follows & infer_mysql_answer(bytes + 4, length)) | is_packed |
          (is_plain & infer_in(bytes[10], 1, 2) & infer_mysql_answer(bytes + 11, inner_length));

  INFER_JOIN(pair);
  /* On a socket that is known the way tells which is which, and a header must be there. */
  uint64_t starts = fits | outer_fits | (infer_le(in->total, end) & infer_le(sequence, 1)) |
                    (infer_le(end + 4, in->count) & infer_eq(next[3], (sequence + 1) & 0xff)) |
                    (infer_le(outer_end + 4, in->count) &
                     infer_eq(infer_byte(in, outer_end + 3), (sequence + 1) & 0xff));
  starts &= infer_le(5, in->count) & infer_ne(length, 0);
  uint64_t more_requests =
      known & starts & infer_from_client(in, state) & (zero | certain) & infer_le(sequence, 8);
  uint64_t more_answers =
      certain & starts & infer_from_server(in, state) & (infer_ne(sequence, 0) | error);

  INFER_JOIN(more_requests);
  INFER_JOIN(more_answers);
  if (greeting) return INFER_RESULT(SOCK_DATA_MYSQL, MSG_RESPONSE, 0);
  uint64_t from_client = known & infer_from_client(in, state);
  uint64_t from_server = known & infer_from_server(in, state);
  if (pair | more_answers) return INFER_RESULT(SOCK_DATA_MYSQL, MSG_RESPONSE, 0);
  if ((command | login | more_requests) & (from_server ^ 1)) {
    /* A command after an answer that spoke for itself is a pair as well. */
    uint64_t is_pair = command & known & infer_bit(state->seen, 1);
    return INFER_RESULT(SOCK_DATA_MYSQL, MSG_REQUEST, (certain | is_pair) ^ 1);
  }
  return answer & (from_client ^ 1) ? INFER_RESULT(SOCK_DATA_MYSQL, MSG_RESPONSE, certain ^ 1) : 0;
}

/* ---- Redis ----
 *
 * A type byte, text or a number, CR LF. Requests are arrays of bulk strings, whose first one is
 * the command; a person at a terminal may also write it as it is ("inline").
 */

/* A number of up to 8 digits, or -1, and CR LF. */
struct infer_resp_line {
  uint64_t ok;
  uint64_t value; /* 0 for -1 */
  uint64_t digits;
  uint64_t end; /* behind the line */
};

INFER_INLINE struct infer_resp_line infer_resp_number(const struct infer_input* in, uint64_t at) {
  struct infer_resp_line number;
  const uint8_t* text = infer_at(in, at);
  uint64_t minus = infer_eq(text[0], '-') & infer_eq(text[1], '1');
  uint64_t live = minus ^ 1;
  number.value = 0;
  number.digits = 0;
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    uint64_t digit = text[i];
    live &= infer_is_digit(digit);
    number.value = infer_pick(live, number.value * 10 + (digit & 0xf), number.value);
    number.digits += live;
  }
  uint64_t length = number.digits + 2 * minus;
  const uint8_t* line_end = infer_at(in, at + length);
  number.end = at + length + 2;
  number.ok = infer_ne(length, 0) & infer_eq(line_end[0], '\r') & infer_eq(line_end[1], '\n') &
              infer_le(number.end, in->count);
  return number;
}

/* Bit of a character from 32 to 95. */
#define INFER_LOW(c) (1ull << ((c)-32))
#define INFER_RESP_TYPES                                                                \
  (INFER_LOW('+') | INFER_LOW('-') | INFER_LOW(':') | INFER_LOW('$') | INFER_LOW('*') | \
   INFER_LOW('#') | INFER_LOW(',') | INFER_LOW('(') | INFER_LOW('!') | INFER_LOW('=') | \
   INFER_LOW('%') | INFER_LOW('>') | INFER_LOW('_'))

INFER_INLINE uint64_t infer_resp_is_aggregate(uint64_t c) {
  return infer_eq(c, '*') | infer_eq(c, '%') | infer_eq(c, '>') | infer_eq(c, '~') |
         infer_eq(c, '|');
}

INFER_INLINE uint64_t infer_resp_is_type(uint64_t c) {
  return (infer_in(c, 32, 95) & infer_bit(INFER_RESP_TYPES, c - 32)) | infer_eq(c, '~') |
         infer_eq(c, '|');
}

INFER_INLINE uint64_t infer_redis(const struct infer_input* in, const struct infer_state* state) {
  const uint8_t* bytes = in->window->bytes;
  const uint64_t word = in->window->words[0];
  uint64_t type = bytes[0];
  uint64_t known = infer_knows(state, SOCK_DATA_REDIS);
  uint64_t certain = known & (state->is_likely ^ 1);
  uint64_t from_client = known & infer_from_client(in, state);
  uint64_t from_server = known & infer_from_server(in, state);

  struct infer_resp_line head = infer_resp_number(in, 1);
  INFER_JOIN(head.ok);
  INFER_JOIN(head.value);
  uint64_t is_over = infer_eq(head.end, in->total);
  const uint8_t* element = infer_at(in, head.end);
  uint64_t has_element = infer_le(head.end + 1, in->count) & infer_resp_is_type(element[0]);
  INFER_JOIN(has_element);
  struct infer_resp_line item = infer_resp_number(in, head.end + 1);
  INFER_JOIN(item.ok);
  INFER_JOIN(item.value);
  uint64_t bulk = has_element & infer_eq(element[0], '$') & item.ok;
  const uint8_t* name = infer_at(in, item.end);
  uint64_t is_cut = infer_le(in->count, item.end);
  uint64_t is_name = infer_le(1, item.value) & infer_le(item.value, 32) &
                     (infer_is_letter(name[0]) | is_cut) &
                     (infer_is_letter(name[1]) | is_cut | infer_le(item.value, 1));
  INFER_JOIN(is_name);

  /* The end of the line, and of the record, where that was captured whole. */
  const uint8_t* tail = infer_at(in, in->total - 2);
  uint64_t closed =
      infer_le(in->count + 1, in->total) | (infer_eq(tail[0], '\r') & infer_eq(tail[1], '\n'));
  INFER_JOIN(closed);

  uint64_t aggregate = infer_resp_is_aggregate(type) & head.ok;
  uint64_t command =
      aggregate & infer_eq(type, '*') & infer_in(head.value, 1, 1 << 20) & bulk & is_name;
  INFER_JOIN(command);
  INFER_JOIN(aggregate);
  /* Arrays that servers send unasked name their kind: message, subscribe, ... */
  uint64_t is_pushed = infer_eq(item.value, 7) & infer_eq(name[0], 'm') & infer_eq(name[1], 'e') &
                       infer_eq(name[2], 's');
  is_pushed |= infer_eq(item.value, 8) & infer_eq(name[0], 'p') & infer_eq(name[1], 'm');
  INFER_JOIN(is_pushed);

  uint64_t reply = (infer_eq(type, '+') & infer_is_printable(bytes[1])) |
                   (infer_eq(type, '-') & infer_in(bytes[1], 'A', 'Z') & infer_is_letter(bytes[2]));
  reply &= closed;
  INFER_JOIN(reply);
  uint64_t is_one = is_over | has_element;
  reply |= infer_eq(type, ':') & head.ok & is_one;
  uint64_t is_string = infer_eq(type, '$') | infer_eq(type, '!') | infer_eq(type, '=');
  uint64_t string_end = head.end + head.value + 2;
  uint64_t string = is_string & head.ok;
  /* What the string leaves of the call is the next reply. */
  string &= infer_le(in->count, string_end) | infer_eq(head.value, 0) |
            infer_resp_is_type(infer_byte(in, string_end));
  INFER_JOIN(string);
  reply |= string;
  reply |= aggregate & is_one;
  reply |= infer_eq(type, '_') & infer_eq(bytes[1], '\r') & infer_eq(bytes[2], '\n');
  reply |= infer_eq(type, '#') & (infer_eq(bytes[1], 't') | infer_eq(bytes[1], 'f')) &
           infer_eq(bytes[2], '\r') & infer_eq(bytes[3], '\n');
  INFER_JOIN(reply);
  reply |= (infer_eq(type, ',') | infer_eq(type, '(')) & closed &
           (infer_is_digit(bytes[1]) | infer_eq(bytes[1], '-') | infer_is_letter(bytes[1]));
  reply &= infer_le(3, in->count);
  INFER_JOIN(reply);

  /* Replies that say enough on an unknown socket. */
  uint64_t is_telling = (string & infer_eq(type, '$') & infer_ne(head.digits, 0)) |
                        (aggregate & has_element & (item.ok | infer_ne(element[0], '$'))) |
                        infer_eq(word & 0xffffffffffffffull, INFER_WORD("+PONG\r\n"));
  INFER_JOIN(is_telling);
  /* Inline: PING, QUIT, ... and short. */
  uint64_t is_inline = known & infer_in(in->total, 6, 64) & closed & infer_is_letter(bytes[0]) &
                       infer_is_letter(bytes[1]) & infer_is_letter(bytes[2]) &
                       (infer_is_letter(bytes[3]) | infer_eq(bytes[3], ' '));
  INFER_JOIN(is_inline);

  uint64_t asks = (command & (is_pushed ^ 1)) | is_inline;
  /* A reply of a kind that no request is, where requests were thought to come from: the
   * first one that was seen was a reply that looked like a request. */
  uint64_t is_plain_reply = reply & (aggregate ^ 1);
  if (from_server & reply) return INFER_RESULT(SOCK_DATA_REDIS, MSG_RESPONSE, 0);
  if (from_server & asks) return INFER_RESULT(SOCK_DATA_REDIS, MSG_REQUEST, certain ^ 1);
  uint64_t is_pair = infer_bit(state->seen, 1); /* a reply was seen already */
  if (from_client & command)
    return INFER_RESULT(SOCK_DATA_REDIS, MSG_REQUEST, (certain | is_pair) ^ 1);
  if (from_client & is_plain_reply) return INFER_RESULT(SOCK_DATA_REDIS, MSG_RESPONSE, certain ^ 1);
  if (from_client) return asks ? INFER_RESULT(SOCK_DATA_REDIS, MSG_REQUEST, certain ^ 1) : 0;
  if (command & (is_pushed ^ 1)) return INFER_RESULT(SOCK_DATA_REDIS, MSG_REQUEST, 1);
  return is_telling & reply ? INFER_RESULT(SOCK_DATA_REDIS, MSG_RESPONSE, 1) : 0;
}

#endif
