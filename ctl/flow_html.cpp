// SPDX-License-Identifier: Apache-2.0
#include "ctl/flow_html.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "consumer/view/format.h"
#include "ctl/flow_text.h"
#include "libebpf/control.h"

namespace ebpf::ctl {
namespace {

constexpr int kColumnPixels = 170;
constexpr int kRowPixels = 40;
constexpr size_t kLineColumns = 100;
constexpr size_t kHopsMax = 400;

constexpr const char* kHead =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<meta name=\"referrer\" content=\"no-referrer\">\n"
    "<title>Flow of a request</title>\n<style>\n"
    ":root{--back:#fff;--text:#1d2733;--soft:#5b6b7c;--line:#c9d3dd;--head:#f1f5f9;"
    "--request:#0b62c4;--response:#157a3c;--other:#8a5300;--warn:#b00020}\n"
    "@media (prefers-color-scheme:dark){:root{--back:#11161c;--text:#e4eaf0;--soft:#93a3b4;"
    "--line:#33404d;--head:#1a222b;--request:#6db3ff;--response:#63d28b;--other:#f0b45a;"
    "--warn:#ff8091}}\n"
    "body{margin:24px;background:var(--back);color:var(--text);"
    "font:14px/1.4 system-ui,'DejaVu Sans',sans-serif}\n"
    "h1{font-size:20px;margin:0 0 4px}h2{font-size:15px;margin:28px 0 4px;"
    "overflow-wrap:anywhere}\n"
    "p{margin:2px 0;color:var(--soft);overflow-wrap:anywhere}.warn{color:var(--warn)}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;margin-top:8px}\n"
    "td,th{padding:0 10px;text-align:left;font-weight:400;white-space:nowrap;"
    "vertical-align:middle}\n"
    "th{background:var(--head);padding:6px 10px;vertical-align:bottom}\n"
    "td.plot,th.plot{padding:0}.names{display:flex}\n"
    ".names span{flex:none;text-align:center;overflow:hidden;text-overflow:ellipsis;"
    "font-weight:600}\n"
    ".names small{display:block;font-weight:400;color:var(--soft)}\n"
    "code{font:12px/1.3 ui-monospace,'DejaVu Sans Mono',monospace}\n"
    "td small{display:block;color:var(--soft);font-size:11px}\n"
    "td.time{text-align:right;font-variant-numeric:tabular-nums}\n"
    "svg{display:block}.life{stroke:var(--line);stroke-width:1}\n"
    ".request{stroke:var(--request);fill:var(--request)}"
    ".response{stroke:var(--response);fill:var(--response)}"
    ".unknown{stroke:var(--other);fill:var(--other)}.shaft{stroke-width:1.6}\n"
    "</style></head><body>\n";

// One vertical line of the diagram: a process, or the far end of a socket that nobody traced.
struct Lifeline {
  std::string key;
  std::string name;
  std::string below;
};

std::string process_name(const SK_BPF_DATA& data) {
  std::string name;
  append_escaped(name, data.process_name,
                 strnlen(reinterpret_cast<const char*>(data.process_name), EBPF_COMM_BYTES),
                 4 * EBPF_COMM_BYTES);
  return name;
}

std::string endpoint(const uint8_t (&address)[16], uint8_t addr_len, uint16_t port) {
  const std::string text = address_text(address, addr_len);
  return (addr_len == 6 ? "[" + text + "]" : text) + ":" + std::to_string(port);
}

Lifeline process_line(const SK_BPF_DATA& data) {
  return {"p" + std::to_string(data.process_id), process_name(data),
          "process " + std::to_string(data.process_id)};
}

Lifeline far_line(const SK_BPF_DATA& data) {
  const std::string name = endpoint(data.tuple.raddr, data.tuple.addr_len, data.tuple.rport);
  return {"f" + name, name, "not traced"};
}

class Diagram {
 public:
  Diagram(const FlowGroup& group, const std::vector<KeptRecord>& records)
      : group_(group), records_(records) {
    shown_ = std::min(group.hops.size(), kHopsMax);
    for (size_t i = 0; i < shown_; ++i) {
      place(sender(group.hops[i]));
      place(receiver(group.hops[i]));
    }
  }

