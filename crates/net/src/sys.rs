//! The system calls that need `unsafe`, each behind a safe function.
//!
//! Owns pointers for the length of one call: headers are built on the stack from borrowed slices and never
//! kept. Refuses to know retries, fallbacks and what an error means.

#![allow(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use crate::address::{NAME_BYTES, Name};
use crate::cmsg::Control;
use crate::filter::Instruction;
use core::ffi::{c_int, c_long, c_void};
use core::ptr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Arrivals that one call to `recvmmsg` takes at most.
pub(crate) const ARRIVALS: usize = 8;
/// Datagrams that one call to `sendmmsg` takes at most: bounds the headers on the stack to 5 KiB.
const DEPARTURES: usize = 64;

/// What `recvmmsg` reports about one datagram (or one GRO train).
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) name: Name,
    pub(crate) control: Control,
    pub(crate) len: usize,
    /// The data or the control messages did not fit.
    pub(crate) cut: bool,
}

impl Arrival {
    pub(crate) const EMPTY: Self = Self { name: Name::EMPTY, control: Control::EMPTY, len: 0, cut: false };
}

pub(crate) fn set_option(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives through the call.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), socklen(size_of::<c_int>()))
    };
    check(result).map(drop)
}

#[cfg(test)]
pub(crate) fn option(fd: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<c_int> {
    let (mut value, mut len) = (0, socklen(size_of::<c_int>()));
    // SAFETY: the pointer and the length describe `value`, which lives through the call.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
    check(result).map(|_| value)
}

/// An option whose value is a structure, given as its bytes.
pub(crate) fn set_option_bytes(
    fd: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: &[u8],
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives through the call.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), socklen(value.len())) };
    check(result).map(drop)
}

/// Has `program` choose among the sockets of this one's `SO_REUSEPORT` group.
pub(crate) fn attach_group_filter(fd: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program
        .iter()
        .map(|i| libc::sock_filter { code: i.code, jt: i.jump_true, jf: i.jump_false, k: i.value })
        .collect();
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: the option takes a pointer to a `sock_fprog`, whose pointer and length describe `filter`; both live
    // through the call, in which the kernel copies the instructions.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            socklen(size_of::<libc::sock_fprog>()),
        )
    };
    check(result).map(drop)
}

/// One `sendmsg`: a datagram, or a batch if `control` holds a segment size.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8], name: &Name, control: &Control) -> io::Result<()> {
    let mut part = part_of(bytes);
    let header = outgoing(&mut part, name, control);
    // SAFETY: the header points to `part`, `name` and `control`, and `part` to `bytes`; all outlive the call,
    // and sendmsg only reads through them.
    let result = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// One `sendmmsg`: a datagram per `segment` bytes. Returns how many left, at least one.
pub(crate) fn send_each(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    segment: usize,
    name: &Name,
    control: &Control,
) -> io::Result<usize> {
    let mut parts = [NO_PART; DEPARTURES];
    let mut headers = [empty_message(); DEPARTURES];
    let mut count: libc::c_uint = 0;
    for ((datagram, part), message) in bytes.chunks(segment).zip(&mut parts).zip(&mut headers) {
        *part = part_of(datagram);
        message.msg_hdr = outgoing(part, name, control);
        count += 1;
    }
    let flags = libc::MSG_NOSIGNAL;
    // SAFETY: the first `count` headers point into `parts`, `name` and `control`, and those parts into `bytes`;
    // all outlive the call. The kernel writes only the `msg_len` fields of `headers`.
    let result = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, call_flags(flags)) };
    check(result)
}

/// One `recvmmsg` of at most `most` arrivals into `blocks`, which is cut into [`ARRIVALS`] equal parts. Never waits.
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    blocks: &mut [u8],
    arrivals: &mut [Arrival; ARRIVALS],
    most: usize,
) -> io::Result<usize> {
    let mut parts = [NO_PART; ARRIVALS];
    let mut headers = [empty_message(); ARRIVALS];
    let block_bytes = (blocks.len() / ARRIVALS).max(1);
    let mut count: libc::c_uint = 0;
    for (((block, arrival), part), message) in
        blocks.chunks_exact_mut(block_bytes).zip(&mut *arrivals).zip(&mut parts).zip(&mut headers).take(most)
    {
        *part = libc::iovec { iov_base: block.as_mut_ptr().cast(), iov_len: block.len() };
        let header = &mut message.msg_hdr;
        header.msg_iov = part;
        header.msg_iovlen = 1;
        header.msg_name = arrival.name.room().as_mut_ptr().cast();
        header.msg_namelen = socklen(NAME_BYTES);
        header.msg_control = arrival.control.room().as_mut_ptr().cast();
        header.msg_controllen = control_len(arrival.control.room().len());
        count += 1;
    }
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: each of the first `count` headers points to its own part, name and control buffer with their true
    // lengths, and each part to its own block; all are exclusively borrowed and outlive the call. A null timeout
    // is allowed.
    let result = unsafe {
        libc::recvmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, call_flags(flags), ptr::null_mut())
    };
    let received = check(result)?;
    for (arrival, message) in arrivals.iter_mut().zip(&headers).take(received) {
        let header = &message.msg_hdr;
        arrival.len = (message.msg_len as usize).min(block_bytes);
        arrival.name.set_len(header.msg_namelen as usize);
        arrival.control.set_len(written(header));
        arrival.cut = header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    }
    Ok(received)
}

