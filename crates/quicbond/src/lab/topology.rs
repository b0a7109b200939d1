//! The hosts and what lies between them: devices, addresses and routes.
//!
//! LAN host -- router == links == Internet (with the server) -- target. Everything is set with `ip`, except the links'
//! devices, whose descriptors the emulator needs.

use super::place::Place;
use super::plan::{Emulated, Plan, WIRE, Wires};
use mpquic_sim::emulator::{Ends, PacketEmulator};
use mpquic_sim::link::Schedule;
use mpquic_sim::profile::Profile;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tun_rs::{DeviceBuilder, Layer};

pub(super) const ROUTER_LAN: &str = "192.168.77.1";
pub(super) const SERVER: &str = "203.0.113.1";
const SERVER6: &str = "2001:db8::1";
pub(super) const TARGET: &str = "198.51.100.10";
pub(super) const TARGET6: &str = "2001:db8:1::10";
/// What the server has to allow besides public addresses.
pub(super) const TARGETS: [&str; 2] = ["198.51.100.0/24", "2001:db8::/32"];
/// Of the best route without a tunnel; the links' own routes have 100 and more.
const FAVOURITE_METRIC: u32 = 10;
const FIRST_METRIC: usize = 100;
/// Packets that may wait in a link's device for the emulator, which empties it many times per millisecond. It stands in
/// for a modem that never pushes back; the queue that matters is the model's.
const DEVICE_QUEUE: u32 = 4096;
const MTU: u16 = 1500;
/// Enough for 1 Gbit/s at 500 ms; the usual 4 to 6 MB would decide the result on long links.
const TCP_WINDOW: &str = "4096 131072 67108864";

#[derive(Debug)]
pub(super) struct Topology {
    pub(super) emulator: Option<Arc<PacketEmulator>>,
    pub(super) lan: Place,
    pub(super) router: Place,
    pub(super) internet: Place,
    pub(super) target: Place,
    tunnel: bool,
}

/// One link as the routes see it; `number` counts from 1.
struct Link<'a> {
    device: &'a str,
    number: usize,
    /// LAN packets take it as they are.
    for_lan: bool,
}

impl Topology {
    pub(super) fn make(plan: &Plan) -> io::Result<Self> {
        let hosts = format!(
            "127.0.0.1 localhost\n::1 localhost\n{TARGET} target target4\n{TARGET6} target target6\n\
             {SERVER} server\n{SERVER6} server\n"
        );
        let resolver = format!("nameserver {TARGET}\noptions timeout:2\n");
        let place = |name| Place::make(name, &hosts, &resolver);
        let emulator = match &plan.wires {
            Wires::Plain => None,
            Wires::Emulated(emulated) => {
                // What happens to the links counts from the start of the command, which is later.
                let calm = Profile { schedule: Schedule::new(), ..emulated.profile.clone() };
                Some(Arc::new(PacketEmulator::start(calm, emulated.seed)?))
            }
        };
        let topology = Self {
            emulator,
            lan: place("lan")?,
            router: place("router")?,
            internet: place("internet")?,
            target: place("target")?,
            tunnel: plan.tunnel,
        };
        topology.tune()?;
        topology.join_lan()?;
        topology.join_target()?;
        match &plan.wires {
            Wires::Plain => topology.join_plainly()?,
            Wires::Emulated(emulated) => {
                emulated.first.iter().try_for_each(|&link| topology.plug(emulated, link))?;
            }
        }
        Ok(topology)
    }

    /// Makes the devices of an emulated link and joins them.
    pub(super) fn plug(&self, emulated: &Emulated, link: usize) -> io::Result<()> {
        let Some(emulator) = &self.emulator else { return Ok(()) };
        let device = &emulated.devices[link];
        let ends = Ends { near: tun(&self.router, device)?, far: tun(&self.internet, device)? };
        emulator.plug(link, ends)?;
        let for_lan = !self.tunnel && link == emulated.favourite;
        self.route(&Link { device, number: link + 1, for_lan })
    }

    /// Deletes the devices of an emulated link.
    pub(super) fn unplug(&self, link: usize) {
        // They vanish when their descriptors are closed.
        drop(self.emulator.as_ref().and_then(|emulator| emulator.unplug(link)));
    }