  void append(std::string& out) const {
    out += "<div class=\"wide\"><table><thead><tr><th>ms</th><th class=\"plot\">";
    append_names(out);
    out += "</th><th>message</th></tr></thead><tbody>\n";
    for (size_t i = 0; i < shown_; ++i) append_hop(out, group_.hops[i]);
    out += "</tbody></table></div>\n";
    if (shown_ < group_.hops.size()) {
      out += "<p class=\"warn\">" + std::to_string(group_.hops.size() - shown_) +
             " more hops are not shown.</p>\n";
    }
  }

 private:
  const SK_BPF_DATA& data(size_t at) const { return records_[at].data(); }
  Lifeline sender(const Hop& hop) const {
    return hop.sent ? process_line(data(*hop.sent)) : far_line(data(*hop.received));
  }
  Lifeline receiver(const Hop& hop) const {
    return hop.received ? process_line(data(*hop.received)) : far_line(data(*hop.sent));
  }

  size_t column(const std::string& key) const {
    const auto found = std::find_if(lines_.begin(), lines_.end(),
                                    [&](const Lifeline& line) { return line.key == key; });
    return static_cast<size_t>(found - lines_.begin());
  }
  void place(Lifeline line) {
    if (column(line.key) == lines_.size()) lines_.push_back(std::move(line));
  }
  static int middle(size_t column) {
    return static_cast<int>(column) * kColumnPixels + kColumnPixels / 2;
  }

  void append_names(std::string& out) const {
    out += "<div class=\"names\">";
    for (const Lifeline& line : lines_) {
      out += "<span style=\"width:" + std::to_string(kColumnPixels) + "px\">" +
             html_text(line.name) + "<small>" + html_text(line.below) + "</small></span>";
    }
    out += "</div>";
  }

  void append_hop(std::string& out, const Hop& hop) const {
    const SK_BPF_DATA& shown = data(hop.first());
    char time[32];
    std::snprintf(
        time, sizeof time, "%.3f",
        static_cast<double>(shown.timestamp - data(group_.records.front()).timestamp) / 1000);
    out += "<tr><td class=\"time\">" + std::string(time);
    append_way_time(out, hop);
    out += "</td><td class=\"plot\">";
    append_arrow(out, hop, message_type_name(shown.msg_type));
    out += "</td><td>";
    append_message(out, hop);
    out += "</td></tr>\n";
  }

  // From the end of the sender's call to the end of the receiver's, which may come first.
  void append_way_time(std::string& out, const Hop& hop) const {
    if (!hop.sent || !hop.received) return;
    const auto way = static_cast<int64_t>(data(*hop.received).timestamp) -
                     static_cast<int64_t>(data(*hop.sent).timestamp);
    char text[48];
    std::snprintf(text, sizeof text, "<small>%+.3f</small>", static_cast<double>(way) / 1000);
    out += text;
  }

  void append_arrow(std::string& out, const Hop& hop, const char* kind) const {
    const int from = middle(column(sender(hop).key));
    const int to = middle(column(receiver(hop).key));
    const int width = static_cast<int>(lines_.size()) * kColumnPixels;
    char text[256];
    std::snprintf(text, sizeof text, "<svg width=\"%d\" height=\"%d\" role=\"img\">", width,
                  kRowPixels);
    out += text;
    for (size_t i = 0; i < lines_.size(); ++i) {
      std::snprintf(text, sizeof text,
                    "<line class=\"life\" x1=\"%d\" y1=\"0\" x2=\"%d\" y2=\"%d\"/>", middle(i),
                    middle(i), kRowPixels);
      out += text;
    }
    const int y = kRowPixels / 2;
    if (from == to) {  // a process that talks to itself
      std::snprintf(text, sizeof text,
                    "<path class=\"%s shaft\" style=\"fill:none\" d=\"M%d %dh36v14h-30\"/>", kind,
                    from, y - 7);
      out += text;
      append_head(out, kind, to, y + 7, -1);
    } else {
      const int way = to > from ? 1 : -1;
      std::snprintf(text, sizeof text,
                    "<line class=\"%s shaft\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>", kind,
                    from, y, to - 6 * way, y);
      out += text;
      append_head(out, kind, to, y, way);
    }
    out += "</svg>";
  }

