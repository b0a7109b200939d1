//! What the operating system has to be asked for: CPU time, a core, large socket buffers. The only unsafe code here.

use crate::Failure;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// CPU time of this process, all threads, user and system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuClock(f64);

impl CpuClock {
    pub(crate) fn start() -> Result<Self, Failure> {
        Ok(Self(cpu_seconds()?))
    }

    pub(crate) fn elapsed(self) -> Result<f64, Failure> {
        Ok(cpu_seconds()? - self.0)
    }
}

fn cpu_seconds() -> io::Result<f64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is to a whole rusage, which the call fills if it returns 0.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        usage.assume_init()
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

/// Keeps this process and the threads it will start on one core, if there is such a core.
pub(crate) fn stay_on_core(core: usize) {
    if std::thread::available_parallelism().is_ok_and(|cores| core < cores.get()) {
        // SAFETY: a cpu_set_t is plain bits, all zero is the empty set; CPU_SET checks its bounds.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            // Refused (by a cpuset, say), the scheduler chooses.
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }
}

/// A bound socket with buffers of that many bytes each way, beyond the system's limit where we may.
pub(crate) fn bind_udp(local: SocketAddr, buffer: usize) -> Result<UdpSocket, Failure> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    let bytes = libc::c_int::try_from(buffer)?;
    for option in [libc::SO_SNDBUFFORCE, libc::SO_RCVBUFFORCE] {
        // SAFETY: the value is a live int and its size is given. Failure is noticed by what follows.
        unsafe {
            let size = size_of::<libc::c_int>() as libc::socklen_t;
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const bytes).cast(), size);
        }
    }
    if socket.recv_buffer_size()? < buffer {
        socket.set_recv_buffer_size(buffer)?;
    }
    if socket.send_buffer_size()? < buffer {
        socket.set_send_buffer_size(buffer)?;
    }
    socket.bind(&local.into())?;
    Ok(socket.into())
}
