//! Routing of a client: everything into the tunnel, but for what the bond itself sends.
//!
//! As WireGuard's wg-quick does it: a routing table of our own with a default route through the tunnel, behind a rule
//! that spares marked packets, behind a rule that keeps the more special routes of table main. TCP may leave the tunnel
//! before it enters: nftables redirects it to a local port, where it becomes streams. Owns which rules these are;
//! refuses to know which interfaces are good for what.

use super::change::Change;
use super::error::{Error, Result};
use super::forwarding::{self, Forwarding, SwitchV6};
use super::interface;
use super::journal::Journal;
use super::links::links;
use super::netlink::{Matches, Rule};

/// What a client wants of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientRouting {
    pub(crate) tun: String,
    /// The mark of the bond's own sockets.
    pub(crate) mark: u32,
    /// Number of a routing table that nobody else uses.
    pub(crate) table: u32,
    /// This priority and the next are taken.
    pub(crate) priority: u32,
    /// Where redirected TCP connections are awaited, on IPv4 and IPv6.
    pub(crate) tcp_port: Option<u16>,
    /// Whether IPv6 goes into the tunnel too.
    pub(crate) v6: bool,
    /// Interfaces whose hosts may use the tunnel.
    pub(crate) lan: Vec<String>,
}

impl ClientRouting {
    /// Makes all changes, or none.
    pub(crate) async fn apply(&self, journal: &mut Journal) -> Result<()> {
        let begun = journal.len();
        let applied = self.apply_each(journal).await;
        if applied.is_err() {
            journal.roll_back(begun).await;
        }
        applied
    }

    /// Prepares a link that came later.
    pub(crate) async fn admit_link(&self, name: &str, journal: &mut Journal) -> Result<()> {
        match forwarding::loosen_reverse_path(name)? {
            Some(change) => journal.make(change).await,
            None => Ok(()),
        }
    }

