// SPDX-License-Identifier: Apache-2.0
//! two-agents-rs: two agents of one program on the same trace at once, each on a thread of its
//! own. One prints requests as they come; the other one adds up bytes, and takes its time over
//! it: what it misses is its own loss, and costs the first one nothing.
//!
//! `two-agents-rs [SOCKET [SECONDS]]`

use libebpf::{escape, Builder, Consumer, Error, Event, Filter, MessageType, StartFrom, Stats};
use std::collections::BTreeMap;
use std::process::exit;
use std::thread;
use std::time::{Duration, Instant};

const POLL_TIMEOUT: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_micros(200);

/// Delivers events to `handler` until the time is over, and says what the agent's account is.
fn run_agent(
    builder: &Builder,
    time: Duration,
    mut handler: impl FnMut(Event<'_>),
) -> Result<Stats, Error> {
    let mut consumer = builder.open()?;
    let end = Instant::now() + time;
    while Instant::now() < end {
        match consumer.poll(Some(POLL_TIMEOUT), &mut handler) {
            Err(error) if !error.is_interrupted() => return Err(error),
            _ => {}
        }
    }
    Ok(consumer.stats())
}

fn print_requests(builder: Builder, time: Duration) -> Result<Stats, Error> {
    let requests = Filter::new().message(MessageType::Request);
    run_agent(
        &builder.name("requests").filter(requests),
        time,
        |event| match event {
            Event::Record(record) => println!(
                "{} {}: {}",
                record.protocol(),
                escape(record.process_name()),
                escape(
                    record
                        .payload()
                        .split(|byte| *byte < b' ')
                        .next()
                        .unwrap_or(&[])
                ),
            ),
            Event::Gap(gap) => println!("{} records lost here ({})", gap.count, gap.cause),
        },
    )
}

fn add_up_bytes(builder: Builder, time: Duration) -> Result<Stats, Error> {
    let mut bytes = BTreeMap::<&'static str, u64>::new();
    let stats = run_agent(&builder.name("volume"), time, |event| {
        if let Event::Record(record) = event {
            let sum = bytes.entry(record.protocol().name()).or_default();
            *sum = sum.saturating_add(record.syscall_len());
            thread::sleep(PAUSE);
        }
    })?;
    for (protocol, sum) in bytes {
        println!("volume: {} bytes of {}", sum, protocol);
    }
    Ok(stats)
}

fn print_account(agent: &str, outcome: thread::Result<Result<Stats, Error>>) -> bool {
    match outcome {
        Ok(Ok(stats)) => {
            println!(
                "{}: {} published = {} delivered + {} filtered + {} lost + {} unread",
                agent, stats.published, stats.delivered, stats.filtered, stats.lost, stats.unread
            );
            true
        }
        Ok(Err(error)) => {
            eprintln!("two-agents-rs: {}: {}", agent, error);
            false
        }
        Err(_) => false, // it panicked, and has said so
    }
}

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let mut builder = Consumer::builder().from(StartFrom::Oldest);
    if let Some(socket) = arguments.next() {
        builder = builder.socket(socket);
    }
    let seconds = arguments
        .next()
        .map_or(Ok(10), |text| text.to_str().unwrap_or("").parse::<u32>());
    let time = match seconds {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(error) => {
            eprintln!("two-agents-rs: SECONDS: {}", error);
            exit(2);
        }
    };
    let volume = builder.clone();
    let second = thread::spawn(move || add_up_bytes(volume, time));
    let first = thread::spawn(move || print_requests(builder, time));
    let fine = print_account("requests", first.join());
    if !print_account("volume", second.join()) || !fine {
        exit(1);
    }
}
