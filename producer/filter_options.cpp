// SPDX-License-Identifier: Apache-2.0
#include "producer/filter_options.h"

namespace ebpf {
namespace {

// An option whose text is parsed into *list; what is wrong with it becomes the usage error.
template <class List>
void add_list(CLI::App& app, const char* name, const char* type, const char* help, List* list,
              Result<List> (*parse)(const std::string&)) {
  app.add_option_function<std::string>(
         name,
         [=](const std::string& text) {
           auto parsed = parse(text);
           if (!parsed) {
             const bool is_list = text.find(',') != std::string::npos;
             throw CLI::ValidationError(std::string(name) + ": " + parsed.error().message +
                                        (is_list ? " in '" + text + "'" : ""));
           }
           *list = std::move(*parsed);
         },
         help)
      ->type_name(type);
}

}  // namespace

void add_filter_options(CLI::App& app, TracerFilters& filters) {
  add_list(app, "--protocols", "LIST",
           "Protocols to recognise: http1, http2, dubbo, mysql, redis, kafka, dns; all by default",
           &filters.protocols, parse_protocols);
  add_list(app, "--allow-ports", "LIST", "Capture only these local or remote ports: 80,8000-8100",
           &filters.allow_ports, parse_ports);
  add_list(app, "--deny-ports", "LIST", "Do not capture these local or remote ports",
           &filters.deny_ports, parse_ports);
  add_list(app, "--allow-pids", "LIST", "Capture only these processes", &filters.allow_pids,
           parse_pids);
  add_list(app, "--deny-pids", "LIST", "Do not capture these processes", &filters.deny_pids,
           parse_pids);
  add_list(app, "--allow-names", "LIST", "Capture only threads of these names",
           &filters.allow_names, parse_names);
  add_list(app, "--deny-names", "LIST", "Do not capture threads of these names",
           &filters.deny_names, parse_names);
}

}  // namespace ebpf
