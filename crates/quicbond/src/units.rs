//! The systemd units of both roles. `packaging/systemd/` holds the same texts; a test compares.

use crate::cli::Role;
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
    let (what, file, command, capabilities) = match role {
        Role::Server => (
            "server: the other end of bonded links",
            "server.toml",
            "server run --config /etc/quicbond/server.toml",
            "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE",
        ),
        Role::Client => (
            "client: bonds the links of this machine",
            "client.toml",
            "client up --config /etc/quicbond/client.toml",
            "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE",
        ),
    };
    // A client that is stopped puts its routes back itself; `down` does it for one that was killed.
    let stop_post = match role {
        Role::Server => String::new(),
        Role::Client => format!("ExecStopPost=-{BINARY} client down\n"),
    };
    format!(
        "\
[Unit]
Description=quicbond {what}
Documentation=man:quicbond(1)
Wants=network-online.target
After=network-online.target
ConditionPathExists=/etc/quicbond/{file}

[Service]
Type=simple
ExecStart={BINARY} {command}
{stop_post}Restart=on-failure
RestartSec=2
TimeoutStopSec=10
LimitNOFILE=262144
RuntimeDirectory=quicbond
RuntimeDirectoryMode=0700
# The other role of this machine, if it has both, keeps its socket there.
RuntimeDirectoryPreserve=yes

# It needs the network and its own files, and nothing else.
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
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
",
        writable = match role {
            Role::Server => "",
            // For the resolvers that `dns` puts in place.
            Role::Client => "ReadWritePaths=-/etc/resolv.conf\n",
        }
    )
}

#[cfg(test)]
mod tests;
