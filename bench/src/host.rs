//! What the operating system has to be asked for: CPU time, memory, load, a core, large socket buffers.

use crate::Failure;
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{SocketAddr, UdpSocket};

/// CPU time of this process, all threads, user and system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuClock(f64);

impl CpuClock {
    pub(crate) fn start() -> Self {
        Self(cpu_seconds())
    }

    pub(crate) fn elapsed(self) -> f64 {
        cpu_seconds() - self.0
    }
}

fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 * 1e-9
}

/// The memory of this process that is in RAM now.
pub(crate) fn resident_bytes() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim_end().parse()?;
    Ok(kib * 1024.0)
}

/// Processes that want to run, averaged over a minute; not a number where the system does not say.
pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// Keeps this process and the threads it will start on one core, if there is such a core.
pub(crate) fn stay_on_core(core: usize) {
    if std::thread::available_parallelism().is_ok_and(|cores| core < cores.get()) {
        let mut cores = CpuSet::new();
        cores.set(core);
        // Refused (by a cpuset, say), the scheduler chooses.
        sched_setaffinity(None, &cores).ok();
    }
}

/// Of every stack's sockets, each way, in bytes.
const SOCKET_BUFFER: usize = 4 << 20;

/// A bound socket with large buffers, beyond the system's limit where we may.
pub(crate) fn bind_udp(local: SocketAddr) -> Result<UdpSocket, Failure> {
    let buffer = SOCKET_BUFFER;
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    set_socket_recv_buffer_size_force(&socket, buffer).or_else(|_| socket.set_recv_buffer_size(buffer))?;
    set_socket_send_buffer_size_force(&socket, buffer).or_else(|_| socket.set_send_buffer_size(buffer))?;
    socket.bind(&local.into())?;
    Ok(socket.into())
}
