//! Who may connect: the file of tenants.
//!
//! The file is written by `quicbond server tenant`, never by the running server, which only notices that it has changed.
//! A change is made under a lock and put in place in one step, so that two of them cannot lose each other.

mod text;

use crate::config::{Problems, text_of};
use crate::files;
use crate::token::{Secret, ServerAddress, TenantName};
use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Permissions of the group and of others.
const OTHERS: u32 = 0o077;

/// One who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub(crate) name: TenantName,
    /// Never given to another tenant while this one exists.
    pub(crate) id: u32,
    pub(crate) secret: Secret,
    /// When, in words: nothing depends on it.
    pub(crate) created: String,
    pub(crate) limits: TenantLimits,
}

/// Where a tenant differs from the `[limits]` of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TenantLimits {
    /// Clients of this tenant connected at once.
    pub(crate) clients: Option<u32>,
    /// TCP and UDP flows of this tenant at once.
    pub(crate) flows: Option<u32>,
}

/// What is in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Contents {
    /// Where clients find the server: what the next token will say.
    address: Option<ServerAddress>,
    list: BTreeMap<TenantName, Tenant>,
}

/// The file of tenants as it was read last.
#[derive(Clone, Debug)]
pub(crate) struct Tenants {
    path: PathBuf,
    contents: Contents,
    stamp: Option<Stamp>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    seconds: i64,
    nanos: i64,
}

impl Tenants {
    pub(crate) fn load(path: &Path) -> Result<Self, Problems> {
        let mut tenants = Self { path: path.to_owned(), contents: Contents::default(), stamp: None };
        tenants.read()?;
        Ok(tenants)
    }

    /// Reads the file again if it is another than last time; says whether it did. If the new file is wrong, the tenants
    /// stay as they were, and the error comes once.
    pub(crate) fn reload_if_changed(&mut self) -> Result<bool, Problems> {
        if stamp(&self.path) == self.stamp {
            return Ok(false);
        }
        self.read()?;
        Ok(true)
    }

    pub(crate) fn get(&self, name: &TenantName) -> Option<&Tenant> {
        self.contents.list.get(name)
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tenant> {
        self.contents.list.values()
    }

    /// Where clients find the server, as the last token said.
    pub(crate) fn address(&self) -> Option<&ServerAddress> {
        self.contents.address.as_ref()
    }

    fn read(&mut self) -> Result<(), Problems> {
        let name = self.path.display().to_string();
        // Before the text: a change in between is noticed next time.
        self.stamp = stamp(&self.path);
        let text = text_of(&self.path).map_err(|why| Problems::of_file(&name, why))?;
        self.contents = text::read(&text, &name)?;
        if fs::metadata(&self.path).is_ok_and(|meta| meta.mode() & OTHERS != 0) {
            tracing::warn!("other users can read the secrets in {name}; run: chmod 600 {name}");
        }
        Ok(())
    }
}

/// Writes a new file with one tenant; `force` replaces an old one.
pub(crate) fn found(
    path: &Path,
    name: &TenantName,
    address: &ServerAddress,
    created: String,
    force: bool,
) -> Result<Tenant, String> {
    let mut contents = Contents { address: Some(address.clone()), list: BTreeMap::new() };
    let tenant = contents.add(name, created)?;
    let write = if force { files::replace } else { files::create };
    write(path, &text::write(&contents), files::PRIVATE).map_err(|error| unwritten(path, &error))?;
    Ok(tenant)
}

/// Adds a tenant with a new secret to the file at `path`. An `address` is remembered for the next.
pub(crate) fn add(
    path: &Path,
    name: &TenantName,
    address: Option<&ServerAddress>,
    created: String,
) -> Result<Tenant, String> {
    change(path, |contents| {
        if let Some(address) = address {
            contents.address = Some(address.clone());
        }
        contents.add(name, created)
    })
}

pub(crate) fn remove(path: &Path, name: &TenantName) -> Result<Tenant, String> {
    change(path, |contents| {
        contents.list.remove(name).ok_or_else(|| {
            let known: Vec<&str> = contents.list.keys().map(TenantName::as_str).collect();
            format!("there is no tenant {name}; there are: {}", known.join(", "))
        })
    })
}

fn change(path: &Path, edit: impl FnOnce(&mut Contents) -> Result<Tenant, String>) -> Result<Tenant, String> {
    let _lock = lock(path)?;
    let mut tenants = Tenants::load(path).map_err(|problems| problems.to_string())?;
    let tenant = edit(&mut tenants.contents)?;
    files::replace(path, &text::write(&tenants.contents), files::PRIVATE)
        .map_err(|error| unwritten(path, &error))?;
    Ok(tenant)
}

/// Keeps others from changing the file. The folder is locked, since the file itself is replaced.
fn lock(path: &Path) -> Result<Flock<File>, String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file =
        File::open(folder).map_err(|error| format!("{}: cannot be opened: {error}", folder.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| format!("{}: cannot be locked: {error}", folder.display()))
}

fn unwritten(path: &Path, error: &std::io::Error) -> String {
    format!("{}: cannot be written: {error}", path.display())
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some(Stamp { inode: meta.ino(), size: meta.size(), seconds: meta.mtime(), nanos: meta.mtime_nsec() })
}

impl Contents {
    fn add(&mut self, name: &TenantName, created: String) -> Result<Tenant, String> {
        if self.list.contains_key(name) {
            return Err(format!("there is a tenant {name} already; remove it first for a new secret"));
        }
        let last = self.list.values().map(|tenant| tenant.id).max().unwrap_or(0);
        let id = last.checked_add(1).ok_or("the last number is taken by a tenant; remove that one")?;
        let secret = Secret::random()?;
        let tenant = Tenant { name: name.clone(), id, secret, created, limits: TenantLimits::default() };
        self.list.insert(name.clone(), tenant.clone());
        Ok(tenant)
    }
}

#[cfg(test)]
mod tests;
