//! Addresses, networks and names of interfaces.

use super::{Found, Kind, Wrong, quoted};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, SocketAddr};

/// Linux: IFNAMSIZ is 16 with the final zero.
const INTERFACE_MAX: usize = 15;

/// The name of a network interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interface;

impl Interface {
    /// Whether the kernel would take `name` for an interface.
    pub(crate) fn is_valid(name: &str) -> bool {
        let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%' | b'"' | b'\\');
        (1..=INTERFACE_MAX).contains(&name.len()) && name.bytes().all(fits) && !matches!(name, "." | "..")
    }
}

impl Kind for Interface {
    type Value = String;

    fn accepts(&self) -> String {
        format!("the name of an interface in quotes, 1 to {INTERFACE_MAX} characters")
    }

    fn read(&self, found: &Found<'_>) -> Result<String, Wrong> {
        let name = found.get_ref().as_str().filter(|name| Self::is_valid(name));
        name.map(str::to_owned).ok_or_else(|| self.refuse(found))
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(quoted(value))
    }
}

/// A kind whose values are a text in quotes that `FromStr` reads.
macro_rules! written {
    ($(#[doc = $doc:literal])* $name:ident, $value:ty, $accepts:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl Kind for $name {
            type Value = $value;

            fn accepts(&self) -> String {
                $accepts.to_owned()
            }

            fn read(&self, found: &Found<'_>) -> Result<$value, Wrong> {
                let value = found.get_ref().as_str().and_then(|text| text.parse().ok());
                value.ok_or_else(|| self.refuse(found))
            }

            fn show(&self, value: &$value) -> Option<String> {
                Some(format!("\"{value}\""))
            }
        }
    };
}

written!(
    /// An address to listen on.
    Address, SocketAddr, "an address with a port, such as \"0.0.0.0:443\" or \"[::]:443\""
);
written!(
    /// An address without a port.
    Ip, IpAddr, "an address, such as \"9.9.9.9\" or \"2620:fe::fe\""
);

/// A network of either family; an address alone is the network of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnyNet;

impl Kind for AnyNet {
    type Value = IpNet;

    fn accepts(&self) -> String {
        "a network or an address, such as \"192.168.0.0/16\" or \"2001:db8::1\"".to_owned()
    }

    fn read(&self, found: &Found<'_>) -> Result<IpNet, Wrong> {
        let text = found.get_ref().as_str().ok_or_else(|| self.refuse(found))?;
        let net: IpNet = match text.parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => text.parse().map_err(|_| self.refuse(found))?,
        };
        whole(net, found)
    }

    fn show(&self, value: &IpNet) -> Option<String> {
        Some(format!("\"{value}\""))
    }
}

/// A kind of network of one family with a range for the prefix length.
macro_rules! network {
    ($(#[doc = $doc:literal])* $name:ident, $value:ty, $such_as:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name {
            /// The largest network: the shortest prefix.
            pub(crate) shortest: u8,
            /// The smallest network: the longest prefix.
            pub(crate) longest: u8,
        }

        impl Kind for $name {
            type Value = $value;

            fn accepts(&self) -> String {
                let (shortest, longest) = (self.shortest, self.longest);
                format!("a network from /{shortest} to /{longest}, such as \"{}\"", $such_as)
            }

            fn read(&self, found: &Found<'_>) -> Result<$value, Wrong> {
                let net = found.get_ref().as_str().and_then(|text| text.parse::<$value>().ok());
                let fits = |net: &$value| (self.shortest..=self.longest).contains(&net.prefix_len());
                let net = net.filter(fits).ok_or_else(|| self.refuse(found))?;
                whole(net.into(), found).map(|_| net)
            }

            fn show(&self, value: &$value) -> Option<String> {
                Some(format!("\"{value}\""))
            }
        }
    };
}

network!(
    /// A network of IPv4.
    Net4, Ipv4Net, "10.181.0.0/16"
);
network!(
    /// A network of IPv6.
    Net6, Ipv6Net, "fd51:bd::/64"
);

/// Refuses bits behind the prefix: one of the two was not meant.
fn whole(net: IpNet, found: &Found<'_>) -> Result<IpNet, Wrong> {
    if net.trunc() == net {
        return Ok(net);
    }
    Err(Wrong::new(found, format!("\"{net}\" has bits behind its prefix; did you mean \"{}\"?", net.trunc())))
}
