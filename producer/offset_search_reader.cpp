// SPDX-License-Identifier: Apache-2.0
#include "producer/offset_search_reader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "libebpf/detail/unique_fd.h"
#include "producer/bpf_rights.h"
#include "producer/libbpf_log.h"

extern "C" const unsigned char ebpf_object_offset_search_start[], ebpf_object_offset_search_end[];

namespace ebpf::search {
namespace {

constexpr size_t kPageBytes = 4096;  // the least there is; one byte of it is touched

Error refused(const std::string& what, int code) {
  Error error = errno_error(what, code);
  if (const std::string why = explain_refusal(code); !why.empty())
    error.message += " (" + why + ")";
  return error;
}

UniqueFd open_fault_event() {
  perf_event_attr attr{};
  attr.size = PERF_ATTR_SIZE_VER0;
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_PAGE_FAULTS;
  attr.sample_period = 1;
  // pid 0, cpu -1: this thread, wherever it runs; not inherited.
  return UniqueFd(
      static_cast<int>(syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)));
}

}  // namespace

void KernelReader::ObjectDeleter::operator()(bpf_object* object) const {
  bpf_object__close(object);
}
void KernelReader::LinkDeleter::operator()(bpf_link* link) const { bpf_link__destroy(link); }

Result<std::unique_ptr<KernelReader>> KernelReader::open(const LogSink& log) {
  std::unique_ptr<KernelReader> reader(new KernelReader);
  raise_memlock_limit(log);
  if (auto loaded = reader->load(log); !loaded) return loaded.error();
  if (auto attached = reader->attach(); !attached) return attached.error();
  // Any address will do to learn where our own task_struct is.
  if (auto asked = reader->ask(0, 0); !asked) return asked.error();
  reader->task_ = reader->answer_.task;
  return reader;
}

KernelReader::~KernelReader() {
  if (page_ != nullptr) munmap(page_, kPageBytes);
}

Result<> KernelReader::load(const LogSink& log) {
  const LibbpfLog libbpf_log(log);
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "offset_search");
  size_t size = ebpf_object_offset_search_end - ebpf_object_offset_search_start;
  object_.reset(bpf_object__open_mem(ebpf_object_offset_search_start, size, &options));
  if (!object_) return errno_error("opening the BPF object of the search");
  if (int error = bpf_object__load(object_.get()); error != 0) {
    Error failure = refused("loading the BPF program of the search", -error);
    if (const std::string said = libbpf_log.last_words(); !said.empty())
      failure.message += ": " + said;
    return failure;
  }
  request_fd_ = bpf_object__find_map_fd_by_name(object_.get(), "request_map");
  answer_fd_ = bpf_object__find_map_fd_by_name(object_.get(), "answer_map");
  if (request_fd_ < 0 || answer_fd_ < 0)
    return Error{EINVAL, "the BPF object of the search lacks request_map or answer_map"};
  return Unit{};
}

Result<> KernelReader::attach() {
  void* page =
      mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return errno_error("mapping a page");
  page_ = static_cast<char*>(page);
  munlock(page_, kPageBytes);  // mlockall(MCL_FUTURE) would forbid MADV_DONTNEED

  UniqueFd event = open_fault_event();
  if (!event) return refused("perf_event_open for the page faults of this thread", errno);
  bpf_program* program = bpf_object__find_program_by_name(object_.get(), "copy_kernel_memory");
  if (program == nullptr) return Error{EINVAL, "the BPF object of the search has no program"};
  link_.reset(bpf_program__attach_perf_event(program, event.get()));
  if (!link_)
    return refused("attaching the BPF program of the search to a page fault event", errno);
  event.release();  // the link closes it
  return Unit{};
}

Result<> KernelReader::ask(uint64_t address, uint32_t piece_count) {
  // The kernel skips a run while another program is active on this CPU; where programs can be
  // preempted, that lasts until the other thread runs again.
  constexpr int kAttempts = 20;
  constexpr int kAttemptsAtOnce = 8;
  const uint32_t zero = 0;
  offset_search_request request = {address, piece_count, ++sequence_};
  if (bpf_map_update_elem(request_fd_, &zero, &request, BPF_ANY) != 0)
    return errno_error("writing the request of the search");
  for (int i = 0; i < kAttempts; i++) {
    if (madvise(page_, kPageBytes, MADV_DONTNEED) != 0) return errno_error("madvise");
    *static_cast<volatile char*>(page_) = 1;
    if (bpf_map_lookup_elem(answer_fd_, &zero, &answer_) != 0)
      return errno_error("reading the answer of the search");
    if (answer_.sequence == sequence_) return Unit{};
    if (i >= kAttemptsAtOnce) usleep(2000);
  }
  return Error{EIO, "the BPF program of the search does not run on page faults of its thread"};
}

Result<Window> KernelReader::read(uint64_t address, uint32_t size_bytes) {
  Window window{address, {}};
  const uint64_t end = address + size_bytes;
  uint64_t at = address - address % OFFSET_SEARCH_PIECE_BYTES;
  while (at < end) {
    uint64_t wanted = (end - at + OFFSET_SEARCH_PIECE_BYTES - 1) / OFFSET_SEARCH_PIECE_BYTES;
    uint32_t pieces = static_cast<uint32_t>(std::min<uint64_t>(wanted, OFFSET_SEARCH_PIECES));
    if (auto asked = ask(at, pieces); !asked) return asked.error();
    for (uint32_t i = 0; i < pieces; i++, at += OFFSET_SEARCH_PIECE_BYTES) {
      if (answer_.errors[i] != 0) return window;
      const uint8_t* piece = answer_.bytes + i * OFFSET_SEARCH_PIECE_BYTES;
      uint64_t skip = at < address ? address - at : 0;
      uint64_t count = std::min<uint64_t>(end - at, OFFSET_SEARCH_PIECE_BYTES);
      window.bytes.insert(window.bytes.end(), piece + skip, piece + count);
    }
  }
  return window;
}

bool KernelReader::is_pointer(uint64_t value) const {
  // 48-bit addresses, or 57-bit ones where task_struct itself needs more than 48.
  constexpr uint64_t kHalf48 = 0xffff800000000000ull;
  constexpr uint64_t kHalf57 = 0xff00000000000000ull;
  constexpr uint64_t kErrorPointers = 0xfffffffffffff000ull;
  const uint64_t lowest = task_ >= kHalf48 ? kHalf48 : kHalf57;
  return value % 8 == 0 && value >= lowest && value < kErrorPointers;
}

}  // namespace ebpf::search
