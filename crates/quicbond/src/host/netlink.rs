//! Requests to the kernel's routing tables over netlink.
//!
//! A [`Netlink`] is one socket in the network namespace of the thread that opened it, driven by a task that ends with
//! it. Owns the shape of messages; refuses to know why a rule or a route is wanted.

use super::error::{Error, Kind, Result};
use super::interface;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteScope};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::{Handle, IpVersion, LinkUnspec, RouteMessageBuilder};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::task::JoinHandle;

/// One netlink socket and the task that serves it.
#[derive(Debug)]
pub(super) struct Netlink {
    handle: Handle,
    _served: Served,
}

/// Ends the task with its owner: a netlink connection does not notice by itself that nobody listens any more.
#[derive(Debug)]
pub(super) struct Served(pub(super) JoinHandle<()>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A policy rule that quicbond sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule {
    pub(super) v6: bool,
    pub(super) priority: u32,
    pub(super) matches: Matches,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Matches {
    /// The main table, but for its default routes.
    MainWithoutDefaults,
    /// Everything without this mark looks into this table.
    Unmarked { mark: u32, table: u32 },
}

impl Netlink {
    pub(super) fn open() -> Result<Self> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| Error::io("opening a netlink socket", &error))?;
        Ok(Self { handle, _served: Served(tokio::spawn(connection)) })
    }

    pub(super) async fn interfaces(&self) -> Result<Vec<LinkMessage>> {
        let listing = self.handle.link().get().execute().try_collect().await;
        listing.map_err(|error| fault("listing interfaces", &error))
    }

    pub(super) async fn addresses(&self) -> Result<Vec<AddressMessage>> {
        let listing = self.handle.address().get().execute().try_collect().await;
        listing.map_err(|error| fault("listing addresses", &error))
    }

    pub(super) async fn routes(&self, v6: bool) -> Result<Vec<RouteMessage>> {
        let family = if v6 {
            RouteMessageBuilder::<Ipv6Addr>::new().build()
        } else {
            RouteMessageBuilder::<Ipv4Addr>::new().build()
        };
        let listing = self.handle.route().get(family).execute().try_collect().await;
        listing.map_err(|error| fault("listing routes", &error))
    }

    pub(super) async fn rules(&self, v6: bool) -> Result<Vec<RuleMessage>> {
        let version = if v6 { IpVersion::V6 } else { IpVersion::V4 };
        let listing = self.handle.rule().get(version).execute().try_collect().await;
        listing.map_err(|error| fault("listing routing rules", &error))
    }

    pub(super) async fn add_rule(&self, rule: &Rule) -> Result<()> {
        let mut request = self.handle.rule().add();
        *request.message_mut() = rule.message();
        request.execute().await.map_err(|error| fault(&format!("adding {}", rule.name()), &error))
    }

    /// A rule that is gone already is no fault.
    pub(super) async fn delete_rule(&self, rule: &Rule) -> Result<()> {
        let gone = |errno| errno == nix::errno::Errno::ENOENT as i32;
        match self.handle.rule().del(rule.message()).execute().await {
            Err(error) if !errno_of(&error).is_some_and(gone) => {
                Err(fault(&format!("deleting {}", rule.name()), &error))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn add_default_route(&self, v6: bool, table: u32, through: &str) -> Result<()> {
        let what = format!("adding a default route through {through} to table {table}");
        let Some(index) = interface::index_of(through)? else {
            return Err(Error::new(Kind::Missing, format!("{what}: there is no interface {through}")));
        };
        let request = self.handle.route().add(default_route(v6, table, index));
        request.execute().await.map_err(|error| fault(&what, &error))
    }

    /// A route that went with its interface is no fault.
    pub(super) async fn delete_default_route(&self, v6: bool, table: u32, through: &str) -> Result<()> {
        let Some(index) = interface::index_of(through)? else { return Ok(()) };
        let gone = |errno| errno == nix::errno::Errno::ESRCH as i32;
        match self.handle.route().del(default_route(v6, table, index)).execute().await {
            Err(error) if !errno_of(&error).is_some_and(gone) => {
                Err(fault(&format!("deleting the default route of table {table}"), &error))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn add_address(&self, index: u32, address: ipnet::IpNet) -> Result<()> {
        let mut request = self.handle.address().add(index, address.addr(), address.prefix_len());
        if address.addr().is_ipv6() {
            // There is nobody on a tunnel's link to object, so the address need not wait for that.
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        request.execute().await.map_err(|error| fault(&format!("adding the address {address}"), &error))
    }

    pub(super) async fn replace_address(&self, index: u32, address: ipnet::IpNet) -> Result<()> {
        let mut request = self.handle.address().add(index, address.addr(), address.prefix_len()).replace();
        if address.addr().is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        request.execute().await.map_err(|error| fault(&format!("setting the address {address}"), &error))
    }

    /// Takes all addresses off the interface but these.
    pub(super) async fn keep_addresses(&self, index: u32, keep: &[ipnet::IpNet]) -> Result<()> {
        for message in self.addresses().await?.into_iter().filter(|message| message.header.index == index) {
            let own = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(ip) => Some(*ip),
                _ => None,
            });
            if own.is_some_and(|own| !keep.iter().any(|net| net.addr() == own)) {
                let removed = self.handle.address().del(message).execute().await;
                removed.map_err(|error| fault("removing an old address", &error))?;
            }
        }
        Ok(())
    }

    /// Sets the interface up, without an IPv6 link-local address of the kernel's making: nobody is on a tunnel's link
    /// to talk to, and router solicitations would be tunnelled.
    pub(super) async fn set_up(&self, index: u32) -> Result<()> {
        let quiet = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
        let message = LinkUnspec::new_with_index(index)
            .append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![quiet]))
            .build();
        if let Err(error) = self.handle.link().set(message).execute().await {
            // A host without IPv6 has no such setting.
            tracing::debug!(%error, "no link-local address mode on this interface");
        }
        let message = LinkUnspec::new_with_index(index).up().build();
        self.handle
            .link()
            .set(message)
            .execute()
            .await
            .map_err(|error| fault("setting the interface up", &error))
    }

    /// The kernel makes no super-packet for this interface that has more segments than this.
    pub(super) async fn limit_segments(&self, index: u32, segments: u32) -> Result<()> {
        let message = LinkUnspec::new_with_index(index)
            .append_extra_attribute(LinkAttribute::GsoMaxSegs(segments))
            .build();
        let set = self.handle.link().set(message).execute().await;
        set.map_err(|error| fault("limiting the segments of a super-packet", &error))
    }
}

impl Rule {
    fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = if self.v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        message.header.action = RuleAction::ToTable;
        message.attributes.push(RuleAttribute::Priority(self.priority));
        match self.matches {
            Matches::MainWithoutDefaults => {
                message.attributes.push(RuleAttribute::Table(MAIN));
                message.attributes.push(RuleAttribute::SuppressPrefixLen(0));
            }
            Matches::Unmarked { mark, table } => {
                message.header.flags = RuleFlags::Invert;
                message.attributes.push(RuleAttribute::FwMark(mark));
                message.attributes.push(RuleAttribute::FwMask(u32::MAX));
                message.attributes.push(RuleAttribute::Table(table));
            }
        }
        message
    }

    fn name(&self) -> String {
        format!("the IPv{} routing rule {}", if self.v6 { 6 } else { 4 }, self.priority)
    }
}

/// The number of table main (`/etc/iproute2/rt_tables`).
pub(super) const MAIN: u32 = 254;

/// The table of a listed route; numbers above a byte stand in an attribute.
pub(super) fn table_of(route: &RouteMessage) -> u32 {
    let attribute = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    attribute.unwrap_or(u32::from(route.header.table))
}

pub(super) fn priority_of(rule: &RuleMessage) -> u32 {
    let attribute = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(priority) => Some(*priority),
        _ => None,
    });
    attribute.unwrap_or(0)
}

fn default_route(v6: bool, table: u32, index: u32) -> RouteMessage {
    if v6 {
        RouteMessageBuilder::<Ipv6Addr>::new().table_id(table).output_interface(index).build()
    } else {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().table_id(table).output_interface(index);
        route.scope(RouteScope::Link).build()
    }
}

fn errno_of(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}

fn fault(what: &str, error: &rtnetlink::Error) -> Error {
    match errno_of(error) {
        Some(errno) => Error::io(what, &io::Error::from_raw_os_error(errno)),
        None => Error::new(Kind::Io, format!("{what}: {error}")),
    }
}
