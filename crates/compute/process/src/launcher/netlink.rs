//! Routes of a network namespace, over the kernel's route socket: messages are put together, sent at once, and every one's
//! answer is read.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
};

use compute_api::Cidr;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const ROUTE_ADD: u16 = 24;
const ERROR: u16 = 2;
/// A request that is acknowledged, creates, and fails when there is one already.
const FLAGS: u16 = 0x1 | 0x4 | 0x400 | 0x200;
const TABLE_LOCAL: u8 = 255;
const PROTOCOL_STATIC: u8 = 4;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_HOST: u8 = 254;
const ATTRIBUTE_DESTINATION: u16 = 1;
const ATTRIBUTE_INTERFACE: u16 = 4;
/// The loopback interface is the first of every network namespace.
const LOOPBACK: u32 = 1;
const HEADER_BYTES: usize = 16;

/// What a route does with a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Every address of the range is one of this namespace.
    Local = 2,
    /// Who connects is told at once that it is forbidden (`EACCES`).
    Prohibit = 8,
}

/// A conversation with the kernel about the present network namespace.
pub(super) struct Routes(OwnedFd);

impl Routes {
    pub(super) fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // Protocol 0 is the one for routes.
            None,
        )?;
        Ok(Self(socket))
    }

    /// Adds the routes; the first that the kernel refuses is the error.
    pub(super) fn add(&self, routes: &[(Cidr, Kind)]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(routes.len() * 64);
        for (sequence, (range, kind)) in (1..).zip(routes) {
            write(&mut bytes, sequence, *range, *kind);
        }
        rustix::net::send(&self.0, &bytes, SendFlags::empty())?;
        let mut left = routes.len();
        let mut buffer = [0; 8192];
        while left > 0 {
            // The kernel answers while it takes the messages: all answers are there.
            let (read, _) = rustix::net::recv(self.0.as_fd(), &mut buffer[..], RecvFlags::DONTWAIT)?;
            let mut rest = &buffer[..read];
            while let Some((kind, body, next)) = message(rest) {
                rest = next;
                if kind != ERROR {
                    continue;
                }
                let errno = body.first_chunk().map_or(libc::EIO, |code| -i32::from_ne_bytes(*code));
                if errno != 0 {
                    return Err(io::Error::from_raw_os_error(errno));
                }
                left = left.saturating_sub(1);
            }
        }
        Ok(())
    }
}

/// The kind and body of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    let body = bytes.get(HEADER_BYTES..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn write(bytes: &mut Vec<u8>, sequence: u32, range: Cidr, kind: Kind) {
    let begin = bytes.len();
    bytes.extend([0; 4]);
    bytes.extend(ROUTE_ADD.to_ne_bytes());
    bytes.extend(FLAGS.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    let family = if range.address().is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let scope = if kind == Kind::Local && range.address().is_ipv4() { SCOPE_HOST } else { SCOPE_UNIVERSE };
    bytes.extend([family as u8, range.prefix(), 0, 0, TABLE_LOCAL, PROTOCOL_STATIC, scope, kind as u8]);
    bytes.extend([0; 4]);
    match range.address() {
        IpAddr::V4(v4) => attribute(bytes, ATTRIBUTE_DESTINATION, &v4.octets()),
        IpAddr::V6(v6) => attribute(bytes, ATTRIBUTE_DESTINATION, &v6.octets()),
    }
    if kind == Kind::Local {
        attribute(bytes, ATTRIBUTE_INTERFACE, &LOOPBACK.to_ne_bytes());
    }
    let length = u32::try_from(bytes.len() - begin).unwrap_or(u32::MAX);
    bytes[begin..begin + 4].copy_from_slice(&length.to_ne_bytes());
}

/// Every value used here is a multiple of four bytes long: nothing needs padding.
fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend(u16::try_from(4 + value.len()).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
}
