use super::{text, time};
use crate::control::{Datagrams, Flows, Link, LinkState, Memory, Role, State, Status, TenantStatus, Totals};

fn link(name: &str, state: LinkState, mbps: f64) -> Link {
    Link {
        name: name.to_owned(),
        tenant: Some("alice".to_owned()),
        local: "192.168.1.5:40000".to_owned(),
        peer: "198.51.100.7:443".to_owned(),
        state,
        rtt_ms: 18.04,
        min_rtt_ms: 16.5,
        rate_mbps_down: mbps,
        rate_mbps_up: mbps / 10.0,
        loss_percent: 0.26,
        mtu: 1452,
        bytes_down: 141_200_000,
        bytes_up: 2_000,
    }
}

fn client() -> Status {
    Status {
        version: "1.2.3".to_owned(),
        uptime_s: 11_530,
        server: Some("vpn.example.org:443".to_owned()),
        interface: Some("quicbond".to_owned()),
        addresses: vec!["10.181.0.2".to_owned(), "fd51:bd::2".to_owned()],
        links: vec![link("fibre", LinkState::Up, 94.21), link("wwan0", LinkState::Silent, 0.0)],
        flows: Flows { tcp: 3, udp: 4, total: 99 },
        totals: Totals { bytes_up: 1, bytes_down: 2_500_000_000, rate_mbps_up: 9.42, rate_mbps_down: 94.21 },
        datagrams: Datagrams { sent: 10, received: 20, dropped: 1, lost: 2, reordered: 5 },
        memory: Memory { resident_bytes: 12_300_000, buffered_bytes: 4_000 },
        notes: vec!["eth9 has no default route".to_owned()],
        ..Status::new(Role::Client, State::Connected)
    }
}

#[test]
fn a_client_shows_its_links_as_a_table() {
    let expected = "\
quicbond client 1.2.3  connected to vpn.example.org:443  up 3 h 12 min
tunnel quicbond  10.181.0.2, fd51:bd::2

link   state   down Mbit/s  up Mbit/s  rtt ms  min ms   loss   mtu      down      up  local
fibre  up             94.2        9.4    18.0    16.5  0.3 %  1452  141.2 MB  2.0 kB  192.168.1.5:40000
wwan0  silent          0.0        0.0    18.0    16.5  0.3 %  1452  141.2 MB  2.0 kB  192.168.1.5:40000

total      down 94.2 Mbit/s (2.50 GB), up 9.4 Mbit/s (1 B)
flows      3 TCP, 4 UDP, 99 since the start
datagrams  10 sent, 20 received, 5 put in order, 2 lost, 1 dropped
memory     12.3 MB, 4.0 kB of it waiting data
note: eth9 has no default route
";
    assert_eq!(text(&client()), expected);
}

#[test]
fn a_server_shows_tenants_and_a_bounded_number_of_paths() {
    let tenant = TenantStatus {
        name: "alice".to_owned(),
        clients: 1,
        flows: 7,
        bytes_up: 5,
        bytes_down: 6_000,
        addresses: vec!["10.181.0.2".to_owned()],
    };
    let status = Status {
        listen: vec!["0.0.0.0:443".to_owned()],
        tenants: vec![tenant],
        links: vec![link("", LinkState::Up, 1.0); 45],
        ..Status::new(Role::Server, State::Serving)
    };
    let text = text(&status);
    for part in [
        "serving on 0.0.0.0:443",
        "tenant  clients  flows    down   up  addresses\nalice         1      7  6.0 kB  5 B  10.181.0.2\n",
        "and 5 more; --json shows all",
        "198.51.100.7:443",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_client_without_links_says_why() {
    let status = Status::new(Role::Client, State::WaitingForALink);
    assert!(text(&status).contains("waiting for a link: no interface has a default route"));
}

#[test]
fn times_have_two_units_at_most() {
    for (seconds, expected) in [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (90_000, "1 d 1 h"),
    ] {
        assert_eq!(time(seconds), expected);
    }
}
