// SPDX-License-Identifier: Apache-2.0
// The way from a thread to the sock behind one of its descriptors.
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "producer/offset_search_candidates.h"
#include "producer/offset_search_sockets.h"
#include "producer/offset_search_steps.h"

namespace ebpf::search {
namespace {

// Where a pointer stands, and where in what it points to the next thing stands.
struct TwoSteps {
  uint32_t first;
  uint32_t second;
};

// ---- descriptor table ----

// A descriptor, and which open file it stands for: duplicates share `file_id`. An id of -1
// stands for a closed descriptor.
struct KnownFd {
  int fd;
  int file_id;
};

struct TablePath {
  uint32_t task_files, files_fdt, fdt_fd;
  bool operator==(const TablePath&) const = default;
};

// Pipes, duplicates of them, and a hole.
struct TestDescriptors {
  std::vector<UniqueFd> open;
  std::vector<KnownFd> known;

  void add(int fd, int file_id) {
    open.emplace_back(fd);
    known.push_back({fd, file_id});
  }
  Result<> make();
  // Makes the table larger: a duplicate at `at` or above, and above all others, so that the
  // hole stays one. False: the limit forbids it.
  bool grow(int at);
  int highest() const;
};

Result<> TestDescriptors::make() {
  for (int i = 0; i < 3; i++) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe2");
    add(ends[0], 2 * i);
    add(ends[1], 2 * i + 1);
  }
  for (int i = 0; i < 3; i++) {
    int duplicate = fcntl(known[i].fd, F_DUPFD_CLOEXEC, 0);
    if (duplicate < 0) return errno_error("F_DUPFD_CLOEXEC");
    add(duplicate, known[i].file_id);
  }
  known[7].file_id = -1;
  open[7].reset();
  return Unit{};
}

bool TestDescriptors::grow(int at) {
  int duplicate = fcntl(known[0].fd, F_DUPFD_CLOEXEC, std::max(at, highest() + 1));
  if (duplicate < 0) return false;
  add(duplicate, known[0].file_id);
  return true;
}

int TestDescriptors::highest() const {
  return std::max_element(known.begin(), known.end(),
                          [](const KnownFd& a, const KnownFd& b) { return a.fd < b.fd; })
      ->fd;
}

// Whether `array` can be the kernel's array of struct file pointers: duplicates are equal,
// others differ, closed ones are null.
Result<bool> is_fd_array(KernelReader& reader, uint64_t array, const TestDescriptors& descriptors) {
  auto window = reader.read(array, static_cast<uint32_t>(descriptors.highest() + 1) * 8);
  if (!window) return window.error();
  std::vector<uint64_t> files;  // by file_id
  for (const KnownFd& known : descriptors.known) {
    uint64_t file = 0;
    if (!window->get(static_cast<uint32_t>(known.fd) * 8, &file)) return false;
    if (known.file_id < 0) {
      if (file != 0) return false;
      continue;
    }
    if (!reader.is_pointer(file)) return false;
    size_t id = static_cast<size_t>(known.file_id);
    if (id == files.size()) {
      if (std::find(files.begin(), files.end(), file) != files.end()) return false;
      files.push_back(file);
    } else if (files[id] != file) {
      return false;
    }
  }
  return true;
}

// Gives the thread a descriptor table of its own once more, and tells which words of its
// task_struct became another pointer by that: task_struct.files is one of very few.
Result<std::vector<uint32_t>> changed_pointers(KernelReader& reader) {
  // unshare() copies a table only if someone shares it. The holder does, and drops the old
  // one when it ends.
  std::promise<void> done;
  std::thread holder;
  try {
    holder = std::thread([end = done.get_future()] { end.wait(); });
  } catch (const std::system_error& error) {
    return Error{error.code().value(), std::string("starting a thread: ") + error.what()};
  }
  auto before = reader.read(reader.task(), kTaskWindow);
  int error = unshare(CLONE_FILES) == 0 ? 0 : errno;
  auto after = reader.read(reader.task(), kTaskWindow);
  done.set_value();
  holder.join();
  if (error != 0) return errno_error("unshare(CLONE_FILES)", error);
  if (!before) return before.error();
  if (!after) return after.error();

  std::vector<uint32_t> changed;
  for (uint32_t offset = 0; offset < kTaskWindow; offset += 8) {
    uint64_t was, is;
    if (before->get(offset, &was) && after->get(offset, &is) && was != is &&
        reader.is_pointer(was) && reader.is_pointer(is))
      changed.push_back(offset);
  }
  return changed;
}

// Calls visit(offset, pointer) for each word of the window that may be a pointer, until it
// fails.
template <class Visit>
Result<> each_pointer(KernelReader& reader, const Window& window, Visit&& visit) {
  for (uint32_t offset = 0; offset + 8 <= window.bytes.size(); offset += 8) {
    uint64_t value = 0;
    window.get(offset, &value);
    if (!reader.is_pointer(value)) continue;
    if (Result<> visited = visit(offset, value); !visited) return visited;
  }
  return Unit{};
}

Result<std::vector<TablePath>> paths_to_fd_array(KernelReader& reader,
                                                 const std::vector<uint32_t>& task_offsets,
                                                 const TestDescriptors& descriptors) {
  std::vector<TablePath> paths;
  auto task = reader.read(reader.task(), kTaskWindow);
  if (!task) return task.error();
  for (uint32_t task_offset : task_offsets) {
    uint64_t files_struct = 0;
    task->get(task_offset, &files_struct);
    auto files = reader.read(files_struct, kFilesWindow);
    if (!files) return files.error();
    auto walked = each_pointer(reader, *files, [&](uint32_t fdt_at, uint64_t fdt) -> Result<> {
      auto fdtable = reader.read(fdt, kFdtableWindow);
      if (!fdtable) return fdtable.error();
      return each_pointer(reader, *fdtable, [&](uint32_t fd_at, uint64_t array) -> Result<> {
        auto fits = is_fd_array(reader, array, descriptors);
        if (!fits) return fits.error();
        if (*fits) paths.push_back({task_offset, fdt_at, fd_at});
        return Unit{};
      });
    });
    if (!walked) return walked.error();
  }
  return paths;
}

// Follows the path; 0 where that is not possible.
Result<uint64_t> follow(KernelReader& reader, uint64_t start,
                        std::initializer_list<uint32_t> path) {
  uint64_t at = start;
  for (uint32_t offset : path) {
    if (!reader.is_pointer(at)) return uint64_t{0};
    auto window = reader.read(at + offset, 8);
    if (!window) return window.error();
    if (!window->get(0, &at)) return uint64_t{0};
  }
  return at;
}

Result<> keep_matching_paths(KernelReader& reader, const TestDescriptors& descriptors,
                             std::vector<TablePath>* paths) {
  std::vector<TablePath> kept;
  for (const TablePath& path : *paths) {
    auto array = follow(reader, reader.task(), {path.task_files, path.files_fdt, path.fdt_fd});
    if (!array) return array.error();
    auto fits = is_fd_array(reader, *array, descriptors);
    if (!fits) return fits.error();
    if (*fits) kept.push_back(path);
  }
  *paths = kept;
  return Unit{};
}

Result<Window> fdtable_window(SearchState& state, const TablePath& path) {
  auto fdt = follow(state.reader, state.reader.task(), {path.task_files, path.files_fdt});
  if (!fdt) return fdt.error();
  return state.reader.read(*fdt, kFdtableWindow);
}

// fdtable.max_fds is a multiple of 64 above every descriptor. It stays as it is until a
// descriptor does not fit; then it grows to the next size, at most four times as much as
// is needed. (Without these bounds, one half of a pointer or the other might pass.)
void keep_max_fds(const Window& before, const Window& after, int highest, Candidates* field) {
  constexpr uint32_t kMostFds = 1u << 26;
  field->keep_if([&](uint32_t offset) {
    uint32_t was, is;
    if (!before.get(offset, &was) || !after.get(offset, &is)) return false;
    const uint32_t fd = static_cast<uint32_t>(highest);
    if (was > fd) return is == was && is % 64 == 0 && is <= kMostFds;
    return is > fd && is <= 4 * fd && is % 64 == 0;
  });
}

// ---- inode ----

struct KnownFile {
  UniqueFd fd;
  struct stat status {};
};

Result<KnownFile> stat_file(UniqueFd fd) {
  KnownFile file{std::move(fd), {}};
  if (fstat(file.fd.get(), &file.status) != 0) return errno_error("fstat");
  return file;
}

// Pipes with modes of their own, and sockets. Their private data differs, their inodes do
// not, so what holds for all of them is the inode.
Result<std::vector<KnownFile>> make_known_files() {
  std::vector<KnownFile> files;
  for (mode_t mode : {0600, 0214, 0751}) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe2");
    UniqueFd reading(ends[0]), writing(ends[1]);
    // Where a mode cannot be changed, the comparison is with the one that it has.
    [[maybe_unused]] int unchanged = fchmod(reading.get(), mode);
    for (UniqueFd* end : {&reading, &writing}) {
      auto file = stat_file(std::move(*end));
      if (!file) return file.error();
      files.push_back(std::move(*file));
    }
  }
  for (int type : {SOCK_STREAM, SOCK_DGRAM}) {
    auto fd = make_socket(AF_INET, type, 0);
    if (!fd) return fd.error();
    auto file = stat_file(std::move(*fd));
    if (!file) return file.error();
    files.push_back(std::move(*file));
  }
  return files;
}

