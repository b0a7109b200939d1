//! Forwarding switched on where the tunnel needs it and nowhere else.
//!
//! Answers two questions about a set of interfaces: which kernel switches have to move, and what became open by that,
//! so that the nftables rules can close it again for everybody else before the switches move.

use super::change::Change;
use super::error::{Error, Result};
use super::interface;
use super::sysctl;
use std::fs;

/// What has to change, and what that opens.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    pub(super) changes: Vec<Change>,
    /// Interfaces that did not forward IPv4 before.
    pub(super) opened_v4: Vec<String>,
    /// Interfaces that did not forward IPv6 before.
    pub(super) opened_v6: Vec<String>,
    /// The whole machine did not forward IPv6 before, and cannot be switched on by interface.
    pub(super) opened_all_v6: bool,
}

/// How the kernel switches IPv6 forwarding on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SwitchV6 {
    /// `force_forwarding` of an interface, Linux 6.17.
    Interface,
    /// `forwarding` of all at once; router advertisements are then ignored unless `accept_ra` says otherwise.
    Everything,
    /// This machine has no IPv6.
    Absent,
}

impl SwitchV6 {
    pub(super) fn of_this_kernel() -> Result<Self> {
        if sysctl::read("net/ipv6/conf/default/force_forwarding")?.is_some() {
            return Ok(Self::Interface);
        }
        let everything = sysctl::read("net/ipv6/conf/all/forwarding")?;
        Ok(if everything.is_some() { Self::Everything } else { Self::Absent })
    }
}

impl Forwarding {
    pub(super) fn between(interfaces: &[&str], v6: Option<SwitchV6>) -> Result<Self> {
        let mut forwarding = Self::default();
        for name in interfaces {
            interface::check_name(name)?;
            if forwarding.switch(format!("net/ipv4/conf/{name}/forwarding"))? {
                forwarding.opened_v4.push((*name).to_owned());
            }
        }
        let everything = sysctl::read("net/ipv6/conf/all/forwarding")?;
        match v6 {
            Some(_) if everything.as_deref() == Some("1") => {}
            Some(SwitchV6::Interface) => {
                for name in interfaces {
                    if forwarding.switch(format!("net/ipv6/conf/{name}/force_forwarding"))? {
                        forwarding.opened_v6.push((*name).to_owned());
                    }
                }
            }
            Some(SwitchV6::Everything) => forwarding.switch_everything_v6()?,
            Some(SwitchV6::Absent) | None => {}
        }
        Ok(forwarding)
    }

    /// Plans to set a switch to 1, if it is not.
    fn switch(&mut self, key: String) -> Result<bool> {
        let Some(before) = sysctl::read(&key)? else { return Ok(false) };
        let moves = before == "0";
        if moves {
            self.changes.push(Change::Switch { key, before, after: "1".to_owned() });
        }
        Ok(moves)
    }

    /// The one switch moves `forwarding` of every interface and of those to come. Undoing it sets all of them to 0, so
    /// what they were is written down first and restored last.
    fn switch_everything_v6(&mut self) -> Result<()> {
        for name in interfaces_with_v6()? {
            let key = format!("net/ipv6/conf/{name}/forwarding");
            if let Some(before) = sysctl::read(&key)? {
                self.changes.push(Change::SwitchAlong { key, before });
            }
        }
        for name in interfaces_with_v6()? {
            let key = format!("net/ipv6/conf/{name}/accept_ra");
            // 2 means: also when forwarding (ip-sysctl, accept_ra).
            if sysctl::read(&key)?.as_deref() == Some("1") {
                self.changes.push(Change::Switch { key, before: "1".to_owned(), after: "2".to_owned() });
            }
        }
        self.opened_all_v6 = self.switch("net/ipv6/conf/all/forwarding".to_owned())?;
        Ok(())
    }
}

/// Plans to let answers of far servers in on a link that is not the best route to them. The strict check of RFC 3704
/// would drop them, and with them every path but one.
pub(super) fn loosen_reverse_path(name: &str) -> Result<Option<Change>> {
    interface::check_name(name)?;
    let key = format!("net/ipv4/conf/{name}/rp_filter");
    let everywhere = sysctl::read("net/ipv4/conf/all/rp_filter")?;
    let Some(here) = sysctl::read(&key)? else { return Ok(None) };
    // ip-sysctl, rp_filter: the larger of the two values counts; 1 is strict, 2 is loose.
    let strict = here != "2"
        && everywhere.as_deref() != Some("2")
        && (here == "1" || everywhere.as_deref() == Some("1"));
    Ok(strict.then(|| Change::Switch { key, before: here, after: "2".to_owned() }))
}

fn interfaces_with_v6() -> Result<Vec<String>> {
    let folder = "/proc/sys/net/ipv6/conf";
    let failed = |error: std::io::Error| Error::io(format!("reading {folder}"), &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if name != "all" {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
