// SPDX-License-Identifier: Apache-2.0
//! The crate on a real ring, over the real C library. HOSTILE_RING names the program that serves
//! one (rust/tests/hostile_ring.cpp; ctest sets it); without it these tests are left out.

use libebpf::{Consumer, Direction, End, Error, Event, Filter, StartFrom};
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::os::unix::io::{AsFd, AsRawFd};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const RECORDS: u64 = 500;
const SHORT: Option<Duration> = Some(Duration::from_millis(20));

/// A producer that published RECORDS records and gaps, and serves them until it is dropped.
struct Ring {
    process: Child,
    socket: PathBuf,
}

impl Ring {
    fn start(name: &str) -> Option<Ring> {
        let program = match std::env::var_os("HOSTILE_RING") {
            Some(program) => program,
            None => {
                eprintln!("left out: HOSTILE_RING is not set");
                return None;
            }
        };
        let file = format!("libebpf-{}-{}.sock", std::process::id(), name);
        let socket = std::env::temp_dir().join(file);
        let mut process = Command::new(program)
            .arg(&socket)
            .arg(RECORDS.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the ring's program starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Some(Ring { process, socket })
    }

    fn consumer(&self) -> Consumer {
        let builder = Consumer::builder()
            .socket(&self.socket)
            .name("test")
            .no_reattach();
        builder.from(StartFrom::Oldest).open().expect("it opens")
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn drain(consumer: &mut Consumer) -> (u64, u64) {
    let (mut records, mut gaps) = (0, 0);
    loop {
        let count = consumer.poll(SHORT, |event| match event {
            Event::Record(record) => {
                assert_eq!(record.payload().len() as u32, record.raw().data.cap_len);
                records += 1;
            }
            Event::Gap(_) => gaps += 1,
        });
        if count.unwrap() == 0 {
            return (records, gaps);
        }
    }
}

fn assert_accounted(consumer: &Consumer) {
    let stats = consumer.stats();
    let accounted = stats.delivered + stats.filtered + stats.lost + stats.unread;
    assert_eq!(stats.published, accounted, "{:?}", stats);
}

#[test]
fn every_record_is_delivered_and_accounted_for() {
    let ring = match Ring::start("all") {
        Some(ring) => ring,
        None => return,
    };
    let mut consumer = ring.consumer();
    assert!(consumer.as_raw_fd() >= 0);
    assert_eq!(consumer.as_fd().as_raw_fd(), consumer.as_raw_fd());
    assert_eq!(consumer.stats().unread, RECORDS);
    let (records, gaps) = drain(&mut consumer);
    let stats = consumer.stats();
    assert_eq!(
        (records, stats.delivered, stats.gaps),
        (RECORDS, RECORDS, gaps)
    );
    assert!(gaps > 0);
    assert_accounted(&consumer);
}

#[test]
fn a_break_ends_the_poll_at_its_record() {
    let ring = match Ring::start("break") {
        Some(ring) => ring,
        None => return,
    };
    let mut consumer = ring.consumer();
    let mut records = 0;
    let result = consumer.for_each(|event| {
        records += u64::from(matches!(event, Event::Record(_)));
        match records {
            10 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    result.unwrap();
    assert_eq!(consumer.stats().delivered, 10);
    assert_accounted(&consumer);
    assert_eq!(drain(&mut consumer).0, RECORDS - 10);
}

#[test]
fn a_panic_passes_through_c_and_leaves_the_consumer_usable() {
    let ring = match Ring::start("panic") {
        Some(ring) => ring,
        None => return,
    };
    let mut consumer = ring.consumer();
    let poll = AssertUnwindSafe(|| {
        consumer.poll(SHORT, |event| {
            if let Event::Record(_) = event {
                // Without the panic hook's message on standard error.
                resume_unwind(Box::new("from the handler"));
            }
        })
    });
    let panic = catch_unwind(poll).unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "from the handler");
    assert_eq!(consumer.stats().delivered, 1);
    assert_accounted(&consumer);
    assert_eq!(drain(&mut consumer).0, RECORDS - 1);
}

#[test]
fn a_consumer_may_move_to_another_thread() {
    let ring = match Ring::start("thread") {
        Some(ring) => ring,
        None => return,
    };
    let mut consumer = ring.consumer();
    let records = std::thread::spawn(move || drain(&mut consumer).0)
        .join()
        .unwrap();
    assert_eq!(records, RECORDS);
}

#[test]
fn the_end_of_the_producer_ends_the_stream_after_its_last_record() {
    let ring = match Ring::start("end") {
        Some(ring) => ring,
        None => return,
    };
    let mut consumer = ring.consumer();
    drop(ring);
    let mut records = 0;
    let end: Result<(), Error> =
        consumer.for_each(|event| records += u64::from(matches!(event, Event::Record(_))));
    assert!(end.unwrap_err().is_end_of_stream());
    assert_eq!(records, RECORDS);
    assert!(matches!(
        consumer.stats().last_end,
        Some(End::Orderly | End::HungUp)
    ));
}

#[test]
fn a_filter_lets_through_what_it_names_and_counts_the_rest() {
    let ring = match Ring::start("filter") {
        Some(ring) => ring,
        None => return,
    };
    let wanted = |direction| {
        let filter = Filter::new().direction(direction);
        let builder = Consumer::builder().socket(&ring.socket).no_reattach();
        let mut consumer = builder
            .from(StartFrom::Oldest)
            .filter(filter)
            .open()
            .unwrap();
        let mut records = 0;
        let end = |consumer: &Consumer| consumer.stats().unread == 0;
        while !end(&consumer) {
            let count = consumer.poll(SHORT, |event| {
                if let Event::Record(record) = event {
                    assert_eq!(record.direction(), direction);
                    records += 1;
                }
            });
            count.unwrap();
        }
        assert_accounted(&consumer);
        assert_eq!(consumer.stats().delivered, records);
        consumer.stats()
    };
    let sent = wanted(Direction::Send);
    let received = wanted(Direction::Receive);
    assert!(sent.delivered > 0 && received.delivered > 0);
    assert!(sent.delivered + received.delivered <= RECORDS);
    assert_eq!(sent.delivered + sent.filtered, RECORDS);
}

#[test]
fn another_consumer_goes_on_where_one_stood() {
    let ring = match Ring::start("resume") {
        Some(ring) => ring,
        None => return,
    };
    let mut first = ring.consumer();
    let mut records = 0;
    let stopped = first.for_each(|event| {
        records += u64::from(matches!(event, Event::Record(_)));
        match records {
            123 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    stopped.unwrap();
    let positions = first.positions();
    drop(first);
    let builder = Consumer::builder().socket(&ring.socket).no_reattach();
    let mut second = builder.resume(&positions).open().unwrap();
    assert_eq!(drain(&mut second).0, RECORDS - 123);
    assert_accounted(&second);
    assert_eq!(second.stats().lost, 0);
}
