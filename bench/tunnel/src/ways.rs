//! The ways from the client to the target: one entry per way.

use crate::world::{Daemon, Host, SERVER, TARGET_NET, World, finish};
use crate::{Failure, Programs};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

pub(crate) const WAYS: [Way; 4] = [
    Way {
        name: "bare",
        what: "the veth pair itself",
        tcp: true,
        udp: true,
        is_tunnel: false,
        is_peer: false,
        begin: bare,
    },
    Way {
        name: "streams",
        what: "quicbond, a stream per TCP connection",
        tcp: true,
        udp: false,
        is_tunnel: true,
        is_peer: false,
        begin: streams,
    },
    Way {
        name: "packets",
        what: "quicbond --no-tcp-lane, a datagram per packet",
        tcp: true,
        udp: true,
        is_tunnel: true,
        is_peer: false,
        begin: packets,
    },
    Way {
        name: "boringtun",
        what: "boringtun-cli (WireGuard in userspace)",
        tcp: true,
        udp: true,
        is_tunnel: true,
        is_peer: true,
        begin: boringtun,
    },
];

pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) tcp: bool,
    pub(crate) udp: bool,
    pub(crate) is_tunnel: bool,
    pub(crate) is_peer: bool,
    begin: fn(&Programs) -> Result<Option<Ends>, Failure>,
}

impl Way {
    pub(crate) fn start(&self, programs: &Programs) -> Result<Running, Failure> {
        let world = World::make()?;
        Ok(Running { ends: (self.begin)(programs)?, _world: world })
    }
}

/// The two daemons of a tunnel.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) client: Daemon,
    pub(crate) server: Daemon,
}

/// A way that is open. The daemons end before their hosts do.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) ends: Option<Ends>,
    _world: World,
}

fn bare(_: &Programs) -> Result<Option<Ends>, Failure> {
    Ok(None)
}

fn streams(programs: &Programs) -> Result<Option<Ends>, Failure> {
    quicbond(&programs.quicbond, &[])
}

fn packets(programs: &Programs) -> Result<Option<Ends>, Failure> {
    quicbond(&programs.quicbond, &["--no-tcp-lane"])
}

fn quicbond(program: &Path, client_words: &[&str]) -> Result<Option<Ends>, Failure> {
    let folder = PathBuf::from("/run/quicbond-bench");
    for old in [&folder, Path::new("/run/quicbond")] {
        fs::remove_dir_all(old).ok();
    }
    let mut init = Host::Server.command(program);
    init.args(["server", "init", "--address", &format!("{SERVER}:443"), "--dir"]).arg(&folder);
    let said = finish(&mut init)?;
    let token = said.lines().find_map(|line| line.trim().strip_prefix("token:"));
    let token = token.ok_or_else(|| format!("no token in: {said}"))?.trim();
    // The target's address is one that is reserved for documentation, which a server refuses unless told otherwise.
    let config = folder.join("server.toml");
    fs::write(&config, format!("[targets]\nallow = [\"{TARGET_NET}\"]\n"))?;

    let mut server =
        Daemon::start(Host::Server.command(program).args(["server", "run", "--config"]).arg(&config))?;
    server.listens("udp", 443)?;
    let mut words = Host::Client.command(program);
    words
        .args(["client", "up", token, "--no-ipv6", "--state-dir"])
        .arg(folder.join("client"))
        .args(client_words);
    let mut client = Daemon::start(&mut words)?;
    client.says("ready")?;
    Ok(Some(Ends { client, server }))
}

/// Keys for this benchmark only: private key, public key.
const CLIENT_KEYS: [&str; 2] = [
    "b85e28c3c06b8829ef76024d26eb1c1aae91ba87a8c12732adfdbf8bf5836e72",
    "ddd1007306492b944a24d1890fbb4575b4b41fe7a379489e2b891e84d5f8c259",
];
const SERVER_KEYS: [&str; 2] = [
    "405c9b3cab83dcdd821c79d0da3885b80c1e680b13306f00f047e89d0ed21b7d",
    "001207be20a210a6db0ee78c82ebf0f2b64e14540ce159535498fed80d2e3337",
];

/// With its defaults, on devices `wgc` and `wgs`, and WireGuard's usual MTU.
fn boringtun(programs: &Programs) -> Result<Option<Ends>, Failure> {
    let start = |host: Host, device: &str, settings: &str, address: &str| {
        let mut command = host.command(&programs.boringtun);
        let mut daemon = Daemon::start(command.args(["--foreground", "--disable-drop-privileges", device]))?;
        let socket = PathBuf::from(format!("/run/wireguard/{device}.sock"));
        daemon.until("open its socket", || UnixStream::connect(&socket).is_ok())?;
        configure(&socket, settings)?;
        host.ip(&format!("addr add {address}/24 dev {device}"))?;
        host.ip(&format!("link set {device} mtu 1420 up"))?;
        Ok::<_, Failure>(daemon)
    };
    let settings =
        |own: &str, peer: &str, more: &str| format!("private_key={own}\n{more}public_key={peer}\n");
    let listening =
        settings(SERVER_KEYS[0], CLIENT_KEYS[1], "listen_port=51820\n") + "allowed_ip=10.9.0.2/32\n";
    let server = start(Host::Server, "wgs", &listening, "10.9.0.1")?;
    let calling = settings(CLIENT_KEYS[0], SERVER_KEYS[1], "");
    let calling =
        format!("{calling}endpoint={SERVER}:51820\nallowed_ip=10.9.0.0/24\nallowed_ip={TARGET_NET}\n");
    let client = start(Host::Client, "wgc", &calling, "10.9.0.2")?;
    Host::Client.ip(&format!("route add {TARGET_NET} dev wgc"))?;
    Ok(Some(Ends { client, server }))
}

/// WireGuard's cross-platform userspace configuration protocol.
fn configure(socket: &Path, settings: &str) -> Result<(), Failure> {
    let mut stream = UnixStream::connect(socket)?;
    write!(stream, "set=1\n{settings}\n")?;
    let mut answer = [0; 64];
    let n = stream.read(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer[..n]);
    if answer.trim() == "errno=0" {
        Ok(())
    } else {
        Err(format!("boringtun refuses its settings: {answer}").into())
    }
}

impl core::fmt::Debug for Way {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}
