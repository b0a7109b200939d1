//! The machine under quicbond: everything that is changed or watched on the host, and nothing else.
//!
//! Links and their carrier ([`fn@links`]), the TUN device ([`Tun`]), routing and nftables rules of a client
//! ([`ClientRouting`]) and of a server ([`ServerRouting`]), the resolver ([`Dns`]), redirected TCP connections
//! ([`original_destination`]). Every lasting change goes through the [`Journal`], which knows how to take it back, also
//! after a predecessor was killed. Works in the network namespace of the calling thread, so in containers too.
//!
//! Refuses to know QUIC, tunnels, tenants and configuration files. The netlink crates and the TUN crate are named
//! in this folder only, because they break every month or two.

mod change;
mod client;
mod dns;
mod error;
mod forwarding;
mod interface;
mod journal;
mod lan;
mod links;
mod netlink;
mod nft;
mod privilege;
mod redirect;
#[cfg(test)]
mod sandbox;
mod server;
mod sysctl;
mod tun;

pub(crate) use self::{
    client::ClientRouting,
    dns::Dns,
    error::Error,
    journal::Journal,
    lan::{lan_interfaces, own_addresses},
    links::{Link, LinkWatch, links},
    privilege::check_privilege,
    redirect::{RedirectListeners, bind_redirect_listeners, original_destination},
    server::ServerRouting,
    tun::{Outgoing, Packets, Tun},
};
