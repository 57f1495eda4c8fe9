// SPDX-License-Identifier: Apache-2.0
#include "tracer/embedded_producer.h"

#include <sys/eventfd.h>

namespace ebpf {

Result<std::unique_ptr<EmbeddedProducer>> EmbeddedProducer::create(const ProducerOptions& options,
                                                                   const LogSink& log) {
  UniqueFd stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop) return errno_error("cannot make an eventfd");
  StartError why{};
  auto producer = Producer::create(options, log, &why);
  if (!producer) return why.error;
  return std::unique_ptr<EmbeddedProducer>(
      new EmbeddedProducer(std::move(producer), std::move(stop)));
}

EmbeddedProducer::EmbeddedProducer(std::unique_ptr<Producer> producer, UniqueFd stop)
    : producer_(std::move(producer)), stop_(std::move(stop)) {
  control_thread_ = std::thread([this] { producer_->run(stop_.get()); });
}

EmbeddedProducer::~EmbeddedProducer() {
  eventfd_write(stop_.get(), 1);
  control_thread_.join();
}

}  // namespace ebpf
