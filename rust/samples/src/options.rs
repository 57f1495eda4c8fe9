// SPDX-License-Identifier: Apache-2.0
//! The command line, the same as that of ebpf-tail.

use libebpf::StartFrom;
use std::ffi::OsString;
use std::path::PathBuf;

pub const USAGE: &str = "\
Usage: ebpf-tail-rs [OPTIONS]
Prints the trace of a running ebpf-producer.
  -o, --output text|json   how to print (default: text)
      --count N            end after so many records, at least 1 (default: never)
      --socket PATH        the producer's control socket
                           (default: $EBPF_SOCKET, else /run/libebpf/producer.sock)
      --from tail|oldest   new records only, or what the ring holds too (default: tail)
      --lanes LIST         lanes to read, as 0,2,5 (default: all)
  -h, --help
  -V, --version
Exit codes: 0 done, 1 failed, 2 bad option, 3 producer not running
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Text,
    Json,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub output: Output,
    pub count: Option<u64>,
    pub socket: Option<PathBuf>,
    pub from: StartFrom,
    pub lanes: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Run(Options),
    Help,
    Version,
}

/// Reads the arguments after the program's name; what is wrong with them, in one line.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut options = Options {
        output: Output::Text,
        count: None,
        socket: None,
        from: StartFrom::Tail,
        lanes: 0,
    };
    let mut arguments = arguments.into_iter();
    let mut seen = Vec::new();
    while let Some(argument) = arguments.next() {
        let (name, attached) = split(argument)?;
        if seen.contains(&name) {
            return Err(format!("{} is there twice", escaped(&name)));
        }
        seen.push(name.clone());
        let mut value = || {
            let missing = || format!("{} needs a value", name);
            attached
                .clone()
                .map(OsString::from)
                .or_else(|| arguments.next())
                .ok_or_else(missing)
        };
        match name.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "-V" | "--version" => return Ok(Command::Version),
            "--output" => options.output = output(&text(value()?)?)?,
            "--count" => options.count = Some(count(&text(value()?)?)?),
            "--socket" => options.socket = Some(value()?.into()),
            "--from" => options.from = from(&text(value()?)?)?,
            "--lanes" => options.lanes = lanes(&text(value()?)?)?,
            _ => return Err(format!("unknown option {}", escaped(&name))),
        }
    }
    Ok(Command::Run(options))
}

/// "--name=value" is two things, and "-o" a short name.
fn split(argument: OsString) -> Result<(String, Option<String>), String> {
    let argument = text(argument)?;
    match argument.split_once('=') {
        Some((name, value)) if name.starts_with("--") => Ok((name.into(), Some(value.into()))),
        _ if argument == "-o" => Ok(("--output".into(), None)),
        _ => Ok((argument, None)),
    }
}

fn text(value: OsString) -> Result<String, String> {
    value
        .into_string()
        .map_err(|value| format!("{} is not UTF-8", escaped(&format!("{:?}", value))))
}

/// For a message: printable, and not all of a text without end.
fn escaped(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown = libebpf::escape(text.as_bytes()).to_string();
    if shown.len() > SHOWN {
        shown.truncate(SHOWN);
        shown.push_str("...");
    }
    shown
}

/// Digits only: parse() takes a plus sign as well.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn output(value: &str) -> Result<Output, String> {
    match value {
        "text" => Ok(Output::Text),
        "json" => Ok(Output::Json),
        _ => Err(format!("--output {}: must be text or json", escaped(value))),
    }
}

fn from(value: &str) -> Result<StartFrom, String> {
    match value {
        "tail" => Ok(StartFrom::Tail),
        "oldest" => Ok(StartFrom::Oldest),
        _ => Err(format!("--from {}: must be tail or oldest", escaped(value))),
    }
}

fn count(value: &str) -> Result<u64, String> {
    match number(value) {
        Some(count) if count > 0 => Ok(count),
        _ => Err(format!(
            "--count {}: must be a number from 1",
            escaped(value)
        )),
    }
}

/// "0,2,5" as a bit mask.
fn lanes(value: &str) -> Result<u64, String> {
    let mut mask = 0;
    for item in value.split(',') {
        match number::<u32>(item) {
            Some(lane) if lane < libebpf::sys::EBPF_LANES_MAX => mask |= 1 << lane,
            _ => {
                return Err(format!(
                    "--lanes {}: \"{}\" is no lane, expected 0 to {}, several as 0,2,5",
                    escaped(value),
                    escaped(item),
                    libebpf::sys::EBPF_LANES_MAX - 1
                ))
            }
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn every_option_is_understood() {
        let expected = Options {
            output: Output::Json,
            count: Some(7),
            socket: Some("/tmp/x".into()),
            from: StartFrom::Oldest,
            lanes: 1 << 63 | 1 << 2,
        };
        let line = "-o json --count 7 --socket=/tmp/x --from oldest --lanes 63,2";
        assert_eq!(parse_line(line), Ok(Command::Run(expected)));
        assert_eq!(parse_line("--count 1 -h"), Ok(Command::Help));
        assert_eq!(parse_line("-V"), Ok(Command::Version));
    }

    #[test]
    fn wrong_options_are_named() {
        for line in [
            "-x",
            "nonsense",
            "-o",
            "-o xml",
            "--count -1",
            "--count +1",
            "--lanes +1",
            "--count",
            "--from middle",
        ] {
            let error = parse_line(line).unwrap_err();
            let last = line.split_whitespace().last().unwrap();
            assert!(error.contains(last), "{}: {}", line, error);
        }
    }
}
