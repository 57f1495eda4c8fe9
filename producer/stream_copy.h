// SPDX-License-Identifier: Apache-2.0
// Copies into memory that other CPUs read next and this one does not, past our caches.
//
// A plain store first fetches its line, and takes it away from every cache that has it. In a
// ring that is being read these are the readers' caches; where they are not behind the same
// last-level cache as ours, each line costs a trip there and back. A streaming store fetches
// nothing, provided that whole lines are written in order and that no plain store comes in
// between: so a record is streamed with its header, or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// Sanitizers do not see streaming stores.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EBPF_STREAM_COPY 1
#include <emmintrin.h>
#else
#define EBPF_STREAM_COPY 0
#endif

namespace ebpf {

// Room is rounded up to 8 bytes; zeroes fill what is beyond `bytes`.
inline void plain_copy(uint8_t* to, const uint8_t* from, size_t bytes) {
  if (bytes == 0) return;  // `from` may be null
  if (bytes % 8 != 0) std::memset(to + bytes / 8 * 8, 0, 8);
  std::memcpy(to, from, bytes);
}

#if EBPF_STREAM_COPY

// As plain_copy(). `to` is aligned to 8 bytes.
inline void stream_copy(uint8_t* to, const uint8_t* from, size_t bytes) {
  const auto stream_word = [&](size_t count) {
    long long word = 0;
    std::memcpy(&word, from, count);
    _mm_stream_si64(reinterpret_cast<long long*>(to), word);
    to += 8;
    from += count;
    bytes -= count;
  };
  if (bytes >= 8 && reinterpret_cast<uintptr_t>(to) % 16 != 0) stream_word(8);
  const auto stream_16 = [&](size_t at) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + at),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at)));
  };
  for (; bytes >= 64; bytes -= 64, to += 64, from += 64) {
    stream_16(0);
    stream_16(16);
    stream_16(32);
    stream_16(48);
  }
  for (; bytes >= 16; bytes -= 16, to += 16, from += 16) stream_16(0);
  if (bytes >= 8) stream_word(8);
  if (bytes > 0) stream_word(bytes);
}

// No release store orders streaming stores; this does, and comes before the one that
// publishes them.
inline void stream_fence() { _mm_sfence(); }

#else

inline void stream_copy(uint8_t* to, const uint8_t* from, size_t bytes) {
  plain_copy(to, from, bytes);
}
inline void stream_fence() {}

#endif

}  // namespace ebpf
