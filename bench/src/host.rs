//! What the operating system has to be asked for: CPU time, a core, large socket buffers.

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

/// Keeps this process and the threads it will start on one core, if there is such a core.
pub(crate) fn stay_on_core(core: usize) {
    if std::thread::available_parallelism().is_ok_and(|cores| core < cores.get()) {
        let mut cores = CpuSet::new();
        cores.set(core);
        // Refused (by a cpuset, say), the scheduler chooses.
        sched_setaffinity(None, &cores).ok();
    }
}

/// A bound socket with buffers of that many bytes each way, beyond the system's limit where we may.
pub(crate) fn bind_udp(local: SocketAddr, buffer: usize) -> Result<UdpSocket, Failure> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    set_socket_recv_buffer_size_force(&socket, buffer).or_else(|_| socket.set_recv_buffer_size(buffer))?;
    set_socket_send_buffer_size_force(&socket, buffer).or_else(|_| socket.set_send_buffer_size(buffer))?;
    socket.bind(&local.into())?;
    Ok(socket.into())
}
