use super::{file_name, unit};
use crate::cli::Role;
use std::path::Path;

#[test]
fn the_packaged_units_are_those_that_the_program_prints() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    for role in [Role::Server, Role::Client] {
        let file = folder.join(file_name(role));
        let packaged = std::fs::read_to_string(&file).unwrap();
        assert!(packaged == unit(role), "{}: run `quicbond units ROLE` into it", file.display());
    }
}

#[test]
fn a_unit_runs_its_role_with_the_capabilities_that_it_needs_and_no_more() {
    for (role, command) in [(Role::Server, "server run"), (Role::Client, "client up")] {
        let unit = unit(role);
        assert!(unit.contains(&format!("ExecStart=/usr/bin/quicbond {command} --config /etc/quicbond/")));
        assert!(!unit.contains(['{', '}']), "every place is filled:\n{unit}");
        for part in [
            "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE\n",
            "RuntimeDirectory=quicbond\n",
            "RuntimeDirectoryMode=0700\n",
            "Restart=on-failure\n",
            "NoNewPrivileges=yes\n",
            "DeviceAllow=/dev/net/tun rw\n",
        ] {
            assert!(unit.contains(part), "{part:?} is not in:\n{unit}");
        }
        for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
            assert!(
                line.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty()),
                "{line}"
            );
        }
    }
}
