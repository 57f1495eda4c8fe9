// SPDX-License-Identifier: Apache-2.0
// ebpfctl pcap FILE|-: the trace as packets, for Wireshark and its like.
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "consumer/view/stream_output.h"
#include "ctl/command_line.h"
#include "ctl/format.h"
#include "ctl/output_file.h"
#include "ctl/packets.h"
#include "ctl/record_source.h"
#include "ctl/terminal.h"
#include "libebpf/detail/escape.h"

namespace ebpf::ctl {
namespace {

struct PcapOptions {
  SourceOptions source;
  std::string file;
  bool force = false;
  bool both_sides = false;

  bool to_stdout() const { return file == "-"; }
};

Result<UniqueFd> open_output(const PcapOptions& pcap) {
  if (!pcap.to_stdout()) return create_output(pcap.file, pcap.force);
  if (output_is_terminal()) {
    return Error{kBadOption, "a capture is no text for a terminal: name a file, or pipe it on"};
  }
  UniqueFd fd(::dup(STDOUT_FILENO));
  if (!fd) return Error{EIO, errno_error("cannot use standard output").message};
  return fd;
}

std::string summary(const Options& options, const PcapOptions& pcap, const SourceEnd& end,
                    const PacketMaker& packets) {
  if (pcap.to_stdout()) return "";
  if (!options.json()) {
    return std::to_string(packets.packets()) + " packets in " + escape(pcap.file) + " of " +
           std::to_string(end.records) + " records, " + std::to_string(packets.seen_twice()) +
           " seen at both ends, " + std::to_string(packets.lost()) + " lost\n";
  }
  nlohmann::ordered_json object;
  object["schema_version"] = kSchemaVersion;
  object["file"] = escape(pcap.file);
  object["packets"] = packets.packets();
  object["records"] = end.records;
  object["seen_twice"] = packets.seen_twice();
  object["skipped"] = packets.skipped();
  object["lost"] = packets.lost();
  return object.dump(2) + "\n";
}

Error cannot_write(const PcapOptions& pcap, int code) {
  Error error{EIO, errno_error("cannot write the capture", code).message};
  if (!pcap.to_stdout() && is_regular_file(pcap.file)) error.message += "; " + set_aside(pcap.file);
  return error;
}

Result<Output> pcap(const Options& options, const PcapOptions& pcap) {
  catch_signals();
  auto fd = open_output(pcap);
  if (!fd) return fd.error();
  StreamOutput output(fd->get(), stop_requested());
  PacketMaker packets(pcap.both_sides);
  packets.begin(output.text());
  RecordHandler handler;
  handler.record = [&](const ebpf_record& record) {
    packets.add(output.text(), record);
    output.flush_when_due();
    return !output.failed();
  };
  handler.gap = [&](const ebpf_gap& gap, uint32_t) {
    packets.add_gap(gap);
    return true;
  };
  handler.idle = [&] {
    output.flush();
    return !output.failed();
  };
  auto end = read_records(options, pcap.source, handler);
  if (!end && packets.packets() == 0 && is_regular_file(pcap.file)) ::unlink(pcap.file.c_str());
  if (!end) return end.error();
  packets.end(output.text());
  output.flush();
  if (output.failed()) return cannot_write(pcap, output.error());
  warn_if_cut(pcap.source, *end);
  return Output(summary(options, pcap, *end, packets));
}

}  // namespace

void add_pcap(CLI::App& app, const Options& options, Action& action) {
  auto chosen = std::make_shared<PcapOptions>();
  CLI::App* command = app.add_subcommand("pcap", "records as packets in a pcapng file");
  command->fallthrough();
  command->add_option("FILE", chosen->file, "the file to write (mode 0600); -: standard output")
      ->required()
      ->check(file_name());
  command->add_flag("--force", chosen->force, "replace the file if there is one");
  command->add_flag("--both-sides", chosen->both_sides,
                    "a connection within this host as both of its ends saw it");
  chosen->source.declare_source(*command);
  chosen->source.declare_filter(*command);
  chosen->source.declare_limits(*command);
  command->callback([&, chosen] { action = [&, chosen] { return pcap(options, *chosen); }; });
}

}  // namespace ebpf::ctl
