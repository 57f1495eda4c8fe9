// SPDX-License-Identifier: Apache-2.0
#include "producer/offsets_btf.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cstring>
#include <memory>
#include <optional>

#include "producer/libbpf_log.h"

namespace ebpf {
namespace {

constexpr const char* kKernelBtf = "/sys/kernel/btf/vmlinux";
constexpr uint32_t kDepthMax = 8;  // nested anonymous structs and unions

struct Row {
  const char* name;    // for people
  const char* type;    // struct
  const char* member;  // direct, or within anonymous members
  const char* inner;   // member of that member's struct, or nullptr
};

constexpr const char* kProtocolBytesName = "sock.sk_protocol (bytes)";

// In the order of struct offsets_table.
constexpr std::array<Row, OFFSETS_TABLE_ENTRIES> kRows = {{
    {"task_struct.files", "task_struct", "files", nullptr},
    {"files_struct.fdt", "files_struct", "fdt", nullptr},
    {"fdtable.max_fds", "fdtable", "max_fds", nullptr},
    {"fdtable.fd", "fdtable", "fd", nullptr},
    {"file.f_inode", "file", "f_inode", nullptr},
    {"file.private_data", "file", "private_data", nullptr},
    {"inode.i_mode", "inode", "i_mode", nullptr},
    {"inode.i_ino", "inode", "i_ino", nullptr},
    {"socket.sk", "socket", "sk", nullptr},
    {"sock.skc_family", "sock", "__sk_common", "skc_family"},
    {"sock.skc_state", "sock", "__sk_common", "skc_state"},
    {"sock.skc_daddr", "sock", "__sk_common", "skc_daddr"},
    {"sock.skc_rcv_saddr", "sock", "__sk_common", "skc_rcv_saddr"},
    {"sock.skc_dport", "sock", "__sk_common", "skc_dport"},
    {"sock.skc_num", "sock", "__sk_common", "skc_num"},
    {"sock.skc_v6_daddr", "sock", "__sk_common", "skc_v6_daddr"},
    {"sock.skc_v6_rcv_saddr", "sock", "__sk_common", "skc_v6_rcv_saddr"},
    {"sock.sk_flags", "sock", "__sk_common", "skc_flags"},
    {"sock.sk_protocol", "sock", "sk_protocol", nullptr},
    {kProtocolBytesName, "sock", "sk_protocol", nullptr},
    {"sock.sk_type", "sock", "sk_type", nullptr},
    {"tcp_sock.copied_seq", "tcp_sock", "copied_seq", nullptr},
    {"tcp_sock.write_seq", "tcp_sock", "write_seq", nullptr},
    {"tcp_sock.rcv_nxt", "tcp_sock", "rcv_nxt", nullptr},
}};

struct Found {
  uint32_t bit_offset;
  uint32_t bits;  // of a bit field, else 0
  uint32_t type;
};

class Btf {
 public:
  explicit Btf(btf* raw) : btf_(raw, btf__free) {}

  std::optional<Found> find(const char* type, const char* member) const {
    const int id = btf__find_by_name_kind(btf_.get(), type, BTF_KIND_STRUCT);
    if (id < 0) return std::nullopt;
    return find_in(static_cast<uint32_t>(id), member, kDepthMax);
  }

  std::optional<Found> find_in(uint32_t id, const char* member, uint32_t depth) const {
    const btf_type* type = skip(id);
    if (!type || !btf_is_composite(type) || depth == 0) return std::nullopt;
    const btf_member* members = btf_members(type);
    for (uint32_t i = 0; i < btf_vlen(type); i++) {
      const char* name = btf__name_by_offset(btf_.get(), members[i].name_off);
      const uint32_t at = btf_member_bit_offset(type, i);
      if (name && std::strcmp(name, member) == 0) {
        return Found{at, btf_member_bitfield_size(type, i), members[i].type};
      }
      if (name && *name) continue;
      if (auto inner = find_in(members[i].type, member, depth - 1)) {
        inner->bit_offset += at;
        return inner;
      }
    }
    return std::nullopt;
  }

  // Bytes of a type; 0 if it has none.
  uint32_t size_of(uint32_t id) const {
    const auto size = btf__resolve_size(btf_.get(), id);
    return size > 0 ? static_cast<uint32_t>(size) : 0;
  }

 private:
  const btf_type* skip(uint32_t id) const {
    const btf_type* type = btf__type_by_id(btf_.get(), id);
    while (type && (btf_is_mod(type) || btf_is_typedef(type))) {
      type = btf__type_by_id(btf_.get(), type->type);
    }
    return type;
  }

  std::unique_ptr<btf, void (*)(btf*)> btf_;
};

std::optional<Found> find_row(const Btf& btf, const Row& row) {
  const auto outer = btf.find(row.type, row.member);
  if (!outer || !row.inner) return outer;
  auto inner = btf.find_in(outer->type, row.inner, kDepthMax);
  if (inner) inner->bit_offset += outer->bit_offset;
  return inner;
}

Error not_found(const char* where, const char* what) {
  return {ENOENT, std::string("BTF of ") + where + " has no " + what};
}

}  // namespace

const std::array<const char*, OFFSETS_TABLE_ENTRIES>& offset_names() {
  static const auto names = [] {
    std::array<const char*, OFFSETS_TABLE_ENTRIES> all{};
    for (size_t i = 0; i < all.size(); i++) all[i] = kRows[i].name;
    return all;
  }();
  return names;
}

Result<offsets_table> offsets_from_btf(const std::string& path, const LogSink& log) {
  const LibbpfLog libbpf_log(log);
  const char* where = path.empty() ? kKernelBtf : path.c_str();
  btf* raw = btf__parse(where, nullptr);
  if (!raw) {
    const int code = errno;
    Error error = libbpf_error(std::string("cannot read BTF from ") + where, code);
    if (path.empty() && code == ENOENT) error.message += " (CONFIG_DEBUG_INFO_BTF)";
    return error;
  }
  const Btf btf(raw);
  std::array<uint32_t, OFFSETS_TABLE_ENTRIES> values{};
  for (size_t i = 0; i < kRows.size(); i++) {
    const auto found = find_row(btf, kRows[i]);
    if (!found) return not_found(where, kRows[i].name);
    if (kRows[i].name == kProtocolBytesName) {
      const uint32_t bytes = found->bits ? found->bits / 8 : btf.size_of(found->type);
      if (bytes != 1 && bytes != 2) return not_found(where, kRows[i].name);
      values[i] = bytes;
    } else if (found->bit_offset % 8 != 0) {
      return not_found(where, kRows[i].name);
    } else {
      values[i] = found->bit_offset / 8;
    }
  }
  offsets_table table;
  static_assert(sizeof(table) == sizeof(values));
  std::memcpy(&table, values.data(), sizeof(table));
  return table;
}

}  // namespace ebpf
