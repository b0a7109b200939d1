use super::{Link, LinkWatch, Weight, links, weigh};
use crate::host::sandbox::{Namespace, settle, shell};
use rtnetlink::packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A change has to be seen within a second; the kernel itself may sit on a lost carrier for another, if the carrier of
/// any interface on the machine (other tests have some) changed in the second before.
const SOON: Duration = Duration::from_millis(2000);

/// Two namespaces with a pair of interfaces between them, the ends here with a default route.
fn two_links() -> Option<(Namespace, Arc<Namespace>)> {
    let (here, far) = (Namespace::new()?, Namespace::new()?);
    for (name, there, net) in [("wan0", "far0", 1), ("wan1", "far1", 2)] {
        here.connect(name, &far, there);
        far.run(move |_| shell(&format!("ip link set {there} up")));
        here.run(move |_| {
            shell(&format!(
                "ip link set {name} up; ip addr add 192.0.2.{net}/32 peer 198.51.100.{net} dev {name}
                 ip -6 addr add 2001:db8:{net}::2/64 dev {name} nodad
                 ip route add default via 198.51.100.{net} dev {name} metric {net}00"
            ));
        });
    }
    here.run(|_| {
        shell("ip -6 route add default via 2001:db8:2::1 dev wan1");
        settle();
    });
    Some((here, Arc::new(far)))
}

fn names(links: &[Link]) -> Vec<&str> {
    links.iter().map(|link| link.name.as_str()).collect()
}

/// Waits for a state of the links; changes on the way there do not count.
async fn until(watch: &mut LinkWatch, reached: impl Fn(&[Link]) -> bool) -> Vec<Link> {
    let reaching = async {
        loop {
            let links = watch.changed().await;
            if reached(&links) {
                return links;
            }
        }
    };
    timeout(SOON, reaching).await.expect("the change was not seen in time")
}

#[test]
fn links_are_interfaces_with_default_routes_whatever_the_metric() {
    let Some((here, _far)) = two_links() else { return };
    here.run(|runtime| {
        runtime.block_on(async {
            shell(
                "ip link add lan0 type veth peer name lan1; ip addr add 192.168.1.1/24 dev lan0; ip link set lan0 up
                 ip route add default dev lan0 table 77
                 ip -6 addr add 2001:db8:1::dead/64 dev wan0 nodad preferred_lft 0
                 ip addr add 192.0.2.99/32 dev wan0 scope link",
            );
            let found = links(&[]).await.unwrap();
            assert_eq!(names(&found), ["wan0", "wan1"]);
            let addresses: Vec<IpAddr> = ["192.0.2.1", "2001:db8:1::2"].map(|text| text.parse().unwrap()).into();
            assert_eq!(found[0].addresses, addresses);
            assert_eq!((found[0].has_default_v4, found[0].has_default_v6, found[0].up), (true, false, true));
            assert_eq!((found[1].has_default_v4, found[1].has_default_v6, found[1].up), (true, true, true));
            assert_eq!(names(&links(&["wan0"]).await.unwrap()), ["wan1"]);
        });
    });
}

#[test]
fn one_default_route_over_several_interfaces_makes_each_a_link() {
    let Some((here, _far)) = two_links() else { return };
    here.run(|runtime| {
        runtime.block_on(async {
            shell(
                "ip route del default dev wan0; ip route del default dev wan1; ip -6 route del default dev wan1
                 ip route add default nexthop via 198.51.100.1 dev wan0 nexthop via 198.51.100.2 dev wan1",
            );
            assert_eq!(names(&links(&[]).await.unwrap()), ["wan0", "wan1"]);
        });
    });
}

#[test]
fn links_that_come_go_and_lose_their_carrier_are_told_soon() {
    let Some((here, far)) = two_links() else { return };
    here.run(move |runtime| {
        runtime.block_on(async {
            let mut watch = LinkWatch::start(&["wan9".to_owned()]).await.unwrap();
            assert_eq!(names(&watch.now()), ["wan0", "wan1"]);

            far.run(|_| shell("ip link set far0 down"));
            let seen = until(&mut watch, |links| !links[0].up).await;
            assert!(seen[1].up);

            far.run(|_| shell("ip link set far0 up"));
            // The kernel itself looks for a new carrier once a second.
            settle();
            if !watch.now()[0].up {
                until(&mut watch, |links| links[0].up).await;
            }

            let begin = Instant::now();
            shell("ip link del wan0");
            until(&mut watch, |links| names(links) == ["wan1"]).await;
            shell(
                "ip tuntap add wan2 mode tun; ip link set wan2 up; ip route add default dev wan2 metric 900",
            );
            until(&mut watch, |links| names(links) == ["wan1", "wan2"]).await;
            assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
            shell("ip addr add 192.0.2.77/32 dev wan2");
            until(&mut watch, |links| links[1].addresses.len() == 1).await;
            shell("ip route del default dev wan2");
            until(&mut watch, |links| names(links) == ["wan1"]).await;
        });
    });
}

#[test]
fn a_storm_of_changes_that_overruns_the_socket_ends_in_the_right_list() {
    let Some((here, _far)) = two_links() else { return };
    here.run(|runtime| {
        runtime.block_on(async {
            let mut watch = LinkWatch::start(&[]).await.unwrap();
            // Blocks this thread, and with it the watch: the kernel's notices pile up meanwhile.
            shell(
                "for i in $(seq 1 250); do for j in $(seq 1 10); do
                   echo \"addr add 10.$i.$j.1/32 dev wan0\"; echo \"addr del 10.$i.$j.1/32 dev wan0\"
                 done; done > /tmp/quicbond-storm-$$; ip -batch /tmp/quicbond-storm-$$; rm /tmp/quicbond-storm-$$
                 ip link del wan1",
            );
            until(&mut watch, |links| names(links) == ["wan0"]).await;
            assert_eq!(watch.now(), links(&[]).await.unwrap());
        });
    });
}

#[test]
fn lost_notices_are_a_reason_to_look_at_once() {
    let overrun = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::Overrun(Vec::new()));
    assert_eq!(weigh(&overrun), Weight::Loss);
}