/// `epoll_pwait2`: a wait with nanoseconds. `None` waits for an event however long it takes.
pub(crate) fn epoll_wait_ns(
    fd: BorrowedFd<'_>,
    events: &mut [libc::epoll_event],
    timeout: Option<core::time::Duration>,
) -> io::Result<usize> {
    /// The kernel's own, which has 64 bits on every architecture.
    #[repr(C)]
    struct KernelTimespec {
        seconds: i64,
        nanos: i64,
    }
    let timeout = timeout.map(|t| KernelTimespec {
        seconds: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
        nanos: i64::from(t.subsec_nanos()),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `events` is writable for the number of events given, the timeout is null or points to a live
    // value, and a null signal mask (of size 0) leaves the mask alone.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            c_long::from(fd.as_raw_fd()),
            events.as_mut_ptr(),
            events.len() as c_long,
            timeout,
            ptr::null::<c_void>(),
            0 as c_long,
        )
    };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// `epoll_wait`, either without waiting or until there is an event.
pub(crate) fn epoll_wait(
    fd: BorrowedFd<'_>,
    events: &mut [libc::epoll_event],
    wait: bool,
) -> io::Result<usize> {
    let capacity = c_int::try_from(events.len()).unwrap_or(c_int::MAX);
    let timeout = if wait { -1 } else { 0 };
    // SAFETY: `events` is writable for at least `capacity` events.
    let result = unsafe { libc::epoll_wait(fd.as_raw_fd(), events.as_mut_ptr(), capacity, timeout) };
    check(result)
}

const NO_PART: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

fn empty_message() -> libc::mmsghdr {
    // SAFETY: all fields are integers and raw pointers, for which zero is a valid value. (Some C libraries have
    // padding fields here, so that it cannot be written as a literal.)
    unsafe { core::mem::zeroed() }
}

fn part_of(bytes: &[u8]) -> libc::iovec {
    // The kernel takes one type for both directions; sending does not write through it.
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

fn outgoing(part: &mut libc::iovec, name: &Name, control: &Control) -> libc::msghdr {
    let mut header = empty_message().msg_hdr;
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header.msg_name = name.as_slice().as_ptr().cast_mut().cast();
    header.msg_namelen = socklen(name.as_slice().len());
    if !control.as_slice().is_empty() {
        header.msg_control = control.as_slice().as_ptr().cast_mut().cast();
        header.msg_controllen = control_len(control.as_slice().len());
    }
    header
}

/// Bytes that the C library's allocator has handed out, to Rust and to C code alike, and not been given back; `None`
/// where it does not say. Walks all arenas: for measurements, not for every packet.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[must_use]
pub fn heap_in_use() -> Option<usize> {
    // SAFETY: no arguments, and the result is returned by value.
    let info = unsafe { libc::mallinfo2() };
    Some(info.uordblks + info.hblkhd)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
#[must_use]
pub const fn heap_in_use() -> Option<usize> {
    None
}

fn check(result: c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[allow(clippy::cast_possible_truncation, reason = "names and options are a few bytes")]
fn socklen(len: usize) -> libc::socklen_t {
    len as libc::socklen_t
}

#[allow(clippy::unnecessary_cast, reason = "another width in other C libraries")]
fn control_len(len: usize) -> ControlLen {
    len as ControlLen
}

#[allow(clippy::unnecessary_cast, reason = "another width in other C libraries")]
fn written(header: &libc::msghdr) -> usize {
    header.msg_controllen as usize
}

/// glibc and the kernel say `size_t`, musl says `socklen_t`.
#[cfg(target_env = "musl")]
type ControlLen = libc::socklen_t;
#[cfg(not(target_env = "musl"))]
type ControlLen = usize;

/// glibc declares the flags of the `mmsg` calls as `int`, musl as `unsigned`.
#[cfg(target_env = "musl")]
type CallFlags = libc::c_uint;
#[cfg(not(target_env = "musl"))]
type CallFlags = c_int;

#[allow(clippy::unnecessary_cast, reason = "another sign in other C libraries")]
fn call_flags(flags: c_int) -> CallFlags {
    flags as CallFlags
}