  static void append_head(std::string& out, const char* kind, int x, int y, int way) {
    char text[128];
    std::snprintf(text, sizeof text, "<path class=\"%s\" d=\"M%d %dl%d -5v10z\"/>", kind, x, y,
                  -9 * way);
    out += text;
  }

  void append_message(std::string& out, const Hop& hop) const {
    const ebpf_record& record = records_[hop.first()].get();
    std::string line;
    append_first_line(line, ebpf_record_payload(&record), record.data.cap_len, kLineColumns);
    out += "<code>" + html_text(line.empty() ? "(no text)" : line) + "</code><small>";
    out += html_text(std::string(ebpf_protocol_name(record.data.l7_protocal_hint)) + " " +
                     message_type_name(record.data.msg_type) + ", " +
                     std::to_string(record.data.syscall_len) + " bytes");
    if (hop.sent) append_end(out, "sent", data(*hop.sent));
    if (hop.received) append_end(out, "received", data(*hop.received));
    out += "</small>";
  }

  static void append_end(std::string& out, const char* what, const SK_BPF_DATA& end) {
    out += std::string(" &middot; ") + what + " at " +
           html_text(endpoint(end.tuple.laddr, end.tuple.addr_len, end.tuple.lport)) + " socket " +
           std::to_string(end.socket_id) + " thread " + std::to_string(end.thread_id) + " trace " +
           std::to_string(end.syscall_trace_id_call);
  }

  const FlowGroup& group_;
  const std::vector<KeptRecord>& records_;
  std::vector<Lifeline> lines_;
  size_t shown_ = 0;
};

std::string utc_text(uint64_t timestamp_us) {
  const auto seconds = static_cast<time_t>(timestamp_us / 1000000);
  tm utc{};
  char text[64] = "?";
  if (gmtime_r(&seconds, &utc) == nullptr || utc.tm_year > 8000) return text;
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc);
  char rest[16];
  std::snprintf(rest, sizeof rest, ".%06u UTC", static_cast<unsigned>(timestamp_us % 1000000));
  return std::string(text) + rest;
}

void append_section(std::string& out, const FlowGroup& group,
                    const std::vector<KeptRecord>& records) {
  out += "<h2>" + html_text(group_title(group, records)) + "</h2>\n<p>" +
         utc_text(records[group.records.front()].data().timestamp) + " &middot; trace ids";
  for (const uint64_t id : group.trace_ids) out += " " + std::to_string(id);
  out += group.trace_ids.empty() ? " none</p>\n" : "</p>\n";
  Diagram(group, records).append(out);
}

}  // namespace

std::string html_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (byte >= 0x20 && byte < 0x7f) {
          out += c;
        } else {
          append_escaped(out, &byte, 1, 4);
        }
    }
  }
  return out;
}

std::string flow_html(const FlowPage& page, const std::vector<FlowGroup>& groups,
                      const std::vector<KeptRecord>& records) {
  std::string out = kHead;
  out += "<h1>Flow of " + std::string(groups.size() == 1 ? "a request" : "requests") +
         "</h1>\n<p>From " + html_text(page.source) +
         ". Times are those at which the system calls ended; below them, in smaller type, how much "
         "later the message was received.</p>\n";
  if (page.lost > 0) {
    out += "<p class=\"warn\">" + std::to_string(page.lost) +
           " records of this trace were lost: hops may be missing.</p>\n";
  }
  for (const FlowGroup& group : groups) append_section(out, group, records);
  if (page.groups_left > 0) {
    out += "<p class=\"warn\">" + std::to_string(page.groups_left) +
           " more requests are not shown.</p>\n";
  }
  return out + "</body></html>\n";
}

}  // namespace ebpf::ctl