// Whether the object that `pointer` leads to holds the inode number at `offset`.
Result<bool> holds_inode_number(KernelReader& reader, uint64_t pointer, uint32_t offset,
                                uint64_t number) {
  if (!reader.is_pointer(pointer)) return false;
  auto window = reader.read(pointer + offset, 8);
  if (!window) return window.error();
  return window->holds(0, number);
}

Result<std::vector<TwoSteps>> inode_candidates(KernelReader& reader, const Window& file,
                                               uint64_t number) {
  std::vector<TwoSteps> found;
  auto walked = each_pointer(reader, file, [&](uint32_t at, uint64_t pointer) -> Result<> {
    auto inode = reader.read(pointer, kInodeWindow);
    if (!inode) return inode.error();
    for (uint32_t offset = 0; offset < kInodeWindow; offset += 8)
      if (inode->holds(offset, number)) found.push_back({at, offset});
    return Unit{};
  });
  if (!walked) return walked.error();
  return found;
}

Result<> keep_inode_candidates(KernelReader& reader, const Window& file, uint64_t number,
                               std::vector<TwoSteps>* candidates) {
  std::vector<TwoSteps> kept;
  for (const TwoSteps& candidate : *candidates) {
    uint64_t pointer = 0;
    file.get(candidate.first, &pointer);
    auto holds = holds_inode_number(reader, pointer, candidate.second, number);
    if (!holds) return holds.error();
    if (*holds) kept.push_back(candidate);
  }
  *candidates = kept;
  return Unit{};
}

