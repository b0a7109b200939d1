use super::{Ends, PacketEmulator};
use crate::link::{CodelSpec, Effect, Schedule, Ways, When};
use crate::profile::{NamedLink, Profile};
use mpquic_base::Duration;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;

/// Long enough for any loaded machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);
const MS: Duration = Duration::from_millis(1);

fn profile(links: &str) -> Profile {
    let links = NamedLink::parse_list(links).unwrap();
    Profile { name: "test", about: "", links, neck: None, schedule: Schedule::new() }
}

/// A pair that keeps packets apart, as a TUN device does: our end of it, and the end of the emulator.
fn device() -> (UnixDatagram, std::os::fd::OwnedFd) {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    (ours, theirs.into())
}

fn plugged(emulator: &PacketEmulator, link: usize) -> (UnixDatagram, UnixDatagram) {
    let ((near, near_end), (far, far_end)) = (device(), device());
    emulator.plug(link, Ends { near: near_end, far: far_end }).unwrap();
    (near, far)
}

fn receive(from: &UnixDatagram) -> Vec<u8> {
    let mut packet = vec![0; 2048];
    let n = from.recv(&mut packet).expect("a packet arrives");
    packet.truncate(n);
    packet
}

/// A UDP packet over IPv4 without payload, with valid checksums.
fn udp4(from: u16, to: u16, tos: u8) -> Vec<u8> {
    let mut packet = vec![0x45, tos, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let header = !sum(&packet);
    packet[10..12].copy_from_slice(&header.to_be_bytes());
    packet.extend(from.to_be_bytes().into_iter().chain(to.to_be_bytes()).chain([0, 8, 0, 0]));
    let checksum = !sum(&pseudo(&packet));
    packet[26..28].copy_from_slice(&checksum.to_be_bytes());
    packet
}

fn pseudo(packet: &[u8]) -> Vec<u8> {
    [&packet[12..20], &[0, 17, 0, 8], &packet[20..]].concat()
}

/// The Internet checksum's sum. With the checksum inside the data it is all ones.
fn sum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}

fn ports(packet: &[u8]) -> (u16, u16) {
    (u16::from_be_bytes([packet[20], packet[21]]), u16::from_be_bytes([packet[22], packet[23]]))
}

#[test]
fn packets_cross_both_ways_in_order_and_take_the_links_delay() {
    let emulator = PacketEmulator::start(profile("50mbit/10ms"), 1).unwrap();
    let (near, far) = plugged(&emulator, 0);
    let begun = emulator.now();
    // A socket pair holds ten packets or so by default.
    for round in 0..10u16 {
        for (from, to) in [(&near, &far), (&far, &near)] {
            for i in 0..8 {
                from.send(&udp4(round, i, 0)).unwrap();
            }
            for i in 0..8 {
                assert_eq!(receive(to), udp4(round, i, 0));
            }
        }
    }
    assert!(emulator.now().since(begun) >= 200 * MS, "twenty one-way trips of 10 ms each");
    let stats = emulator.stats().remove(0);
    assert_eq!((stats.link.up.delivered, stats.link.down.delivered, stats.refused), (80, 80, 0));
    assert_eq!(stats.link.up.delivered_bytes, 80 * 28, "a packet counts with its headers and no others");
}

#[test]
fn an_unplugged_link_gives_its_devices_back_and_can_be_plugged_again() {
    let emulator = PacketEmulator::start(profile("50mbit/1ms,50mbit/1ms"), 1).unwrap();
    let (near, _far) = plugged(&emulator, 1);
    assert!(emulator.unplug(0).is_none(), "nothing was plugged in there");
    let ends = emulator.unplug(1).expect("the devices come back");
    drop(ends);
    assert_eq!(near.send(b"x").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let (near, far) = plugged(&emulator, 1);
    near.send(&udp4(1, 2, 0)).unwrap();
    assert_eq!(receive(&far), udp4(1, 2, 0));
    assert!(emulator.plug(2, Ends { near: near.into(), far: far.into() }).is_err(), "there is no third link");
}

#[test]
fn a_cut_link_swallows_packets_and_a_new_schedule_counts_from_when_it_was_given() {
    let emulator = PacketEmulator::start(profile("50mbit/1ms"), 1).unwrap();
    let (near, far) = plugged(&emulator, 0);
    let hour = Duration::from_secs(3600);
    emulator.reschedule(&Schedule::new().cut(0, Ways::Both, Duration::ZERO, hour));
    near.send(&udp4(1, 1, 0)).unwrap();
    let begun = emulator.now();
    while emulator.stats()[0].link.up.drops.cut == 0 {
        assert!(emulator.now().since(begun) < PATIENCE, "the packet never entered the cut link");
        std::thread::sleep(MS);
    }
    emulator.reschedule(&Schedule::new().cut(0, Ways::Both, hour, 2 * hour));
    near.send(&udp4(2, 2, 0)).unwrap();
    assert_eq!(receive(&far), udp4(2, 2, 0));
}

#[test]
fn a_queue_marks_packets_that_understand_it_and_their_checksums_stay_right() {
    let codel = CodelSpec { target: Duration::ZERO, interval: MS, ecn: true };
    let mut profile = profile("100kbit/1ms");
    profile.links[0].spec = profile.links[0].spec.clone().codel(codel);
    let emulator = PacketEmulator::start(profile, 1).unwrap();
    let (near, far) = plugged(&emulator, 0);
    // In front of each packet wait up to eight others for 15 ms, which is far above the target.
    for i in 0..64 {
        near.send(&[udp4(i, i, 0b10), vec![7; 160]].concat()).unwrap();
        std::thread::sleep(2 * MS);
    }
    let packets: Vec<Vec<u8>> = (0..64).map(|_| receive(&far)).collect();
    let marked = packets.iter().filter(|packet| packet[1] == 0b11).count();
    assert!(marked > 0, "no packet is marked: {:?}", emulator.stats());
    assert!(packets.iter().all(|packet| sum(&packet[..20]) == u16::MAX), "a header checksum is wrong");
    assert_eq!(emulator.stats()[0].link.up.marked, marked as u64);
}

#[test]
fn after_a_rebinding_the_server_sees_another_port_and_the_old_one_is_dead() {
    let emulator = PacketEmulator::start(profile("50mbit/1ms"), 1).unwrap();
    let (near, far) = plugged(&emulator, 0);
    near.send(&udp4(5000, 443, 0)).unwrap();
    assert_eq!(ports(&receive(&far)), (5000, 443), "nothing is translated before the first rebinding");
    let once = Schedule::new().with(0, Ways::Both, When::From(30 * MS), Effect::Rebind);
    emulator.reschedule(&once);
    let begun = emulator.now();
    while emulator.now().since(begun) < 40 * MS {
        std::thread::sleep(MS);
    }
    // The old port first: this answer must not arrive, so the next one is the first to do so.
    far.send(&udp4(443, 5000, 0)).unwrap();
    near.send(&udp4(5000, 443, 0)).unwrap();
    let packet = receive(&far);
    let (new, server) = ports(&packet);
    assert!(new != 5000 && server == 443, "{new}");
    assert_eq!(sum(&pseudo(&packet)), u16::MAX, "the checksum follows the port");
    far.send(&udp4(443, new, 0)).unwrap();
    let answer = receive(&near);
    assert_eq!((ports(&answer), sum(&pseudo(&answer))), ((443, 5000), u16::MAX));
}
