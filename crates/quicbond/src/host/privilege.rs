//! Whether this process may change the machine's network, before it tries.

use super::error::{Error, Kind, Result};

/// capabilities(7): CAP_NET_ADMIN.
const NET_ADMIN: u32 = 12;

/// An error that says what `what` needs, if this process lacks it. Where the kernel does not say, the attempt will.
pub(crate) fn check_privilege(what: &str) -> Result<()> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    if effective(&status).is_none_or(|capabilities| capabilities >> NET_ADMIN & 1 == 1) {
        return Ok(());
    }
    let message = format!("{what}, which needs root or CAP_NET_ADMIN: start it with sudo or as a service");
    Err(Error::new(Kind::Permission, message))
}

fn effective(status: &str) -> Option<u64> {
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::effective;

    #[test]
    fn the_effective_capabilities_are_read_as_the_kernel_writes_them() {
        let status = "CapPrm:\t000001ffffffffff\nCapEff:\t0000000000001000\nCapBnd:\t000001ffffffffff\n";
        assert_eq!(effective(status), Some(1 << 12));
        assert_eq!(effective("Name:\tquicbond\n"), None);
    }
}
