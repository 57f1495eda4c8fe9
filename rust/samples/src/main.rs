// SPDX-License-Identifier: Apache-2.0
//! ebpf-tail-rs: prints the trace of a running ebpf-producer. The reference for how to use the
//! crate `libebpf`; same options and same output as ebpf-tail, the sample in C++.

mod json;
mod options;
mod os;
mod text;

use libebpf::{Consumer, Error, Event};
use options::{Command, Options, Output};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;
use std::process::exit;
use std::time::Duration;

const EXIT_OK: i32 = 0;
const EXIT_FAILURE: i32 = 1;
const EXIT_BAD_OPTION: i32 = 2;
const EXIT_NOT_RUNNING: i32 = 3;

/// How long a signal may wait to be noticed.
const POLL_TIMEOUT: Duration = Duration::from_millis(200);

/// Lines are collected to at most about this size before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// Writes lines to standard output, many at a time, or each at once to a terminal.
struct Printer {
    output: Output,
    stdout: File,
    by_line: bool,
    buffer: String,
}

impl Printer {
    fn new(output: Output) -> io::Result<Printer> {
        let by_line = os::stdout_is_terminal();
        Ok(Printer {
            output,
            stdout: os::raw_stdout()?,
            by_line,
            buffer: String::new(),
        })
    }

    fn print(&mut self, event: &Event<'_>) -> io::Result<()> {
        match (self.output, event) {
            (Output::Text, Event::Record(record)) => text::append_record(&mut self.buffer, record),
            (Output::Text, Event::Gap(gap)) => text::append_gap(&mut self.buffer, gap),
            (Output::Json, Event::Record(record)) => json::append_record(&mut self.buffer, record),
            (Output::Json, Event::Gap(gap)) => json::append_gap(&mut self.buffer, gap),
        }
        if self.by_line || self.buffer.len() >= BUFFER_BYTES {
            return self.flush();
        }
        Ok(())
    }

    /// Called between polls, too; a program that reads our lines waits for none of them.
    fn flush(&mut self) -> io::Result<()> {
        let mut bytes = self.buffer.as_bytes();
        while !bytes.is_empty() {
            match self.stdout.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                // Nobody takes it.
                Err(error) if error.kind() == ErrorKind::Interrupted && os::stop_requested() => {
                    break
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.clear();
        Ok(())
    }
}

/// Why the stream could not be printed any further.
enum Failure {
    Stream(Error),
    Output(io::Error),
}

fn tail(consumer: &mut Consumer, options: &Options) -> Result<(), Failure> {
    let mut printer = Printer::new(options.output).map_err(Failure::Output)?;
    let mut left = options.count.unwrap_or(u64::MAX);
    while left > 0 && !os::stop_requested() {
        let mut printed = Ok(());
        let polled = consumer.poll(Some(POLL_TIMEOUT), |event| {
            // A gap cannot end the poll: one more record may come after a failed write.
            if printed.is_ok() {
                printed = printer.print(&event);
            }
            if let Event::Record(_) = event {
                left -= 1;
            }
            if printed.is_err() || left == 0 || os::stop_requested() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        printed
            .and_then(|()| printer.flush())
            .map_err(Failure::Output)?;
        match polled {
            Err(error) if !error.is_interrupted() => return Err(Failure::Stream(error)),
            _ => {}
        }
    }
    Ok(())
}

fn print_summary(consumer: &Consumer) {
    let stats = consumer.stats();
    eprintln!(
        "ebpf-tail-rs: {} published, {} delivered, {} filtered, {} lost, {} unread, \
         {} gaps, {} lost upstream, {} re-attached",
        stats.published,
        stats.delivered,
        stats.filtered,
        stats.lost,
        stats.unread,
        stats.gaps,
        stats.upstream_lost,
        stats.reattaches
    );
}

fn open_exit_code(error: &Error) -> i32 {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::TimedOut => EXIT_NOT_RUNNING,
        _ => EXIT_FAILURE,
    }
}

fn run(options: &Options) -> i32 {
    let mut builder = Consumer::builder().from(options.from).lanes(options.lanes);
    if let Some(path) = &options.socket {
        builder = builder.socket(path);
    }
    os::catch_signals();
    let mut consumer = match builder.open() {
        Ok(consumer) => consumer,
        Err(error) => {
            eprintln!("ebpf-tail-rs: {}", error);
            return open_exit_code(&error);
        }
    };
    match tail(&mut consumer, options) {
        Err(Failure::Stream(error)) => {
            eprintln!("ebpf-tail-rs: {}", error);
            return EXIT_FAILURE;
        }
        // Whoever read the output has seen enough.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(Failure::Output(error)) => {
            eprintln!("ebpf-tail-rs: cannot write: {}", error);
            return EXIT_FAILURE;
        }
        Ok(()) => {}
    }
    if os::stop_requested() {
        print_summary(&consumer);
    }
    EXIT_OK
}

fn main() {
    let code = match options::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(options)) => run(&options),
        Ok(Command::Help) => {
            print!("{}", options::USAGE);
            EXIT_OK
        }
        Ok(Command::Version) => {
            println!(
                "ebpf-tail-rs {} (libebpf {})",
                env!("CARGO_PKG_VERSION"),
                libebpf::version()
            );
            EXIT_OK
        }
        Err(text) => {
            eprintln!(
                "ebpf-tail-rs: {} (ebpf-tail-rs --help tells the options)",
                text
            );
            EXIT_BAD_OPTION
        }
    };
    exit(code);
}