// ---- socket ----

// Which offsets of `window` hold a pointer to an object with the word `back` in its first
// `reach` bytes.
Result<> keep_pointing_back(KernelReader& reader, const Window& window, uint64_t back,
                            uint32_t reach, uint64_t except, Candidates* field) {
  Error failure;
  field->keep_value<uint64_t>(window, [&](uint64_t pointer) {
    if (!reader.is_pointer(pointer) || pointer == except) return false;
    auto object = reader.read(pointer, reach);
    if (!object) {
      failure = object.error();
      return false;
    }
    for (uint32_t offset = 0; offset < reach; offset += 8)
      if (object->holds(offset, back)) return true;
    return false;
  });
  if (failure.code != 0) return failure;
  return Unit{};
}

}  // namespace

Result<> find_descriptor_table(SearchState& state) {
  constexpr const char* kField = "files_struct.fdt";
  auto task_offsets = changed_pointers(state.reader);
  if (!task_offsets) return field_error("task_struct.files", task_offsets.error());
  TestDescriptors descriptors;
  if (auto made = descriptors.make(); !made) return field_error(kField, made.error());

  auto paths = paths_to_fd_array(state.reader, *task_offsets, descriptors);
  if (!paths) return field_error(kField, paths.error());
  if (paths->empty()) {
    return field_error("task_struct.files",
                       {ENOENT, "none of the " + std::to_string(task_offsets->size()) +
                                    " pointers that unshare(CLONE_FILES) changed leads to the "
                                    "known descriptors"});
  }
  // The array that is built into files_struct can be reached in more than one way; one that
  // was allocated cannot. And the kernel leaves the table of a thread that ended as it was: one of
  // an earlier search may lie beside ours and look like it, unless each search has descriptors
  // of its own.
  std::minstd_rand random(std::random_device{}());
  Candidates max_fds("fdtable.max_fds", 4, kFdtableWindow / 2);
  for (int at : {100, 300, 700, 1500, 3000}) {
    const TablePath path = paths->front();
    const bool is_sure = paths->size() == 1;
    auto before = fdtable_window(state, path);
    if (!before) return field_error("fdtable.max_fds", before.error());
    constexpr uint32_t kSpread = 97;
    if (!descriptors.grow(at + static_cast<int>(random() % kSpread))) break;
    if (auto kept = keep_matching_paths(state.reader, descriptors, &*paths); !kept)
      return field_error(kField, kept.error());
    if (paths->empty()) break;
    // What stands at the end of a wrong way would rule out the right offset.
    if (!is_sure || !(paths->front() == path)) continue;
    auto after = fdtable_window(state, path);
    if (!after) return field_error("fdtable.max_fds", after.error());
    keep_max_fds(*before, *after, descriptors.highest(), &max_fds);
  }
  constexpr const char* kHint = " (RLIMIT_NOFILE must allow some hundred descriptors)";
  if (paths->size() != 1) {
    return field_error(
        kField, {ENOENT, std::to_string(paths->size()) +
                             " ways lead to the known descriptors, one was expected" + kHint});
  }
  state.table.task_files = paths->front().task_files;
  state.table.files_fdt = paths->front().files_fdt;
  state.table.fdt_fd = paths->front().fdt_fd;
  auto stored = max_fds.store(&state.table.fdt_max_fds);
  if (stored) return stored;
  Error error = stored.error();
  error.message += kHint;
  return error;
}

