//! Which addresses may be dialled. Pure.
//!
//! Every address falls into one of three kinds: *public*, *private* (loopback and networks behind a router), and *never*
//! (link-local with its metadata services, multicast, unspecified, reserved). An IPv6 address that carries an IPv4 address
//! (mapped, compatible, NAT64, 6to4) is judged by what it carries: a gateway on the way would unpack it. Sources: the IANA
//! special-purpose address registries, RFC 6890 and what it names.
//!
//! Guarantee: *never* stays never, whatever is configured.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// What may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Loopback and private networks too.
    pub private: bool,
    /// Private networks that are allowed by name, whatever the above says.
    pub allowed: Vec<Network>,
}

/// A network in CIDR form: `10.1.0.0/16`, `fd00:1::/32`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// The text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network such as 10.1.0.0/16 or fd00:1::/32")]
pub struct InvalidNetwork(String);

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let wrong = || InvalidNetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                within(u128::from(network.to_bits()) << 96, u128::from(address.to_bits()) << 96, self.bits)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => within(network.to_bits(), address.to_bits(), self.bits),
            _ => false,
        }
    }
}

/// Whether the first `bits` are the same.
fn within(network: u128, address: u128, bits: u8) -> bool {
    bits == 0 || (network ^ address) >> (128 - u32::from(bits.min(128))) == 0
}

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Private(&'static str),
    Never(&'static str),
}

impl Rules {
    /// Whether the address may be dialled; if not, why, and what would allow it.
    pub(crate) fn judge(&self, address: IpAddr) -> Result<(), String> {
        let (judged, kind) = kind(address);
        match kind {
            Kind::Public => Ok(()),
            Kind::Private(_) if self.private || self.allowed.iter().any(|network| network.contains(judged)) => Ok(()),
            Kind::Private(what) => Err(format!("{what}; name its network in `outbound.allow` to permit it")),
            Kind::Never(what) => Err(format!("{what} is never called")),
        }
    }
}

/// The address that counts, and what it is.
fn kind(address: IpAddr) -> (IpAddr, Kind) {
    match address {
        IpAddr::V4(address) => (IpAddr::V4(address), kind4(address)),
        IpAddr::V6(address) => match carried(address) {
            Some(inner) => (IpAddr::V4(inner), kind4(inner)),
            None => (IpAddr::V6(address), kind6(address)),
        },
    }
}

/// The IPv4 address that an IPv6 address carries.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let low = Ipv4Addr::from_bits(u32::from(g) << 16 | u32::from(h));
    match (a, b, c, d, e, f) {
        // Mapped; translated (RFC 2765).
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0xffff, 0) => Some(low),
        // Compatible; `::` and `::1` are addresses of their own.
        (0, 0, 0, 0, 0, 0) if (g, h) != (0, 0) && (g, h) != (0, 1) => Some(low),
        // NAT64, the well-known prefix and the local one.
        (0x64, 0xff9b, 0, 0, 0, 0) | (0x64, 0xff9b, 1, ..) => Some(low),
        // 6to4.
        (0x2002, ..) => Some(Ipv4Addr::from_bits(u32::from(b) << 16 | u32::from(c))),
        _ => None,
    }
}

fn kind4(address: Ipv4Addr) -> Kind {
    match address.octets() {
        [0, ..] => Kind::Never("an unspecified address"),
        [127, ..] => Kind::Private("the host's own loopback"),
        [100, 100, 100, 200] => Kind::Never("a metadata service"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [198, 18 | 19, ..] => {
            Kind::Private("a private network")
        }
        [169, 254, ..] => Kind::Never("a link-local address"),
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => {
            Kind::Never("a reserved address")
        }
        [224..=239, ..] => Kind::Never("a multicast address"),
        [240..=255, ..] => Kind::Never("a reserved address"),
        _ => Kind::Public,
    }
}

fn kind6(address: Ipv6Addr) -> Kind {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Never("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Private("the host's own loopback"),
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, ..] => Kind::Never("a metadata service"),
        [0xfc00..=0xfdff, ..] => Kind::Private("a private network"),
        [0xfe80..=0xfebf, ..] => Kind::Never("a link-local address"),
        // Teredo hides an address; documentation; benchmarking; ORCHID.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x3fff, ..] => Kind::Never("a reserved address"),
        [0x2000..=0x3fff, ..] => Kind::Public,
        [0xff00..=0xffff, ..] => Kind::Never("a multicast address"),
        _ => Kind::Never("a reserved address"),
    }
}

/// The address that a host's text is without any look-up: IPv6 in brackets, and every form of IPv4 that the system's
/// resolver takes for one (`127.1`, `0x7f000001`, `2130706433`, `0177.0.0.1`).
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let parts: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let room = 8 * (4 - u32::try_from(first.len()).ok()?);
    if room < 32 && *last >= 1 << room {
        return None;
    }
    let high = first.iter().enumerate().fold(0_u32, |sum, (index, part)| sum | part << (24 - 8 * index));
    Some(IpAddr::V4(Ipv4Addr::from_bits(high | last)))
}

