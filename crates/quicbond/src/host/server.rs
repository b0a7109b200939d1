//! Routing of a server: from the tunnel to the Internet and back, and no further.
//!
//! Tenants reach the Internet, not the server's own networks, not the server's own services, not each other, unless
//! that is allowed. Where forwarding has to be switched on, it stays closed for everybody else. Owns these rules;
//! refuses to know tenants and addresses one by one. Connections that the server makes for tenants from its own
//! sockets do not pass here: whoever makes them asks the configuration's rules about targets.

use super::change::Change;
use super::client::{STRANGER, closed_to_strangers, nft_table};
use super::error::{Error, Kind, Result};
use super::forwarding::{Forwarding, SwitchV6};
use super::interface;
use super::journal::Journal;
use super::lan::lan_interfaces;
use super::links::links;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What is not the Internet, by the IANA special-purpose registries (RFC 6890): this network, private, shared by a
/// carrier (RFC 6598), loopback, link-local, protocol assignments, benchmarks, multicast, reserved and broadcast.
const NOT_INTERNET_V4: [&str; 11] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
];
/// Unspecified and loopback, IPv4 within IPv6, NAT64 of a local network (RFC 8215), unique local, link-local, multicast.
const NOT_INTERNET_V6: [&str; 6] =
    ["::/96", "::ffff:0.0.0.0/96", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "ff00::/8"];

/// What a server wants of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerRouting {
    pub(crate) tun: String,
    pub(crate) v4_pool: Ipv4Net,
    pub(crate) v6_pool: Option<Ipv6Net>,
    /// Whether tenants appear with the server's address; otherwise the Internet has to know the way to the pools.
    pub(crate) nat: bool,
    /// Interfaces that lead to the Internet; empty means those with a default route.
    pub(crate) egress: Vec<String>,
    /// Networks that tenants may reach although they are not the Internet.
    pub(crate) allow: Vec<IpNet>,
    /// Whether tenants may reach each other.
    pub(crate) between_tenants: bool,
}

impl ServerRouting {
    /// Makes all changes, or none.
    pub(crate) async fn apply(&self, journal: &mut Journal) -> Result<()> {
        let begun = journal.len();
        let applied = self.apply_each(journal).await;
        if applied.is_err() {
            journal.roll_back(begun).await;
        }
        applied
    }

    async fn apply_each(&self, journal: &mut Journal) -> Result<()> {
        interface::check_name(&self.tun)?;
        self.egress.iter().try_for_each(|name| interface::check_name(name))?;
        let egress = self.egress_interfaces().await?;
        let ends: Vec<&str> = egress.iter().chain([&self.tun]).map(String::as_str).collect();
        let switch_v6 = if self.v6_pool.is_some() { Some(SwitchV6::of_this_kernel()?) } else { None };
        let forwarding = Forwarding::between(&ends, switch_v6)?;
        // The filter first: nothing is open at any moment that should be closed.
        journal
            .make(Change::NftTable { name: nft_table(&self.tun), script: self.script(&forwarding) })
            .await?;
        for change in forwarding.changes {
            journal.make(change).await?;
        }
        Ok(())
    }

    async fn egress_interfaces(&self) -> Result<Vec<String>> {
        if !self.egress.is_empty() {
            return Ok(self.egress.clone());
        }
        let found: Vec<String> = links(&[&self.tun]).await?.into_iter().map(|link| link.name).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        // A host without a default route may still reach targets by narrower ones.
        tracing::warn!(
            "no interface has a default route: clients reach what this host has narrower routes to"
        );
        let found = lan_interfaces(&[&self.tun]);
        if found.is_empty() {
            return Err(Error::new(Kind::Missing, "this host has no interface that leads anywhere"));
        }
        Ok(found)
    }

    /// The whole nftables table, in one transaction.
    fn script(&self, forwarding: &Forwarding) -> String {
        let tun = &self.tun;
        let table = nft_table(tun);
        let masquerade = if self.nat { self.masquerading() } else { String::new() };
        let own_source = self.own_source();
        let allowed = self.allowed();
        let between = if self.between_tenants { "accept" } else { "drop" };
        let towards = if self.nat { format!("    {STRANGER} drop\n") } else { String::new() };
        let closed = closed_to_strangers(tun, forwarding);
        let special_v4 = NOT_INTERNET_V4.join(", ");
        let special_v6 = NOT_INTERNET_V6.join(", ");
        format!(
            "create table inet {table}
table inet {table} {{
{masquerade}  chain from_tunnel {{
{own_source}    oifname \"{tun}\" {between}
    ct state {{ established, related }} accept
{allowed}    ip daddr {{ {special_v4} }} drop
    ip6 daddr {{ {special_v6} }} drop
  }}
  chain to_tunnel {{
    iifname \"{tun}\" {between}
{towards}  }}
  chain to_server {{
{own_source}    ct state {{ established, related }} accept
    icmp type echo-request accept
    icmpv6 type echo-request accept
{allowed}    drop
  }}
  chain forwarded {{
    type filter hook forward priority filter; policy accept;
    oifname \"{tun}\" tcp flags syn tcp option maxseg size set rt mtu
    iifname \"{tun}\" jump from_tunnel
    oifname \"{tun}\" jump to_tunnel
{closed}  }}
  chain arriving {{
    type filter hook input priority filter; policy accept;
    iifname \"{tun}\" jump to_server
  }}
}}
"
        )
    }

    fn masquerading(&self) -> String {
        let Self { tun, v4_pool, .. } = self;
        let v6 = self.v6_pool.map_or_else(String::new, |pool| {
            format!("    ip6 saddr {} oifname != \"{tun}\" masquerade\n", pool.trunc())
        });
        format!(
            "  chain leaving {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {} oifname != \"{tun}\" masquerade
{v6}  }}
",
            v4_pool.trunc()
        )
    }

    /// Whoever is in the tunnel has an address of the pools.
    fn own_source(&self) -> String {
        let v6 = self.v6_pool.map_or_else(
            || "    meta nfproto ipv6 drop\n".to_owned(),
            |pool| format!("    ip6 saddr != {} drop\n", pool.trunc()),
        );
        format!("    ip saddr != {} drop\n{v6}", self.v4_pool.trunc())
    }

    fn allowed(&self) -> String {
        let rule = |network: &IpNet| match network.trunc() {
            IpNet::V4(network) => format!("    ip daddr {network} accept\n"),
            IpNet::V6(network) => format!("    ip6 daddr {network} accept\n"),
        };
        self.allow.iter().map(rule).collect()
    }
}

#[cfg(test)]
mod tests;