Result<uint64_t> file_of(SearchState& state, int fd) {
  const offsets_table& table = state.table;
  auto array =
      follow(state.reader, state.reader.task(), {table.task_files, table.files_fdt, table.fdt_fd});
  if (!array) return array;
  auto file = follow(state.reader, *array, {static_cast<uint32_t>(fd) * 8});
  if (file && !state.reader.is_pointer(*file))
    return Error{ENOENT, "descriptor " + std::to_string(fd) + " leads to no struct file"};
  return file;
}

Result<uint64_t> socket_of(SearchState& state, int fd) {
  auto file = file_of(state, fd);
  if (!file) return file;
  return follow(state.reader, *file, {state.table.file_private_data});
}

Result<uint64_t> sock_of(SearchState& state, int fd) {
  auto socket = socket_of(state, fd);
  if (!socket) return socket;
  return follow(state.reader, *socket, {state.table.socket_sk});
}

Result<Window> sock_window(SearchState& state, int fd) {
  auto sock = sock_of(state, fd);
  if (!sock) return sock.error();
  return state.reader.read(*sock, kSockWindow);
}

Result<> find_inode(SearchState& state) {
  constexpr const char* kField = "file.f_inode";
  auto files = make_known_files();
  if (!files) return field_error(kField, files.error());
  std::vector<TwoSteps> candidates;
  for (size_t i = 0; i < files->size(); i++) {
    auto file = file_of(state, (*files)[i].fd.get());
    if (!file) return field_error(kField, file.error());
    auto window = state.reader.read(*file, kFileWindow);
    if (!window) return field_error(kField, window.error());
    uint64_t number = (*files)[i].status.st_ino;
    if (i == 0) {
      auto found = inode_candidates(state.reader, *window, number);
      if (!found) return field_error(kField, found.error());
      candidates = std::move(*found);
    } else if (auto kept = keep_inode_candidates(state.reader, *window, number, &candidates);
               !kept) {
      return field_error(kField, kept.error());
    }
  }
  if (candidates.size() != 1) {
    return field_error(
        kField, {ENOENT, std::to_string(candidates.size()) + " ways lead to the inode numbers of " +
                             std::to_string(files->size()) + " known files, one was expected"});
  }
  state.table.file_inode = candidates[0].first;
  state.table.inode_ino = candidates[0].second;

  Candidates mode("inode.i_mode", 2, kInodeWindow);
  for (const KnownFile& known : *files) {
    auto file = file_of(state, known.fd.get());
    if (!file) return field_error("inode.i_mode", file.error());
    auto inode = follow(state.reader, *file, {state.table.file_inode});
    if (!inode) return field_error("inode.i_mode", inode.error());
    auto window = state.reader.read(*inode, kInodeWindow);
    if (!window) return field_error("inode.i_mode", window.error());
    mode.keep(*window, static_cast<uint16_t>(known.status.st_mode));
  }
  return mode.store(&state.table.inode_mode);
}

Result<> find_socket(SearchState& state) {
  Candidates private_data("file.private_data", 8, kFileWindow);
  Candidates sk("socket.sk", 8, kSocketWindow);
  std::vector<UniqueFd> sockets;
  for (int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_STREAM}) {
    auto fd = make_socket(AF_INET, type, 0);
    if (!fd) return field_error("file.private_data", fd.error());
    sockets.push_back(std::move(*fd));
  }
  // struct socket has a pointer back to its file, and struct sock one to its socket.
  for (const UniqueFd& fd : sockets) {
    auto file = file_of(state, fd.get());
    if (!file) return field_error("file.private_data", file.error());
    auto window = state.reader.read(*file, kFileWindow);
    if (!window) return field_error("file.private_data", window.error());
    auto kept =
        keep_pointing_back(state.reader, *window, *file, kSocketWindow, *file, &private_data);
    if (!kept) return field_error("file.private_data", kept.error());
  }
  if (auto found = private_data.store(&state.table.file_private_data); !found) return found;

  for (const UniqueFd& fd : sockets) {
    auto file = file_of(state, fd.get());
    auto socket = socket_of(state, fd.get());
    if (!file || !socket) return field_error("socket.sk", !file ? file.error() : socket.error());
    auto window = state.reader.read(*socket, kSocketWindow);
    if (!window) return field_error("socket.sk", window.error());
    // The file points to the socket as well.
    auto kept = keep_pointing_back(state.reader, *window, *socket, kSockWindow, *file, &sk);
    if (!kept) return field_error("socket.sk", kept.error());
  }
  return sk.store(&state.table.socket_sk);
}

}  // namespace ebpf::search
