//! The TUN device: IP packets from and to this machine, many at once.
//!
//! With offload the kernel hands over and takes super-packets of up to 64 KB; what passes here is single IP packets
//! all the same: super-packets are cut when they come ([`Packets`]) and joined when they go ([`Outgoing`]). The device
//! lives as long as its [`Tun`]: nothing of it stays on the machine. Refuses to know what is in the packets.

use super::error::{Error, Kind, Result};
use super::interface;
use super::netlink::Netlink;
use ipnet::IpNet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use tun_rs::{AsyncDevice, DeviceBuilder, ExpandBuffer, GROTable, VIRTIO_NET_HDR_LEN};

const DEVICE: &str = "/dev/net/tun";
/// The kernel is told not to make super-packets of more segments. 128 of 1280 bytes are more than 64 KB already.
const MOST_SEGMENTS: usize = 128;
/// Packets of one batch; reading goes on while another super-packet surely fits.
const BATCH: usize = 2 * MOST_SEGMENTS;
/// The longest IP packet, bytes.
const LONGEST_PACKET: usize = 65_535;
/// Buffers of a batch that keep the memory of a super-packet, and what the others keep, bytes.
const LONG_BUFFERS: usize = 4;
const BUFFER_KEPT: usize = 2048;
/// The least MTU that IPv6 works with, bytes (RFC 8200 §5).
const LEAST_MTU: u16 = 1280;

/// An open TUN device.
pub(crate) struct Tun {
    device: AsyncDevice,
    name: String,
    index: u32,
    /// The largest MTU that was set since the start: packets of it may still be in the queue.
    largest_mtu: AtomicU16,
    /// Whether the kernel takes super-packets from us.
    joins: AtomicBool,
    offload: bool,
}

impl fmt::Debug for Tun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tun").field("name", &self.name).field("index", &self.index).finish_non_exhaustive()
    }
}

impl Tun {
    /// Creates the device, gives it its addresses and sets it up.
    pub(crate) async fn open(name: &str, mtu: u16, addresses: &[IpNet]) -> Result<Self> {
        Self::open_with(name, mtu, addresses, true).await
    }

    async fn open_with(name: &str, mtu: u16, addresses: &[IpNet], offload: bool) -> Result<Self> {
        interface::check_name(name)?;
        check_mtu(mtu)?;
        if interface::index_of(name)?.is_some() {
            return Err(name_in_use(name));
        }
        let (device, offload) = match create(name, mtu, offload) {
            Err(error) if offload && error.raw_os_error() == Some(nix::errno::Errno::EINVAL as i32) => {
                tracing::info!(name, "this kernel has no offload for TUN devices");
                (create(name, mtu, false), false)
            }
            device => (device, offload),
        };
        let device = device.map_err(|error| explain(name, &error))?;
        let index = device.if_index().map_err(|error| explain(name, &error))?;
        let netlink = Netlink::open()?;
        if offload {
            netlink.limit_segments(index, MOST_SEGMENTS as u32).await?;
        }
        for address in addresses {
            netlink.add_address(index, *address).await?;
        }
        netlink.set_up(index).await?;
        let (largest_mtu, joins) = (AtomicU16::new(mtu), AtomicBool::new(offload));
        Ok(Self { device, name: name.to_owned(), index, largest_mtu, joins, offload })
    }

    /// Gives the device other addresses in the place of those that it has.
    pub(crate) async fn readdress(&self, addresses: &[IpNet]) -> Result<()> {
        let netlink = Netlink::open()?;
        // The new ones first: never without any.
        for address in addresses {
            netlink.replace_address(self.index, *address).await?;
        }
        netlink.keep_addresses(self.index, addresses).await
    }

    #[cfg(test)]
    fn index(&self) -> u32 {
        self.index
    }

    #[cfg(test)]
    fn has_offload(&self) -> bool {
        self.offload
    }

    pub(crate) fn set_mtu(&self, mtu: u16) -> Result<()> {
        check_mtu(mtu)?;
        self.largest_mtu.fetch_max(mtu, Ordering::Relaxed);
        let set = self.device.set_mtu(mtu);
        set.map_err(|error| Error::io(format!("setting the MTU of {} to {mtu}", self.name), &error))
    }