    async fn apply_each(&self, journal: &mut Journal) -> Result<()> {
        self.check()?;
        let mut forwarding = Forwarding::default();
        if !self.lan.is_empty() {
            let ends: Vec<&str> = self.lan.iter().chain([&self.tun]).map(String::as_str).collect();
            let switch_v6 = if self.v6 { Some(SwitchV6::of_this_kernel()?) } else { None };
            forwarding = Forwarding::between(&ends, switch_v6)?;
        }
        journal.make(Change::NftTable { name: self.nft_table(), script: self.script(&forwarding) }).await?;
        for change in forwarding.changes {
            journal.make(change).await?;
        }
        for link in links(&[&self.tun]).await? {
            self.admit_link(&link.name, journal).await?;
        }
        let families: &[bool] = if self.v6 { &[false, true] } else { &[false] };
        for &v6 in families {
            let interface = self.tun.clone();
            journal.make(Change::DefaultRoute { v6, table: self.table, interface }).await?;
            let main = Rule { v6, priority: self.priority, matches: Matches::MainWithoutDefaults };
            journal.make(Change::Rule(main)).await?;
            // Last, because with it the traffic turns into the tunnel.
            let matches = Matches::Unmarked { mark: self.mark, table: self.table };
            journal.make(Change::Rule(Rule { v6, priority: self.priority + 1, matches })).await?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        interface::check_name(&self.tun)?;
        self.lan.iter().try_for_each(|name| interface::check_name(name))?;
        if self.lan.contains(&self.tun) {
            return Err(Error::invalid(format!(
                "{} is the tunnel and cannot be a LAN interface too",
                self.tun
            )));
        }
        if self.mark == 0 {
            return Err(Error::invalid(
                "the mark of the bond's own packets must not be 0: all others have it",
            ));
        }
        // The priorities of the rules that every system has (ip-rule(8)).
        if !(1..32765).contains(&self.priority) {
            return Err(Error::invalid("the priority of the routing rules has to be from 1 to 32764"));
        }
        Ok(())
    }

    fn nft_table(&self) -> String {
        nft_table(&self.tun)
    }

    /// The whole nftables table, in one transaction.
    fn script(&self, forwarding: &Forwarding) -> String {
        let Self { tun, mark, .. } = self;
        let table = self.nft_table();
        let redirect = self.tcp_port.map_or_else(String::new, |port| self.redirecting(port));
        let lan = self.lan_only(forwarding);
        // What answers the bond's packets carries their mark again, for the reverse path checks of firewalld and of
        // the kernel, which look up the way back by it.
        format!(
            "create table inet {table}
table inet {table} {{
  chain remember_mark {{
    type filter hook postrouting priority mangle; policy accept;
    meta mark {mark:#x} meta l4proto udp ct mark set meta mark
  }}
  chain restore_mark {{
    type filter hook prerouting priority mangle; policy accept;
    ct mark {mark:#x} meta l4proto udp meta mark set ct mark
  }}
{redirect}  chain leaving {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname \"{tun}\" masquerade
  }}
  chain forwarded {{
    type filter hook forward priority filter; policy accept;
    oifname \"{tun}\" tcp flags syn tcp option maxseg size set rt mtu
{lan}  }}
}}
"
        )
    }

    /// Connections that the routing sends into the tunnel go to the port; nobody else gets to it.
    fn redirecting(&self, port: u16) -> String {
        let Self { tun, mark, lan, .. } = self;
        let mut text = format!(
            "  chain redirect_own {{
    type nat hook output priority -100; policy accept;
    meta mark {mark:#x} return
    meta l4proto tcp oifname \"{tun}\" redirect to :{port}
  }}
  chain guard_port {{
    type filter hook input priority filter; policy accept;
    tcp dport {port} ct status & dnat == 0 drop
  }}
"
        );
        if !lan.is_empty() {
            let lan = name_set(lan);
            text.push_str(&format!(
                "  chain redirect_lan {{
    type nat hook prerouting priority dstnat; policy accept;
    meta l4proto tcp iifname {lan} fib daddr oifname \"{tun}\" redirect to :{port}
  }}
"
            ));
        }
        text
    }

    /// Where forwarding was off, it is on for the way through the tunnel only.
    fn lan_only(&self, forwarding: &Forwarding) -> String {
        let tun = &self.tun;
        let mut text = String::new();
        if !self.lan.is_empty() {
            text.push_str(&format!("    iifname \"{tun}\" {STRANGER} drop\n"));
        }
        text.push_str(&closed_to_strangers(tun, forwarding));
        text
    }
}

/// Packets that belong to no connection made in the permitted direction.
pub(super) const STRANGER: &str = "ct state != { established, related } ct status & dnat == 0";

/// Rules that keep what `forwarding` opened for the tunnel closed for everybody else. New connections are what they
/// drop, so that another program that opens forwarding for its own purpose afterwards gets its answers.
pub(super) fn closed_to_strangers(tun: &str, forwarding: &Forwarding) -> String {
    let mut text = String::new();
    for (family, opened) in [("ipv4", &forwarding.opened_v4), ("ipv6", &forwarding.opened_v6)] {
        for name in opened.iter().filter(|name| *name != tun) {
            text.push_str(&format!(
                "    meta nfproto {family} iifname \"{name}\" oifname != \"{tun}\" {STRANGER} drop\n"
            ));
        }
    }
    if forwarding.opened_all_v6 {
        text.push_str(&format!(
            "    meta nfproto ipv6 iifname != \"{tun}\" oifname != \"{tun}\" {STRANGER} drop\n"
        ));
    }
    text
}

/// The nftables table that belongs to a tunnel. Tables have plainer names than interfaces.
pub(super) fn nft_table(tun: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    format!("quicbond_{}", tun.chars().map(plain).collect::<String>())
}

pub(super) fn name_set(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("{{ {} }}", quoted.join(", "))
}

#[cfg(test)]
mod tests;
