//! The systemd units of both roles. `packaging/systemd/` holds the same texts; a test compares.

use crate::cli::Role;
use crate::config::{CLIENT_FILE, SERVER_FILE};
use crate::output::Output;
use std::process::ExitCode;

/// Where packages put the binary.
const BINARY: &str = "/usr/bin/quicbond";

pub(crate) fn run(role: Option<Role>) -> ExitCode {
    let text = match role {
        Some(role) => unit(role),
        None => [Role::Server, Role::Client]
            .map(|role| format!("# /etc/systemd/system/{}\n{}", file_name(role), unit(role)))
            .join("\n"),
    };
    Output::Stdout.write(&text);
    ExitCode::SUCCESS
}

pub(crate) fn file_name(role: Role) -> &'static str {
    match role {
        Role::Server => "quicbond-server.service",
        Role::Client => "quicbond-client.service",
    }
}

/// The unit of a role.
pub(crate) fn unit(role: Role) -> String {
    let (what, command, stop_post, writable) = match role {
        Role::Server => ("server: the other end of bonded links", "server run", "", ""),
        Role::Client => {
            // A client that is stopped puts routes and rules back itself; `down` does it for one that was killed.
            let stop_post = "ExecStopPost=-{binary} client down\n";
            // For the resolvers that `dns` puts in place.
            (
                "client: bonds the links of this machine",
                "client up",
                stop_post,
                "ReadWritePaths=-/etc/resolv.conf\n",
            )
        }
    };
    let file = match role {
        Role::Server => SERVER_FILE,
        Role::Client => CLIENT_FILE,
    };
    TEMPLATE
        .replace("{what}", what)
        .replace("{stop_post}", stop_post)
        .replace("{writable}", writable)
        .replace("{command}", &format!("{command} --config {file}"))
        .replace("{binary}", BINARY)
}

const TEMPLATE: &str = "\
[Unit]
Description=quicbond {what}
Wants=network-online.target
After=network-online.target

[Service]
Type=simple
ExecStart={binary} {command}
{stop_post}Restart=on-failure
RestartSec=2
TimeoutStopSec=10
LimitNOFILE=262144
# The other role of this machine, if it has both, keeps its socket there as well: hence the last line.
RuntimeDirectory=quicbond
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes

# It needs the network and its own files, and nothing else. Kernel tunables stay writable: forwarding is one.
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE
AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
{writable}ProtectHome=read-only
PrivateTmp=yes
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077

[Install]
WantedBy=multi-user.target
";

#[cfg(test)]
mod tests;
