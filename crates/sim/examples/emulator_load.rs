//! How much one emulator thread carries: sends datagrams through one link at a given rate and reports what arrived, how
//! late, and the CPU time of the emulator's thread.
//!
//! `cargo run --release -p mpquic-sim --example emulator_load -- 500 1350 5` (Mbit/s, bytes, seconds)

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a measuring program prints and times")]
#![allow(clippy::unwrap_used, reason = "a measuring program may stop at the first surprise")]

use mpquic_sim::emulator::{Emulator, PACKET_OVERHEAD};
use mpquic_sim::link::Schedule;
use mpquic_sim::profile::NamedLink;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

/// One-way delay of the link.
const DELAY: Duration = Duration::from_millis(5);
/// Linux reports thread CPU time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap());
    let mut next = |default| args.next().unwrap_or(default);
    let (mbit, size, seconds) = (next(500), usize::try_from(next(1350)).unwrap(), next(5));

    let server = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    server.set_recv_buffer_size(4 << 20).unwrap();
    server.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let server: UdpSocket = server.into();
    // A little more than what is sent, headers included, so that the link's queue does not decide the result.
    let link = NamedLink::parse_list(&format!("{}mbit/5ms", mbit + mbit / 5)).unwrap();
    let emulator = Emulator::start(link, server.local_addr().unwrap(), &Schedule::new(), 1).unwrap();
    let to = emulator.client_addr(0).unwrap();
    let begun = Instant::now();

    let receiver = thread::spawn(move || {
        let mut buf = [0; 2048];
        let mut late: Vec<Duration> = Vec::new();
        while let Ok(n) = server.recv(&mut buf) {
            assert_eq!(n, size);
            let sent = Duration::from_nanos(u64::from_le_bytes(buf[..8].try_into().unwrap()));
            late.push((begun.elapsed() - sent).saturating_sub(DELAY));
        }
        late
    });
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut datagram = vec![0; size];
    let (mut sent, end) = (0u64, Duration::from_secs(seconds));
    while begun.elapsed() < end {
        let now = begun.elapsed();
        let due = now.as_nanos() as u64 * mbit / 8000 / (size + PACKET_OVERHEAD) as u64;
        datagram[..8].copy_from_slice(&(now.as_nanos() as u64).to_le_bytes());
        while sent < due {
            client.send_to(&datagram, to).unwrap();
            sent += 1;
        }
        thread::sleep(Duration::from_micros(100));
    }
    let mut late = receiver.join().unwrap();
    late.sort_unstable();
    let at = |q: usize| late.get(late.len() * q / 1000).copied().unwrap_or_default();
    println!("sent {sent}, arrived {} of {size} bytes in {seconds} s at {mbit} Mbit/s", late.len());
    println!("late by p50 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999));
    let (user, system) = emulator_cpu();
    let share = (user + system) * 100.0 / seconds as f64;
    println!("emulator thread: {user:.2} s user, {system:.2} s system, {share:.0} % of a core");
    println!("{:?}", emulator.stats()[0].link.up);
}

/// User and system time of the emulator's thread, in seconds.
fn emulator_cpu() -> (f64, f64) {
    let stat = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .find(|stat| stat.contains("(link-emulator)"))
        .unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // proc_pid_stat(5): fields 14 and 15, counted from the one after the name, which is the third.
    let seconds = |i: usize| fields[i].parse::<f64>().unwrap() / TICKS_PER_SECOND;
    (seconds(11), seconds(12))
}