    /// Waits for packets and reads as many as there are, up to a batch. Cancelling it loses nothing.
    pub(crate) async fn recv_batch(&self, packets: &mut Packets) -> io::Result<usize> {
        packets.count = 0;
        while packets.count == 0 {
            self.device.readable().await?;
            while packets.has_room() {
                // Looked up for each packet: the MTU may have grown during the wait.
                packets.fit(usize::from(self.largest_mtu.load(Ordering::Relaxed)));
                match packets.read(&self.device) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // The packet could not be cut; it is gone, the device is not.
                    Err(error) if error.raw_os_error().is_none() => {
                        packets.broken += 1;
                        if packets.broken.is_power_of_two() {
                            tracing::warn!(name = self.name, lost = packets.broken, %error, "packets of the device made no sense");
                        }
                    }
                    Err(error) if packets.count == 0 => return Err(error),
                    // What was read comes first; a device that is gone says so again.
                    Err(_) => break,
                }
            }
        }
        Ok(packets.count)
    }

    /// Writes all packets, joined where the kernel takes that, and leaves `outgoing` empty. If the kernel refuses a
    /// super-packet, its packets are lost as any IP packet may be, and from then on none are joined.
    pub(crate) async fn send_batch(&self, outgoing: &mut Outgoing) -> io::Result<()> {
        let sent = if self.joins.load(Ordering::Relaxed) {
            let Outgoing { table, buffers, count, .. } = outgoing;
            let sent = self.device.send_multiple(&mut table.0, &mut buffers[..*count], HEADROOM).await;
            match sent {
                Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINVAL as i32) => {
                    tracing::warn!(
                        name = self.name,
                        "the kernel refuses joined packets; they go one by one from now on"
                    );
                    self.joins.store(false, Ordering::Relaxed);
                    Ok(())
                }
                sent => sent.map(|_| ()),
            }
        } else {
            self.send_singly(outgoing).await
        };
        outgoing.clear();
        sent
    }

    /// One packet per write. An error is that of the last packet that failed; the others are sent all the same.
    async fn send_singly(&self, outgoing: &mut Outgoing) -> io::Result<()> {
        let mut result = Ok(());
        let header = if self.offload { VIRTIO_NET_HDR_LEN } else { 0 };
        for Joinable(buffer) in &mut outgoing.buffers[..outgoing.count] {
            // A header of zeros: nothing joined, checksums complete.
            buffer[..HEADROOM].fill(0);
            match self.device.send(&buffer[HEADROOM - header..]).await {
                Ok(_) => {}
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// A reusable batch of packets that came from the device.
pub(crate) struct Packets {
    super_packet: Vec<u8>,
    buffers: Vec<Vec<u8>>,
    /// Length of each of the buffers.
    fits: usize,
    sizes: Vec<usize>,
    count: usize,
    /// Super-packets of the kernel that made no sense.
    broken: u64,
}

impl fmt::Debug for Packets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packets")
            .field("count", &self.count)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl Packets {
    pub(crate) fn new() -> Self {
        Self {
            super_packet: vec![0; VIRTIO_NET_HDR_LEN + LONGEST_PACKET],
            buffers: vec![Vec::new(); BATCH],
            fits: 0,
            sizes: vec![0; BATCH],
            count: 0,
            broken: 0,
        }
    }

    /// The packets of the last batch, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.buffers.iter().zip(&self.sizes).take(self.count).map(|(buffer, size)| &buffer[..*size])
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.count
    }

    /// Packets that the device gave and that had to be thrown away, since the start.
    #[cfg(test)]
    fn broken(&self) -> u64 {
        self.broken
    }

    /// Makes room for packets of this size in every buffer.
    fn fit(&mut self, mtu: usize) {
        if self.fits < mtu {
            self.buffers.iter_mut().for_each(|buffer| buffer.resize(mtu, 0));
            self.fits = mtu;
        }
    }

    fn has_room(&self) -> bool {
        self.count + MOST_SEGMENTS <= BATCH
    }

    fn read(&mut self, device: &AsyncDevice) -> io::Result<()> {
        let (buffers, sizes) = (&mut self.buffers[self.count..], &mut self.sizes[self.count..]);
        self.count += device.try_recv_multiple(&mut self.super_packet, buffers, sizes, 0)?;
        Ok(())
    }
}

/// Room before each packet for the kernel's header, bytes.
const HEADROOM: usize = VIRTIO_NET_HDR_LEN;

/// A reusable batch of packets that go to the device.
pub(crate) struct Outgoing {
    table: Table,
    buffers: Vec<Joinable>,
    count: usize,
}

/// A packet behind its headroom. Others may be joined to it up to the longest that the kernel takes, whatever memory it has
/// now: few packets of a batch grow, so none has that much beforehand.
#[derive(Default)]
struct Joinable(Vec<u8>);

impl Joinable {
    fn hold(&mut self, packet: &[u8]) {
        self.0.clear();
        self.0.resize(HEADROOM, 0);
        self.0.extend_from_slice(packet);
    }
}

impl AsRef<[u8]> for Joinable {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Joinable {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl ExpandBuffer for Joinable {
    /// Asked for to learn how long the packet may become.
    fn buf_capacity(&self) -> usize {
        LONGEST_PACKET
    }

    fn buf_resize(&mut self, len: usize, value: u8) {
        self.0.resize(len, value);
    }

    fn buf_extend_from_slice(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

struct Table(GROTable);

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self { table: Table(GROTable::default()), buffers: Vec::with_capacity(BATCH), count: 0 }
    }

    /// Adds a packet. `false` and nothing added if this is no IP packet, or if the batch is full.
    pub(crate) fn push(&mut self, packet: &[u8]) -> bool {
        if self.is_full() || !is_ip_packet(packet) {
            return false;
        }
        if self.buffers.len() == self.count {
            self.buffers.push(Joinable::default());
        }
        self.buffers[self.count].hold(packet);
        self.count += 1;
        true
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count == BATCH
    }

    pub(crate) fn clear(&mut self) {
        for Joinable(buffer) in self.buffers[..self.count].iter_mut().skip(LONG_BUFFERS) {
            buffer.clear();
            buffer.shrink_to(BUFFER_KEPT);
        }
        self.count = 0;
    }
}

/// Enough of a header that the kernel does not answer EINVAL, which means something else here.
fn is_ip_packet(packet: &[u8]) -> bool {
    let least = match packet.first().map(|byte| byte >> 4) {
        Some(4) => 20,
        Some(6) => 40,
        _ => return false,
    };
    (least..=LONGEST_PACKET).contains(&packet.len())
}

fn create(name: &str, mtu: u16, offload: bool) -> io::Result<AsyncDevice> {
    let builder = DeviceBuilder::new().name(name).mtu(mtu).enable(false);
    builder
        .with(|builder| {
            builder.offload(offload);
        })
        .build_async()
}

fn check_mtu(mtu: u16) -> Result<()> {
    if mtu < LEAST_MTU {
        return Err(Error::invalid(format!(
            "an MTU of {mtu} is too small for a tunnel; IPv6 needs {LEAST_MTU}"
        )));
    }
    Ok(())
}

fn name_in_use(name: &str) -> Error {
    Error::in_use(format!(
        "an interface {name} exists already; give the tunnel another name or stop what made it"
    ))
}

fn explain(name: &str, error: &io::Error) -> Error {
    let what = format!("opening the TUN device {name}");
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::new(Kind::Permission, format!("{what}: no permission; it needs root or CAP_NET_ADMIN"))
        }
        io::ErrorKind::ResourceBusy => name_in_use(name),
        _ if !Path::new(DEVICE).exists() => Error::new(
            Kind::Missing,
            format!(
                "{what}: {DEVICE} is missing; load it with `modprobe tun`, or give it to the container with `--device {DEVICE}`"
            ),
        ),
        _ => Error::io(what, error),
    }
}

#[cfg(test)]
mod tests;
