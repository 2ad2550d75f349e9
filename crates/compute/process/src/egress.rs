//! What `internet` means: which addresses a function may dial. One list for both sides: the launcher turns it into routes
//! that refuse at once, the server judges every dialled address again before it dials. The judgement alone is the wall.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use compute_api::Cidr;

/// Where a function's resolver listens, inside its network namespace.
pub(crate) const RESOLVER: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 53), 53);

/// Ranges that are not the internet, with what they are (the special-purpose registries of IANA).
const SPECIAL: &[(&str, &str)] = &[
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by a carrier"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "protocol assignments"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/96", "loopback or unspecified"),
    ("64:ff9b:1::/48", "local NAT64"),
    ("100::/64", "discard"),
    ("2001::/23", "protocol assignments, Teredo"),
    ("2002::/16", "6to4"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
];

/// Addresses behind which clouds keep a machine's own credentials.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It lies in a range that is not the internet.
    Special(&'static str),
    /// It belongs to this machine.
    Own,
    /// It is a cloud's metadata service.
    Metadata,
}

/// The ranges that a function with this allow-list cannot reach, for routes. A range that is allowed in part is not here.
pub(crate) fn refused(allow: &[Cidr]) -> Vec<Cidr> {
    special()
        .map(|(range, _)| range)
        .filter(|range| !allow.iter().any(|a| a.covers(*range) || range.covers(*a)))
        .collect()
}

fn special() -> impl Iterator<Item = (Cidr, &'static str)> {
    // The table is constant and a test reads all of it.
    SPECIAL.iter().filter_map(|(range, what)| Some((range.parse().ok()?, *what)))
}

/// The address that is meant by another that contains it: IPv4-mapped, and the well-known prefix of NAT64.
pub(crate) fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let bits = v6.to_bits();
    let low = Ipv4Addr::from_bits((bits & 0xffff_ffff) as u32);
    match bits >> 32 {
        0xffff | 0x0064_ff9b_0000_0000_0000_0000 => IpAddr::V4(low),
        _ => address,
    }
}

/// Whether a function with this allow-list may dial `address`; `is_own` tells this machine's addresses.
///
/// The address of this machine and metadata services are opened only by an entry that names exactly them: who allows
/// `10.0.0.0/8` for a database does not mean the machine's own services.
pub(crate) fn judge(address: IpAddr, allow: &[Cidr], is_own: impl Fn(IpAddr) -> bool) -> Result<(), Denied> {
    let meant = unwrapped(address);
    let forms = [address, meant];
    let named = |sharp: bool| {
        allow.iter().any(|range| (!sharp || range.is_single()) && forms.iter().any(|form| range.contains(*form)))
    };
    if meant.is_loopback() || meant.is_unspecified() || meant.is_multicast() {
        return Err(Denied::Special("loopback, unspecified or multicast"));
    }
    if METADATA.contains(&meant) && !named(true) {
        return Err(Denied::Metadata);
    }
    if forms.iter().any(|form| is_own(*form)) && !named(true) {
        return Err(Denied::Own);
    }
    match special().find(|(range, _)| range.contains(meant)) {
        Some((_, what)) if !named(false) => Err(Denied::Special(what)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(text: &str) -> Vec<Cidr> {
        text.split(',').filter(|part| !part.is_empty()).map(|part| part.parse().unwrap()).collect()
    }

    fn may(address: &str, list: &str) -> bool {
        let own: [IpAddr; 2] = ["198.51.100.2".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        judge(address.parse().unwrap(), &allow(list), |address| own.contains(&address)).is_ok()
    }

    #[test]
    fn every_range_of_the_table_is_one() {
        assert_eq!(special().count(), SPECIAL.len());
    }

    #[test]
    fn the_internet_may_be_dialled_and_nothing_else() {
        for (address, allowed) in [
            ("1.1.1.1", true),
            ("203.0.113.7", true),
            ("2606:4700::1111", true),
            ("9.255.255.255", true),
            ("11.0.0.0", true),
            ("172.15.255.255", true),
            ("172.32.0.0", true),
            ("64:ff9b::101:101", true),
            ("::ffff:1.1.1.1", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("127.0.0.1", false),
            ("127.255.0.1", false),
            ("169.254.0.1", false),
            ("169.254.169.254", false),
            ("169.254.170.2", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.0.0.8", false),
            ("192.168.0.1", false),
            ("198.19.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("198.51.100.2", false),
            ("::", false),
            ("::1", false),
            ("::7f00:1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::ffff:198.51.100.2", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::a00:1", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b::c633:6402", false),
            ("64:ff9b:1::101:101", false),
            ("2002:7f00:1::", false),
            ("2002:a00:1::", false),
            ("2001:0:a00:1::", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(may(address, ""), allowed, "{address}");
        }
    }

    #[test]
    fn an_allow_list_opens_what_it_names() {
        for (address, list, allowed) in [
            ("10.1.2.3", "10.1.0.0/16", true),
            ("10.2.2.3", "10.1.0.0/16", false),
            ("::ffff:10.1.2.3", "10.1.0.0/16", true),
            ("64:ff9b::a01:203", "10.1.0.0/16", true),
            ("192.168.1.1", "0.0.0.0/0", true),
            ("fd00:1::5", "fd00:1::/64", true),
            ("fd00:2::5", "fd00:1::/64", false),
            // Sharp addresses need a sharp entry.
            ("169.254.169.254", "169.254.0.0/16", false),
            ("169.254.169.254", "169.254.169.254/32", true),
            ("169.254.1.1", "169.254.0.0/16", true),
            ("fd00:ec2::254", "fd00::/8", false),
            ("198.51.100.2", "198.51.100.0/24", false),
            ("198.51.100.2", "198.51.100.2", true),
            ("10.0.0.2", "10.0.0.0/8", false),
            ("10.0.0.2", "10.0.0.2/32", true),
            // Never.
            ("127.0.0.1", "127.0.0.1/32", false),
            ("::1", "::/0", false),
            ("64:ff9b::7f00:1", "0.0.0.0/0", false),
            ("224.0.0.1", "0.0.0.0/0", false),
        ] {
            assert_eq!(may(address, list), allowed, "{address} with {list}");
        }
    }

    #[test]
    fn routes_refuse_what_no_entry_touches() {
        assert_eq!(refused(&[]).len(), SPECIAL.len());
        let ten: Cidr = "10.0.0.0/8".parse().unwrap();
        assert!(refused(&[]).contains(&ten));
        for list in ["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0"] {
            assert!(!refused(&allow(list)).contains(&ten), "{list}");
        }
    }
}
