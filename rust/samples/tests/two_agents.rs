// SPDX-License-Identifier: Apache-2.0
//! Two agents at once on a real ring. HOSTILE_RING names the program that serves one (ctest sets
//! it); without it this test is left out.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const RECORDS: u64 = 300;

/// The numbers of "requests: 10 published = 4 delivered + 6 filtered + 0 lost + 0 unread".
fn account(text: &str, agent: &str) -> Vec<u64> {
    let prefix = format!("{}: ", agent);
    let line = text
        .lines()
        .find(|line| line.starts_with(&prefix) && line.contains(" published = "))
        .unwrap_or_else(|| panic!("no account of {}:\n{}", agent, text));
    line.split(' ')
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[test]
fn both_agents_account_for_every_record() {
    let ring = match std::env::var_os("HOSTILE_RING") {
        Some(ring) => ring,
        None => return eprintln!("left out: HOSTILE_RING is not set"),
    };
    let socket = std::env::temp_dir().join(format!("libebpf-two-agents-{}", std::process::id()));
    let mut producer = Command::new(ring)
        .arg(&socket)
        .arg(RECORDS.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the ring's program starts");
    let mut line = String::new();
    BufReader::new(producer.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");

    let agents = Command::new(env!("CARGO_BIN_EXE_two-agents-rs"))
        .arg(&socket)
        .arg("1")
        .output()
        .unwrap();
    drop(producer.stdin.take());
    let _ = producer.wait();
    let text = String::from_utf8(agents.stdout).expect("payload is escaped");
    assert!(
        agents.status.success(),
        "{}",
        String::from_utf8_lossy(&agents.stderr)
    );

    for agent in ["requests", "volume"] {
        let numbers = account(&text, agent);
        assert_eq!(numbers.len(), 5, "{}", agent);
        assert!(numbers[0] >= RECORDS, "{}: {:?}", agent, numbers);
        assert_eq!(numbers[0], numbers[1..].iter().sum::<u64>(), "{}", agent);
        assert!(numbers[1] > 0, "{}: {:?}", agent, numbers);
    }
    let (requests, volume) = (account(&text, "requests"), account(&text, "volume"));
    assert!(requests[2] > 0, "the first agent filters: {:?}", requests);
    assert_eq!(volume[2], 0, "the second one does not: {:?}", volume);
}
