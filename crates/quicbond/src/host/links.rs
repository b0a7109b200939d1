//! The ways to the Internet that this machine has, and word of every change.
//!
//! A link is an interface with a default route in table main. Carrier, addresses and routes are read whole after each
//! notice of the kernel, never patched together from notices: a lost notice then costs nothing. Refuses to know which
//! link is good or bad.

use super::error::{Error, Result};
use super::netlink::{MAIN, Netlink, Served, table_of};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

/// Notices come in bursts: an interface that comes up brings a dozen. Quiet for this long ends a burst.
const QUIET: Duration = Duration::from_millis(50);
/// A burst that does not end is reported all the same.
const LONGEST_BURST: Duration = Duration::from_millis(200);
/// Until a broken netlink socket is opened anew.
const RETRY: Duration = Duration::from_secs(1);

/// What the kernel tells of.
const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// An interface with a default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// What packets to the Internet may come from: global, settled, not on their way out. IPv4 first.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) has_default_v4: bool,
    pub(crate) has_default_v6: bool,
    /// Switched on, with carrier, and ready for packets.
    pub(crate) up: bool,
}

/// The links as they are, but for those named in `exclude`; sorted by number.
pub(crate) async fn links(exclude: &[&str]) -> Result<Vec<Link>> {
    let netlink = Netlink::open()?;
    let interfaces = netlink.interfaces().await?;
    let addresses = netlink.addresses().await?;
    let with_v4 = with_default_route(&netlink.routes(false).await?);
    let with_v6 = with_default_route(&netlink.routes(true).await?);
    let mut links: Vec<Link> = interfaces
        .iter()
        .filter_map(|interface| {
            let index = interface.header.index;
            let has_default_v4 = with_v4.contains(&index);
            let has_default_v6 = with_v6.contains(&index);
            let name = name_of(interface)?;
            let wanted = (has_default_v4 || has_default_v6) && !exclude.contains(&name);
            wanted.then(|| Link {
                name: name.to_owned(),
                index,
                addresses: sources(index, &addresses),
                has_default_v4,
                has_default_v6,
                up: is_up(interface),
            })
        })
        .collect();
    links.sort_by_key(|link| link.index);
    Ok(links)
}

/// Tells of changes of the links until it is dropped.
#[derive(Debug)]
pub(crate) struct LinkWatch {
    latest: watch::Receiver<Vec<Link>>,
    _watching: Served,
}

impl LinkWatch {
    pub(crate) async fn start(exclude: &[String]) -> Result<Self> {
        // Listening begins before the first listing, so nothing falls between the two.
        let notices = Notices::open()?;
        let names: Vec<&str> = exclude.iter().map(String::as_str).collect();
        let (tell, latest) = watch::channel(links(&names).await?);
        let watching = Served(tokio::spawn(watch_links(notices, exclude.to_vec(), tell)));
        Ok(Self { latest, _watching: watching })
    }

    /// The links as last seen.
    pub(crate) fn now(&self) -> Vec<Link> {
        self.latest.borrow().clone()
    }

    /// Waits until the links differ from what was last returned, and returns them. Changes in between fall together.
    pub(crate) async fn changed(&mut self) -> Vec<Link> {
        if self.latest.changed().await.is_err() {
            // The watching task ends only with the runtime.
            std::future::pending::<()>().await;
        }
        self.latest.borrow_and_update().clone()
    }
}

async fn watch_links(mut notices: Notices, exclude: Vec<String>, tell: watch::Sender<Vec<Link>>) {
    let names: Vec<&str> = exclude.iter().map(String::as_str).collect();
    loop {
        if !notices.next_burst().await {
            tracing::warn!("the kernel's notices about links ended; listening anew");
            sleep(RETRY).await;
            match Notices::open() {
                Ok(opened) => notices = opened,
                Err(error) => tracing::warn!(%error, "no notices about links"),
            }
        }
        match links(&names).await {
            Ok(links) => {
                tell.send_if_modified(|known| {
                    let differs = *known != links;
                    if differs {
                        *known = links;
                    }
                    differs
                });
            }
            Err(error) => tracing::warn!(%error, "links could not be listed"),
        }
    }
}