/// A number as `inet_aton` reads one.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some("") => return Some(0),
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn closed() -> Rules {
        Rules::default()
    }

    fn open() -> Rules {
        Rules { private: true, allowed: Vec::new() }
    }

    #[test]
    fn every_address_is_of_its_kind() {
        // Address, whether the closed rules permit it, whether the open ones do.
        for (address, public, permitted) in [
            ("93.184.216.34", true, true),
            ("8.8.8.8", true, true),
            ("127.0.0.1", false, true),
            ("127.255.255.254", false, true),
            ("10.0.0.1", false, true),
            ("172.15.0.1", true, true),
            ("172.16.0.1", false, true),
            ("172.31.255.255", false, true),
            ("172.32.0.1", true, true),
            ("192.168.1.1", false, true),
            ("100.64.0.1", false, true),
            ("100.100.100.200", false, false),
            ("169.254.169.254", false, false),
            ("169.254.170.2", false, false),
            ("0.0.0.0", false, false),
            ("0.1.2.3", false, false),
            ("192.0.0.192", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("240.0.0.1", false, false),
            ("::", false, false),
            ("::1", false, true),
            ("fe80::1", false, false),
            ("fd00:ec2::254", false, false),
            ("fd20:ce::254", false, false),
            ("fd12::1", false, true),
            ("ff02::1", false, false),
            ("2606:4700::1111", true, true),
            ("2001:db8::1", false, false),
            ("2001:0:1:2::", false, false),
            // Those that carry one.
            ("::ffff:127.0.0.1", false, true),
            ("::ffff:169.254.169.254", false, false),
            ("::ffff:8.8.8.8", true, true),
            ("::127.0.0.1", false, true),
            ("64:ff9b::a9fe:a9fe", false, false),
            ("64:ff9b::808:808", true, true),
            ("64:ff9b:1::a00:1", false, true),
            ("2002:7f00:1::", false, true),
            ("2002:a9fe:a9fe::", false, false),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(closed().judge(parsed).is_ok(), public, "closed: {address}");
            assert_eq!(open().judge(parsed).is_ok(), permitted, "open: {address}");
        }
    }

    #[test]
    fn a_network_that_is_named_is_permitted_and_no_other() {
        let rules = Rules { private: false, allowed: vec!["10.1.0.0/16".parse().unwrap(), "::1".parse().unwrap()] };
        for (address, permitted) in
            [("10.1.2.3", true), ("10.2.2.3", false), ("::ffff:10.1.2.3", true), ("::1", true), ("127.0.0.1", false)]
        {
            assert_eq!(rules.judge(address.parse().unwrap()).is_ok(), permitted, "{address}");
        }
        let everything = Rules { private: false, allowed: vec!["0.0.0.0/0".parse().unwrap()] };
        assert!(everything.judge("192.168.0.1".parse().unwrap()).is_ok());
        assert!(everything.judge("169.254.169.254".parse().unwrap()).is_err(), "never stays never");
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "x", "10.0.0.0/", "10.0.0.0/+8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_writing_of_an_address_is_seen_through() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0x7f.0.0.0x1", "127.0.0.1"),
            ("0177.0.0.01", "127.0.0.1"),
            ("017700000001", "127.0.0.1"),
            ("169.16689662", "169.254.169.254"),
            ("[::1]", "::1"),
            ("[::ffff:7f00:1]", "::ffff:127.0.0.1"),
        ] {
            assert_eq!(literal(text), Some(address.parse().unwrap()), "{text}");
        }
        for name in ["localhost", "a.b", "1.2.3.4.5", "256.1.1.1", "127.0.0.256", "", "0x", "09", "4294967296"] {
            assert!(literal(name).is_none() || name == "0x", "{name}");
        }
    }

    mod property {
        use super::*;

        proptest! {
            #[test]
            fn no_text_breaks_it(text in ".{0,40}") {
                let _ = literal(&text);
                let _ = text.parse::<Network>();
            }

            #[test]
            fn what_carries_an_address_is_judged_by_it(bits: u32) {
                let inner = Ipv4Addr::from_bits(bits);
                for rules in [closed(), open()] {
                    let plain = rules.judge(IpAddr::V4(inner)).is_ok();
                    prop_assert_eq!(rules.judge(IpAddr::V6(inner.to_ipv6_mapped())).is_ok(), plain);
                    let nat64 = Ipv6Addr::from_bits(0x0064_ff9b << 96 | u128::from(bits));
                    prop_assert_eq!(rules.judge(IpAddr::V6(nat64)).is_ok(), plain);
                }
            }
        }
    }
}
