//! What `quicbond client` reads.

use super::kind::{Count, FilePath, Flag, Interface, Ip, List, Optional, Size, TokenText};
use super::section::section;
use super::shared::{Log, Transport};
use super::{Paths, beside};
use crate::parse::MAX_LINKS;
use crate::token::Token;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;
const EXCLUDED_MAX: usize = 64;
/// What resolvers of other programs use at most, doubled.
const DNS_MAX: usize = 6;
/// "QB" in ASCII: unlikely to be in use, and easy to recognise in `ip rule`.
const MARK: u32 = 0x5142;
/// Before the rules of the kernel (32766 and 32767) and of most other tools.
const PRIORITY: u32 = 5142;

section! {
    /// Which server, over which links. A path that is not absolute counts from the folder of this file.
    pub(crate) struct Client {
        keys {
            /// The token that the server printed. It holds a secret: keep this file readable for yourself only.
            token: Option<Token> = None, Optional(TokenText);
            /// A file that holds the token, instead of `token`.
            token_file: Option<PathBuf> = None, Optional(FilePath);
            /// Interfaces to use. Empty: every interface that has a default route.
            links: Vec<String> = Vec::new(), List { of: Interface, min: 0, max: MAX_LINKS };
            /// Interfaces never to use, for an empty `links`.
            exclude: Vec<String> = Vec::new(), List { of: Interface, min: 0, max: EXCLUDED_MAX };
            /// Name of the TUN interface.
            interface: String = "quicbond".to_owned(), Interface;
            /// Carry TCP connections as streams (faster over lossy or unequal links) instead of packet by packet.
            tcp_lane: bool = true, Flag;
            /// Carry IPv6 through the tunnel. Without it, IPv6 stays as it is.
            ipv6: bool = true, Flag;
            /// Resolvers to use while the tunnel is up. Empty: the system's resolvers stay.
            dns: Vec<IpAddr> = Vec::new(), List { of: Ip, min: 0, max: DNS_MAX };
            /// Firewall mark of the client's own packets, which must not enter the tunnel.
            mark: u32 = MARK, Count { min: 1, max: u32::MAX };
            /// Routing table that holds the route into the tunnel. 253 to 255 belong to the kernel.
            table: u32 = MARK, Count { min: 256, max: u32::MAX };
            /// Priority of the routing rules that lead into the tunnel; the next few numbers are used too.
            priority: u32 = PRIORITY, Count { min: 1, max: 32_000 };
            /// Folder for what has to be put back after a crash (routes, rules, resolvers).
            state_dir: PathBuf = super::STATE_DIR.into(), FilePath;
            /// The socket on which `quicbond status` asks.
            control: PathBuf = super::CLIENT_CONTROL.into(), FilePath;
        }
        sections {
            limits: Limits;
            transport: Transport;
            log: Log;
        }
    }
}

section! {
    /// How much anybody can use up.
    pub(crate) struct Limits {
        keys {
            /// TCP and UDP flows at once; more wait or are refused.
            flows: u32 = 16_384, Count { min: 1, max: 1_000_000 };
            /// Bytes that one session may keep in memory in each direction; then its senders have to pause. What several
            /// fast links with long delays need: the sum of their rates times the longest round trip, twice.
            session_buffer: u64 = 64 * MIB, Size { min: MIB, max: 1024 * MIB };
        }
        sections {}
    }
}

impl Paths for Client {
    fn resolve(&mut self, folder: &Path) {
        for path in self.token_file.iter_mut().chain([&mut self.state_dir, &mut self.control]) {
            beside(folder, path);
        }
    }

    fn contradiction(&self) -> Option<String> {
        if self.token.is_some() && self.token_file.is_some() {
            return Some("token and token_file are both set; keep one".to_owned());
        }
        let both = self.links.iter().find(|name| self.exclude.contains(name));
        both.map(|name| format!("{name:?} is in links and in exclude; keep one"))
    }
}
