//! One lasting change of the machine: what it is, how it is made, how it is taken back.
//!
//! A change holds everything that its undoing needs, so that the next process can undo what a killed one left. Each
//! refuses to be made over something that exists already and is not ours.

use super::dns::Replacement;
use super::error::{Error, Result};
use super::netlink::{self, Matches, Netlink, Rule};
use super::{nft, sysctl};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(super) enum Change {
    /// A policy rule.
    Rule(Rule),
    /// The only route of a routing table of our own: a default route through an interface.
    DefaultRoute { v6: bool, table: u32, interface: String },
    /// A table of the family `inet`; the script creates and fills it.
    NftTable {
        name: String,
        #[serde(skip)]
        script: String,
    },
    /// A kernel switch, from a value to a value.
    Switch { key: String, before: String, after: String },
    /// A kernel switch that another change moves as a side effect.
    SwitchAlong { key: String, before: String },
    /// A file whose content is replaced.
    File(Replacement),
}

impl Change {
    /// An error if making this would take over something that is there.
    pub(super) async fn check(&self) -> Result<()> {
        match self {
            Self::Rule(rule) => check_rule(rule).await,
            Self::DefaultRoute { v6, table, .. } => check_table(*v6, *table).await,
            Self::NftTable { name, .. } => check_nft_table(name).await,
            Self::Switch { .. } | Self::SwitchAlong { .. } | Self::File(_) => Ok(()),
        }
    }

    pub(super) async fn make(&self) -> Result<()> {
        match self {
            Self::Rule(rule) => Netlink::open()?.add_rule(rule).await,
            Self::DefaultRoute { v6, table, interface } => {
                Netlink::open()?.add_default_route(*v6, *table, interface).await
            }
            Self::NftTable { script, .. } => nft::apply(script).await,
            Self::Switch { key, after, .. } => sysctl::write(key, after),
            Self::SwitchAlong { .. } => Ok(()),
            Self::File(replacement) => replacement.make(),
        }
    }

    /// Takes the change back as far as it is still there. Done twice it does nothing the second time.
    pub(super) async fn undo(&self) -> Result<()> {
        match self {
            Self::Rule(rule) => Netlink::open()?.delete_rule(rule).await,
            Self::DefaultRoute { v6, table, interface } => {
                Netlink::open()?.delete_default_route(*v6, *table, interface).await
            }
            Self::NftTable { name, .. } => nft::delete_table(name).await,
            Self::Switch { key, before, after } => restore_switch(key, before, Some(after)),
            Self::SwitchAlong { key, before } => restore_switch(key, before, None),
            Self::File(replacement) => replacement.undo(),
        }
    }

    /// Whether it survives the boot, or the network namespace, that it was made in.
    pub(super) fn outlives_the_network(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

async fn check_rule(rule: &Rule) -> Result<()> {
    let rules = Netlink::open()?.rules(rule.v6).await?;
    if rules.iter().any(|other| netlink::priority_of(other) == rule.priority) {
        return Err(Error::in_use(format!(
            "a routing rule with priority {} exists that quicbond did not set; choose another priority or see `ip {} rule`",
            rule.priority,
            family_switch(rule.v6)
        )));
    }
    match rule.matches {
        Matches::Unmarked { table: 0 | 253..=255, .. } => Err(Error::invalid(
            "a routing table of quicbond's own is needed, not one of the system's (0, 253 to 255)",
        )),
        _ => Ok(()),
    }
}

async fn check_table(v6: bool, table: u32) -> Result<()> {
    let routes = Netlink::open()?.routes(v6).await?;
    if routes.iter().any(|route| netlink::table_of(route) == table) {
        return Err(Error::in_use(format!(
            "routing table {table} holds routes that quicbond did not set; choose another table or see `ip {} route \
             show table {table}`",
            family_switch(v6)
        )));
    }
    Ok(())
}

async fn check_nft_table(name: &str) -> Result<()> {
    if nft::table_exists(name).await? {
        return Err(Error::in_use(format!(
            "the nftables table inet {name} exists and quicbond's state file does not know it; \
             remove it with `nft delete table inet {name}` if nobody needs it"
        )));
    }
    Ok(())
}

/// A value that somebody changed after us stays as it is, unless the switch only ever moved along with another.
fn restore_switch(key: &str, before: &str, after: Option<&str>) -> Result<()> {
    match sysctl::read(key)? {
        Some(now) if now == before => Ok(()),
        Some(now) if after.is_some_and(|after| after != now) => {
            tracing::warn!(key, now, before, "left as it is: somebody changed this switch in the meantime");
            Ok(())
        }
        // An interface that goes away in this moment takes its switches along.
        Some(_) => sysctl::write(key, before).or_else(|error| match sysctl::read(key)? {
            Some(_) => Err(error),
            None => Ok(()),
        }),
        None => Ok(()),
    }
}

fn family_switch(v6: bool) -> &'static str {
    if v6 { "-6" } else { "-4" }
}