/// The kernel's notices, in bursts.
struct Notices {
    messages: BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>,
    _served: Served,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Nothing,
    /// Worth a look when things have settled.
    Look,
    /// A link may be dead: look now.
    Loss,
}

impl Notices {
    fn open() -> Result<Self> {
        let (connection, _, messages) = new_multicast_connection(&GROUPS)
            .map_err(|error| Error::io("listening for changes of the links", &error))?;
        let messages = messages.map(|(message, _)| message).boxed();
        Ok(Self { messages, _served: Served(tokio::spawn(connection)) })
    }

    /// Waits for something that matters and for the quiet after it. `false` if no notices will come any more.
    async fn next_burst(&mut self) -> bool {
        let first = loop {
            match self.messages.next().await.map(|message| weigh(&message)) {
                None => return false,
                Some(Weight::Nothing) => {}
                Some(weight) => break weight,
            }
        };
        let start = Instant::now();
        let (mut weight, mut quiet) = (first, start + QUIET);
        while weight < Weight::Loss {
            match timeout_at(quiet.min(start + LONGEST_BURST), self.messages.next()).await {
                Err(_) => break,
                Ok(None) => return false,
                Ok(Some(message)) => match weigh(&message) {
                    Weight::Nothing => {}
                    more => (weight, quiet) = (weight.max(more), Instant::now() + QUIET),
                },
            }
        }
        true
    }
}

fn weigh(message: &NetlinkMessage<RouteNetlinkMessage>) -> Weight {
    match &message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(_)) => Weight::Loss,
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
            if is_up(link) {
                Weight::Look
            } else {
                Weight::Loss
            }
        }
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        ) => {
            if is_default_route(route) {
                Weight::Look
            } else {
                Weight::Nothing
            }
        }
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_),
        ) => Weight::Look,
        // Notices were lost (ENOBUFS): what they said is read from the tables.
        NetlinkPayload::Overrun(_) => Weight::Loss,
        _ => Weight::Nothing,
    }
}

fn is_up(interface: &LinkMessage) -> bool {
    interface.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running)
}

fn name_of(interface: &LinkMessage) -> Option<&str> {
    interface.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn is_default_route(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0
        && route.header.kind == RouteType::Unicast
        && table_of(route) == MAIN
}

/// The interfaces that default routes lead to, whatever their metric, over one way or several.
fn with_default_route(routes: &[RouteMessage]) -> BTreeSet<u32> {
    let mut indices = BTreeSet::new();
    for route in routes.iter().filter(|route| is_default_route(route)) {
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Oif(index) => {
                    indices.insert(*index);
                }
                RouteAttribute::MultiPath(hops) => indices.extend(hops.iter().map(|hop| hop.interface_index)),
                _ => {}
            }
        }
    }
    indices
}

fn sources(index: u32, addresses: &[AddressMessage]) -> Vec<IpAddr> {
    let of_link = addresses.iter().filter(|address| address.header.index == index && is_usable(address));
    let mut sources: Vec<IpAddr> = of_link.filter_map(own_address).collect();
    sources.sort_by_key(IpAddr::is_ipv6);
    sources
}

fn is_usable(address: &AddressMessage) -> bool {
    let mut flags = AddressFlags::from_bits_retain(u32::from(address.header.flags.bits()));
    for attribute in &address.attributes {
        if let AddressAttribute::Flags(all) = attribute {
            flags |= *all;
        }
    }
    let unsettled = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
    // An optimistic address may be used while it is still being checked (RFC 4429).
    let settled = !flags.intersects(unsettled) || flags.contains(AddressFlags::Optimistic);
    address.header.scope == AddressScope::Universe && settled
}

/// On a point-to-point link `Address` is the other end and `Local` is ours; IPv6 often gives `Address` alone.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests;
