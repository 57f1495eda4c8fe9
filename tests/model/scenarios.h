// SPDX-License-Identifier: Apache-2.0
// What is explored: small casts of writer, consumers and control thread.
#pragma once

#include "tests/model/actors.h"

namespace ebpf::model {

// What all have in common.
template <class Derived, class S, int threads, uint32_t page_count>
struct Scenario : rl::test_suite<Derived, threads> {
  using Shape = S;

  static void prepare() {
    bookkeeping = Bookkeeping::of<threads>();
    Writer<S, page_count>::prepare();
  }

  void before() {
    ring.init();
    slots.init();
    writer.init(ring, slots);
    control.init(slots);
  }
  void after() { writer.check_pool(); }

  // `records` on each lane, in turn, published `burst` by burst; the last burst is left to
  // who calls.
  void write(uint32_t records, uint32_t burst, bool wake) {
    for (uint32_t i = 1; i <= records; ++i) {
      for (uint32_t lane = 0; lane < S::kLanes; ++lane) writer.append(lane);
      if (i % burst == 0 && i != records) writer.flush(wake, true);
    }
  }
  // Publishes the last burst. As the drain, which comes back where a wake-up had to wait.
  void flush_last() {
    if (writer.flush(true, true)) writer.flush(true, false);
  }

  Ring<S> ring;
  Slots<S, page_count> slots;
  Writer<S, page_count> writer;
  Control<S, page_count> control;
};

// Consumers that were there from the start read until the ring has ended, while it goes
// round: retiring against pinning, lapping and resuming, the exact account at the end.
template <class S, uint32_t records, uint32_t burst, uint32_t polls>
struct Reading : Scenario<Reading<S, records, burst, polls>, S, 1 + S::kSlots, S::kSlots> {
  void before() {
    Scenario<Reading, S, 1 + S::kSlots, S::kSlots>::before();
    for (uint32_t slot = 0; slot < S::kSlots; ++slot) this->control.attach([](uint32_t) {});
  }

  void thread(unsigned index) {
    if (index == 0) {
      this->write(records, burst, false);
      this->writer.end();
      return;
    }
    Agent<S> agent(this->ring, this->slots.pages[index - 1], Fuse{}, Join::kFirst);
    const bool finished = agent.read_to_end(polls);
    for (uint32_t lane = 0; lane < S::kLanes && finished; ++lane) {
      RL_ASSERT(agent.next_seq(lane) == records);
    }
    agent.leave();
  }
};

// Consumers that sleep when there is nothing to read; who is not woken sleeps for ever, and
// that is a deadlock. The first one by futex, the others by doorbell.
template <class S, uint32_t records, uint32_t burst>
struct Sleeping : Scenario<Sleeping<S, records, burst>, S, 1 + S::kSlots, S::kSlots> {
  void before() {
    Scenario<Sleeping, S, 1 + S::kSlots, S::kSlots>::before();
    for (uint32_t slot = 0; slot < S::kSlots; ++slot) this->control.attach([](uint32_t) {});
  }

  void thread(unsigned index) {
    if (index == 0) {
      this->write(records, burst, true);
      this->flush_last();
      return;
    }
    Agent<S> agent(this->ring, this->slots.pages[index - 1], Fuse{}, Join::kFirst);
    agent.read_and_sleep(index == 1 ? Sleep::kFutex : Sleep::kDoorbell, records);
    agent.leave();
  }
};

// Consumers come while the writer is at work, by way of the control thread, and go: in
// order, or killed at any step with their pins set. The next one takes the same slot.
template <class S, uint32_t clients, uint32_t lives, uint32_t records, Sleep how>
struct Coming : Scenario<Coming<S, clients, lives, records, how>, S, 2 + clients, clients * lives> {
  using Base = Scenario<Coming, S, 2 + clients, clients * lives>;

  void before() {
    Base::before();
    calls.init();
    for (Client& client : client_) client.answer.init();
  }

  void thread(unsigned index) {
    if (index == 0) {
      this->write(records, 1, how != Sleep::kNever);
      this->flush_last();
      return;
    }
    if (index == 1) return serve();
    live(client_[index - 2]);
  }

 private:
  // What is read from a client's connections, together with the call that it is there.
  struct Said {
    bool gone = false;
    bool asks = false;
  };
  struct Client {
    Said said;
    uint32_t slot = 0;
    uint32_t page = 0;
    Socket answer;
    bool may_resume = false;
    typename Agent<S>::Points points;
  };

  // The control thread: sees who wants to join, and whose connection has hung up.
  void serve() {
    for (uint32_t left = clients * lives; left > 0;) {
      calls.wait_readable();
      calls.drain();
      Said said[clients];
      for (uint32_t i = 0; i < clients; ++i) said[i] = std::exchange(client_[i].said, Said{});
      for (uint32_t i = 0; i < clients; ++i) {
        Client& client = client_[i];
        if (said[i].gone) {
          this->control.detach(client.slot);
          --left;
        }
        if (said[i].asks) {
          client.slot = this->control.attach([&](uint32_t page) {
            client.page = page;
            client.answer.send();
          });
        }
      }
      this->control.collect();
    }
    this->control.collect();
  }

  void live(Client& client) {
    for (uint32_t life = 0; life < lives; ++life) {
      calls.send();
      client.said.asks = true;
      client.answer.wait_readable();
      client.answer.drain();
      if (how == Sleep::kNever) {
        read_or_die(client);
      } else {
        Agent<S> agent(this->ring, this->slots.pages[client.page], Fuse{}, Join::kOldest);
        agent.read_and_sleep(how, records);
        agent.leave();
      }
      calls.send();
      client.said.gone = true;
    }
  }

  // Killed at any step, or cut off in good health: then the next life may go on from there.
  void read_or_die(Client& client) {
    constexpr uint32_t kMostSteps = 12;
    const Fuse fuse{rl::rand(kMostSteps)};
    const bool may_resume = std::exchange(client.may_resume, false);
    static constexpr Join kJoins[] = {Join::kTail, Join::kOldest, Join::kResume};
    const Join join = kJoins[rl::rand(may_resume ? 3 : 2)];
    try {
      Agent<S> agent(this->ring, this->slots.pages[client.page], fuse, join, client.points);
      agent.read_to_end(3);
      client.points = agent.resume_points();
      client.may_resume = true;
      if (rl::rand(2) == 0) agent.leave();
    } catch (const Killed&) {
    }
  }

  Socket calls;
  Client client_[clients];
};

}  // namespace ebpf::model
