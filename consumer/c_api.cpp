// SPDX-License-Identifier: Apache-2.0
// The C ABI: checks what the caller gives, keeps exceptions inside, remembers the last
// error of each thread.
#include <errno.h>

#include <algorithm>
#include <cstddef>
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

// The options as this library knows them, from a caller whose header may be older (what it
// does not have yet is zero) or newer.
Result<ebpf_consumer_options> take_options(const ebpf_consumer_options& given) {
  const size_t known = sizeof given;
  const size_t least = offsetof(ebpf_consumer_options, filter);  // the first version
  if (given.size < least || given.size % sizeof(void*) != 0 || given.size > kOptionsBytesMax) {
    return Error{EINVAL, "options.size is " + std::to_string(given.size) +
                             ", expected sizeof(struct ebpf_consumer_options), " +
                             std::to_string(known)};
  }
  if (!rest_is_zero(&given, known, given.size)) {
    return Error{EINVAL, "the options hold settings that this library does not know"};
  }
  ebpf_consumer_options options{};
  std::memcpy(&options, &given, std::min(known, given.size));
  return options;
}

// Of one epoch, each lane at most once.
Result<> check_positions(const ebpf_consumer_options& options) {
  const bool resume = options.from == EBPF_FROM_RESUME;
  if (!resume && (options.positions != nullptr || options.position_count != 0)) {
    return Error{EINVAL, "options.positions are for EBPF_FROM_RESUME only"};
  }
  if (!resume) return Unit{};
  if (options.positions == nullptr || options.position_count == 0 ||
      options.position_count > EBPF_LANES_MAX) {
    return Error{EINVAL, "options.position_count is " + std::to_string(options.position_count) +
                             ", EBPF_FROM_RESUME takes 1 to " + std::to_string(EBPF_LANES_MAX)};
  }
  uint64_t seen = 0;
  for (size_t i = 0; i < options.position_count; ++i) {
    const ebpf_position& position = options.positions[i];
    const bool known_lane = position.lane < EBPF_LANES_MAX;
    if (!known_lane || (seen >> position.lane & 1) != 0 || position.epoch == 0 ||
        position.epoch != options.positions[0].epoch) {
      return Error{EINVAL, "options.positions[" + std::to_string(i) + "] is lane " +
                               std::to_string(position.lane) + " of epoch " +
                               std::to_string(position.epoch) +
                               ", expected each lane once, all of one epoch"};
    }
    seen |= 1ull << position.lane;
  }
  return Unit{};
}

Result<> check_options(const ebpf_consumer_options& options) {
  if (options.on_record == nullptr) return Error{EINVAL, "options.on_record is NULL"};
  if (options.from > EBPF_FROM_RESUME) {
    return Error{EINVAL, "options.from is " + std::to_string(options.from) +
                             ", expected EBPF_FROM_TAIL, EBPF_FROM_OLDEST or EBPF_FROM_RESUME"};
  }
  if ((options.flags & ~EBPF_NO_REATTACH) != 0) {
    return Error{EINVAL, "options.flags holds unknown flags: " + std::to_string(options.flags)};
  }
  if (options.reserved != 0) return Error{EINVAL, "options.reserved is not 0"};
  if (options.name != nullptr && strnlen(options.name, EBPF_COMM_BYTES) == EBPF_COMM_BYTES) {
    return Error{EINVAL, "options.name is longer than 15 bytes"};
  }
  return check_positions(options);
}

std::string socket_path(const char* asked) {
  if (asked != nullptr) return asked;
  const char* named = std::getenv(EBPF_SOCKET_ENV);
  return named != nullptr && *named != '\0' ? named : EBPF_SOCKET_DEFAULT;
}

Result<ConsumerConfig> make_config(const ebpf_consumer_options& options) {
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
  if (options.filter != nullptr) {
    auto filter = RecordFilter::create(*options.filter);
    if (!filter) return filter.error();
    config.filter = std::move(*filter);
  }
  for (size_t i = 0; i < options.position_count; ++i) {
    const ebpf_position& position = options.positions[i];
    config.resume_epoch = position.epoch;
    config.resume_points.push_back(
        {position.lane, 0, {position.segment, position.offset, 0, false}, position.seq});
  }
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
    auto taken = ebpf::take_options(*options);
    if (!taken) return fail(taken.error());
    if (auto ok = ebpf::check_options(*taken); !ok) return fail(ok.error());
    auto config = ebpf::make_config(*taken);
    if (!config) return fail(config.error());
    auto handle = std::make_unique<ebpf_consumer>();
    auto opened = ebpf::Consumer::open(std::move(*config));
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
  if (result == -EPIPE) {
    ebpf::guarded([&] { return fail(EPIPE, consumer->impl->end_text().c_str()); });
  }
  if (result == -EINTR) fail(EINTR, "interrupted by a signal");
  if (consumer->impl->close_requested()) delete consumer;
  return result;
}

int ebpf_consumer_fd(const struct ebpf_consumer* consumer) {
  if (consumer == nullptr) return fail(EINVAL, "consumer is NULL");
  return consumer->impl->fd();
}

int ebpf_consumer_positions(const struct ebpf_consumer* consumer, struct ebpf_position* positions,
                            size_t capacity) {
  if (consumer == nullptr) return fail(EINVAL, "consumer is NULL");
  if (positions == nullptr && capacity != 0) return fail(EINVAL, "positions is NULL");
  return ebpf::guarded([&] {
    const std::vector<ebpf_position> all = consumer->impl->positions();
    std::copy_n(all.begin(), std::min(capacity, all.size()), positions);
    return static_cast<int>(all.size());
  });
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
