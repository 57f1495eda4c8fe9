// SPDX-License-Identifier: Apache-2.0
// The C ABI: checks what the caller gives, keeps exceptions inside, remembers the last
// error of each thread.
#include <errno.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "consumer/consumer.h"
#include "libebpf/control.h"

struct ebpf_consumer {
  std::unique_ptr<ebpf::Consumer> impl;
};

namespace ebpf {
namespace {

thread_local char last_error[512];

int fail(int code, const char* message) {
  std::snprintf(last_error, sizeof last_error, "%s", message);
  return -code;
}
int fail(const Error& error) { return fail(error.code, error.message.c_str()); }

// Exceptions of our own making end here. What a callback throws through us ends the
// program, unless it is a std::exception.
template <class Body>
int guarded(Body&& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return fail(ENOMEM, "out of memory");
  } catch (const std::exception& failure) {
    return fail(EIO, failure.what());
  }
}

// What a caller with a newer header adds must not ask for anything.
bool rest_is_zero(const void* structure, size_t known, size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(structure);
  for (size_t i = known; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

constexpr size_t kOptionsBytesMax = 4096;

Result<> check_options(const ebpf_consumer_options& options) {
  const size_t known = sizeof options;
  if (options.size < known || options.size > kOptionsBytesMax) {
    return Error{EINVAL, "options.size is " + std::to_string(options.size) +
                             ", expected sizeof(struct ebpf_consumer_options), " +
                             std::to_string(known)};
  }
  if (!rest_is_zero(&options, known, options.size)) {
    return Error{EINVAL, "the options hold settings that this library does not know"};
  }
  if (options.on_record == nullptr) return Error{EINVAL, "options.on_record is NULL"};
  if (options.from != EBPF_FROM_TAIL && options.from != EBPF_FROM_OLDEST) {
    return Error{EINVAL, "options.from is " + std::to_string(options.from) +
                             ", expected EBPF_FROM_TAIL or EBPF_FROM_OLDEST"};
  }
  if ((options.flags & ~EBPF_NO_REATTACH) != 0) {
    return Error{EINVAL, "options.flags holds unknown flags: " + std::to_string(options.flags)};
  }
  if (options.reserved != 0) return Error{EINVAL, "options.reserved is not 0"};
  if (options.name != nullptr && strnlen(options.name, EBPF_COMM_BYTES) == EBPF_COMM_BYTES) {
    return Error{EINVAL, "options.name is longer than 15 bytes"};
  }
  return Unit{};
}

std::string socket_path(const char* asked) {
  if (asked != nullptr) return asked;
  const char* named = std::getenv(EBPF_SOCKET_ENV);
  return named != nullptr && *named != '\0' ? named : EBPF_SOCKET_DEFAULT;
}

ConsumerConfig make_config(const ebpf_consumer_options& options) {
  ConsumerConfig config;
  config.socket_path = socket_path(options.socket_path);
  config.name = options.name != nullptr ? options.name : program_invocation_short_name;
  config.lanes = options.lanes;
  config.join = options.from == EBPF_FROM_OLDEST ? Join::kOldest : Join::kTail;
  config.reattach = (options.flags & EBPF_NO_REATTACH) == 0;
  config.spin_us = options.spin_us;
  config.sink.on_record = options.on_record;
  config.sink.on_gap = options.on_gap;
  config.sink.user = options.user;
  return config;
}

}  // namespace
}  // namespace ebpf

using ebpf::fail;

extern "C" {

int ebpf_consumer_open(struct ebpf_consumer** consumer,
                       const struct ebpf_consumer_options* options) {
  if (consumer == nullptr) return fail(EINVAL, "consumer is NULL");
  *consumer = nullptr;
  if (options == nullptr) return fail(EINVAL, "options is NULL");
  return ebpf::guarded([&] {
    if (auto ok = ebpf::check_options(*options); !ok) return fail(ok.error());
    auto handle = std::make_unique<ebpf_consumer>();
    auto opened = ebpf::Consumer::open(ebpf::make_config(*options));
    if (!opened) return fail(opened.error());
    handle->impl = std::move(*opened);
    *consumer = handle.release();
    return 0;
  });
}

void ebpf_consumer_close(struct ebpf_consumer* consumer) {
  if (consumer == nullptr) return;
  if (consumer->impl->busy()) {
    // A mistake of the caller, but not one that may corrupt memory: the poll that runs the
    // callback closes the handle when it returns.
    consumer->impl->request_close();
    return;
  }
  delete consumer;
}

int ebpf_consumer_poll(struct ebpf_consumer* consumer, int timeout_ms) {
  if (consumer == nullptr) return fail(EINVAL, "consumer is NULL");
  if (consumer->impl->busy()) {
    return fail(EBUSY, "ebpf_consumer_poll() was called from inside a callback");
  }
  const int result = ebpf::guarded([&] { return consumer->impl->poll(timeout_ms); });
  if (result == -EPIPE) fail(EPIPE, "the producer is gone");
  if (result == -EINTR) fail(EINTR, "interrupted by a signal");
  if (consumer->impl->close_requested()) delete consumer;
  return result;
}

int ebpf_consumer_fd(const struct ebpf_consumer* consumer) {
  if (consumer == nullptr) return fail(EINVAL, "consumer is NULL");
  return consumer->impl->fd();
}

int ebpf_consumer_stats(const struct ebpf_consumer* consumer, struct ebpf_consumer_stats* stats) {
  if (consumer == nullptr || stats == nullptr) return fail(EINVAL, "consumer or stats is NULL");
  if (stats->size < sizeof stats->size) {
    return fail(EINVAL, "stats.size is too small to hold even itself");
  }
  struct ebpf_consumer_stats full {};
  consumer->impl->fill_stats(full);
  full.size = stats->size < sizeof full ? stats->size : sizeof full;
  std::memcpy(stats, &full, full.size);
  return 0;
}

const char* ebpf_last_error(void) { return ebpf::last_error; }

const char* ebpf_version(void) { return LIBEBPF_VERSION; }

}  // extern "C"
