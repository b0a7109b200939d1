//! Names and numbers of network interfaces.

use super::error::{Error, Result};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

/// IFNAMSIZ of the kernel without the closing zero, bytes.
const LONGEST_NAME: usize = 15;

/// A name that the kernel takes and that needs no care in a path or between the quotes of an nft script, where `*`
/// would mean any ending.
pub(super) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '"' | '\\' | '*' | '\'' | '$');
    if name.is_empty() || name.len() > LONGEST_NAME || name == "." || name == ".." || !name.chars().all(plain)
    {
        return Err(Error::invalid(format!(
            "interface name {name:?}: 1 to 15 letters, digits and -_.:@ are possible"
        )));
    }
    Ok(())
}

/// The kernel's number of the interface, `None` if there is none of this name.
pub(super) fn index_of(name: &str) -> Result<Option<u32>> {
    match if_nametoindex(name) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::ENODEV | Errno::ENXIO | Errno::ENOENT) => Ok(None),
        Err(errno) => Err(Error::io(format!("interface {name}"), &errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_that_could_break_out_of_a_path_or_a_script_are_refused() {
        for bad in ["", ".", "..", "a/b", "a\"b", "wan*", "a b", "a\nb", "0123456789abcdef", "é"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in ["qb0", "eth0.100", "wlp3s0", "enx001122334455", "br-lan", "eth0@if5"] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
    }
}