    fn tune(&self) -> io::Result<()> {
        for place in [&self.lan, &self.router, &self.internet, &self.target] {
            let settings = [
                ("ipv4/tcp_rmem", TCP_WINDOW),
                ("ipv4/tcp_wmem", TCP_WINDOW),
                // One transfer shall not know what the last one learned.
                ("ipv4/tcp_no_metrics_save", "1"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
                ("ipv4/ping_group_range", "0 2147483647"),
                // Nobody else has these addresses, and the first packet would wait a second for the answer.
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv6/conf/default/accept_ra", "0"),
            ];
            place.set(settings.map(|(key, value)| (key.to_owned(), value)).into())?;
        }
        for place in [&self.router, &self.internet] {
            let settings = [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")];
            place.set(settings.map(|(key, value)| (key.to_owned(), value)).into())?;
        }
        Ok(())
    }

    fn join_lan(&self) -> io::Result<()> {
        let lan = self.lan.thread;
        self.router.ip(&[
            format!("link add lan type veth peer name eth0 netns {lan}"),
            format!("addr add {ROUTER_LAN}/24 dev lan"),
            "addr add fd77::1/64 dev lan nodad".into(),
            "link set dev lan up".into(),
        ])?;
        self.lan.ip(&[
            "addr add 192.168.77.2/24 dev eth0".into(),
            "addr add fd77::2/64 dev eth0 nodad".into(),
            "link set dev eth0 up".into(),
            format!("route add 0.0.0.0/0 via {ROUTER_LAN} dev eth0"),
            "route add ::/0 via fd77::1 dev eth0".into(),
        ])
    }

    fn join_target(&self) -> io::Result<()> {
        let target = self.target.thread;
        self.internet.ip(&[
            format!("addr add {SERVER}/32 dev lo"),
            format!("addr add {SERVER6}/128 dev lo nodad"),
            format!("link add to-target type veth peer name eth0 netns {target}"),
            "addr add 198.51.100.1/24 dev to-target".into(),
            "addr add 2001:db8:1::1/64 dev to-target nodad".into(),
            "link set dev to-target up".into(),
        ])?;
        self.target.ip(&[
            format!("addr add {TARGET}/24 dev eth0"),
            format!("addr add {TARGET6}/64 dev eth0 nodad"),
            "link set dev eth0 up".into(),
            "route add 0.0.0.0/0 via 198.51.100.1 dev eth0".into(),
            "route add ::/0 via 2001:db8:1::1 dev eth0".into(),
        ])
    }

    fn join_plainly(&self) -> io::Result<()> {
        let internet = self.internet.thread;
        self.router.ip(&[format!("link add {WIRE} type veth peer name {WIRE} netns {internet}")])?;
        self.route(&Link { device: WIRE, number: 1, for_lan: !self.tunnel })
    }

    /// Gives the two devices of a link their addresses and routes.
    fn route(&self, link: &Link<'_>) -> io::Result<()> {
        let Link { device, number, for_lan } = *link;
        let metric = FIRST_METRIC + number;
        let mut near = link.up(2);
        let mut far = link.up(1);
        let mut default = |metric: usize| {
            near.push(format!("route add 0.0.0.0/0 via 10.0.{number}.1 dev {device} metric {metric}"));
            near.push(format!("route add ::/0 via fd00:{number}::1 dev {device} metric {metric}"));
        };
        default(metric);
        if for_lan {
            default(FAVOURITE_METRIC as usize);
            far.push(format!("route add 192.168.77.0/24 via 10.0.{number}.2 dev {device}"));
            far.push(format!("route add fd77::/64 via fd00:{number}::2 dev {device}"));
        }
        // Near before far: a veth must be up at both ends before its routes can be used, and either order does.
        self.internet.ip(&far)?;
        // A provider drops what does not come from the address that it gave out (BCP 38).
        self.internet.set(vec![(format!("ipv4/conf/{device}/rp_filter"), "1")])?;
        self.router.ip(&near)
    }
}

impl Link<'_> {
    fn up(&self, host: usize) -> Vec<String> {
        let Link { device, number, .. } = self;
        vec![
            format!("link set dev {device} mtu {MTU} multicast off addrgenmode none up"),
            format!("addr add 10.0.{number}.{host}/24 dev {device}"),
            format!("addr add fd00:{number}::{host}/64 dev {device} nodad"),
        ]
    }
}

fn tun(place: &Place, name: &str) -> io::Result<OwnedFd> {
    let device = name.to_owned();
    let made = place.run(move || {
        let builder = DeviceBuilder::new().name(device).layer(Layer::L3).enable(false);
        let device = builder.with(|opt| {
            opt.tx_queue_len(DEVICE_QUEUE).offload(false).packet_information(false);
        });
        device.build_sync()?.as_fd().try_clone_to_owned()
    })?;
    made.map_err(|e| io::Error::new(e.kind(), format!("cannot make the TUN device {name}: {e}")))
}
