//! Egress without a cable: every address is made local to the function's network namespace, a program at the socket lookup
//! gives each TCP connection that is not the function's own loopback to one listener, and the server at the other end of
//! that listener dials for the function. No interface, no address translation, no connection tracking.
//!
//! Guarantees: ranges that are not the internet are refused by a route at once; a resolver's sockets exist only where
//! egress does; everything ends with the namespace, or with the [`Gate`].

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use compute_api::Cidr;
use rustix::thread::ThreadNameSpaceType;

use super::{
    netlink::{Kind, Routes},
    shell::{At, Failure, Shell},
};
use crate::{
    egress::{self, RESOLVER},
    protocol::Found,
    sys::bpf::{self, Instruction},
};

const NAME: &str = "egress";
const REMEDY: &str = "run as root on Linux 5.9 or later with BPF (`CAP_NET_ADMIN`, `CAP_BPF`)";

/// Whether this host can do it.
pub(crate) struct Steering {
    unusable: Option<String>,
    own: File,
}

/// Keeps the way out open; dropping it closes the way for new connections.
pub(crate) struct Gate {
    _link: OwnedFd,
}

impl Steering {
    /// Tries everything once, in a namespace of its own that is gone afterwards.
    pub(crate) fn detect(root: bool) -> io::Result<Self> {
        let own = File::open("/proc/self/ns/net")?;
        let unusable = if root {
            try_out(&own)?
                .err()
                .map(|Failure { stage, errno }| format!("`{stage}` failed: {}", io::Error::from_raw_os_error(errno)))
        } else {
            Some("an ordinary user cannot steer sockets".to_owned())
        };
        Ok(Self { unusable, own })
    }

    pub(crate) fn finding(&self) -> Found {
        match &self.unusable {
            None => Found::there(NAME, "TCP to public addresses by socket lookup, a resolver inside".to_owned()),
            Some(reason) => {
                Found::missing(NAME, format!("functions reach nothing outside (`none` only): {reason}"), REMEDY)
            }
        }
    }

    /// Opens the way out of a shell. Descriptors: the listener for connections, the resolver's datagram socket and listener.
    pub(crate) fn open(&self, shell: &Shell, allow: &[Cidr], v6: bool) -> Result<(Gate, [OwnedFd; 3]), Failure> {
        if self.unusable.is_some() {
            return Err(Failure { stage: NAME.to_owned(), errno: libc::ENOTSUP });
        }
        rustix::thread::move_into_thread_name_spaces(shell.init_fd.as_fd(), ThreadNameSpaceType::NETWORK)
            .at("network namespace")?;
        let opened = build(allow, v6);
        go_back(&self.own);
        opened
    }
}

/// A launcher in a function's network namespace must do nothing else.
fn go_back(own: &File) {
    if rustix::thread::move_into_link_name_space(own.as_fd(), None).is_err() {
        crate::sys::exit_now(1);
    }
}

/// The outer error is that there is no way back, or none into a namespace at all.
fn try_out(own: &File) -> io::Result<Result<(), Failure>> {
    if let Err(error) = crate::sys::unshare(libc::CLONE_NEWNET) {
        return Ok(Err(error).at("network namespace"));
    }
    let up = UdpSocket::bind("0.0.0.0:0").and_then(|socket| crate::sys::loopback_up(socket.as_fd()));
    let tried = up.at("loopback").and_then(|()| build(&[], true)).map(drop);
    go_back(own);
    Ok(tried)
}

/// Everything, in the present network namespace.
fn build(allow: &[Cidr], v6: bool) -> Result<(Gate, [OwnedFd; 3]), Failure> {
    let everything = |address| Cidr::containing(address, 0).map(|range| (range, Kind::Local));
    let (all_v4, all_v6) = (everything(Ipv4Addr::UNSPECIFIED.into()), everything(Ipv6Addr::UNSPECIFIED.into()));
    let mut routes: Vec<(Cidr, Kind)> =
        egress::refused(allow).into_iter().map(|range| (range, Kind::Prohibit)).collect();
    // These two are the namespace's own, with routes that the kernel made.
    routes.retain(|(range, _)| !range.address().is_loopback() && !range.address().is_unspecified());
    routes.retain(|(range, _)| v6 || range.address().is_ipv4());
    routes.extend(all_v4);
    routes.extend(all_v6.filter(|_| v6));
    Routes::open().and_then(|kernel| kernel.add(&routes)).at("routes")?;
    // One listener for both families where there are both: bound to one address it would take its own family only.
    let any: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let listener = TcpListener::bind((any, 0)).at("egress listener")?;
    let queries = UdpSocket::bind(RESOLVER).at("resolver")?;
    let streams = TcpListener::bind(RESOLVER).at("resolver")?;
    let map = bpf::socket_map().at("socket map")?;
    bpf::place_socket(map.as_fd(), listener.as_fd()).at("socket map")?;
    let program = bpf::load(&program(map.as_fd())).at("socket lookup program")?;
    let space = File::open("/proc/thread-self/ns/net").at("network namespace")?;
    let link = bpf::attach(program.as_fd(), space.as_fd()).at("socket lookup link")?;
    Ok((Gate { _link: link }, [listener.into(), queries.into(), streams.into()]))
}

const LOAD_WORD: u8 = 0x61;
const STORE_WORD: u8 = 0x62;
const LOAD_WIDE: u8 = 0x18;
const MOVE: u8 = 0xb7;
const COPY: u8 = 0xbf;
const ADD: u8 = 0x07;
const AND: u8 = 0x57;
const JUMP: u8 = 0x05;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_DIFFERENT: u8 = 0x55;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// Marks the value of [`LOAD_WIDE`] as a map's descriptor.
const PSEUDO_MAP: u8 = 1;
const MAP_LOOKUP: i32 = 1;
const RELEASE: i32 = 86;
const ASSIGN: i32 = 124;
const DROP: i32 = 0;
const PASS: i32 = 1;
/// Offsets in `struct bpf_sk_lookup`.
const FAMILY: i16 = 8;
const PROTOCOL: i16 = 12;
const LOCAL_V4: i16 = 40;
const LOCAL_V6: i16 = 44;

/// TCP to anything but the function's own loopback goes to the socket in the map; everything else is looked up as ever.
#[rustfmt::skip]
fn program(map: BorrowedFd<'_>) -> Vec<Instruction> {
    use std::os::fd::AsRawFd;
    let i = |code, to: u8, from: u8, offset, value| Instruction { code, registers: to | from << 4, offset, value };
    vec![
        /* 0 */ i(COPY, 6, 1, 0, 0),
        /* 1 */ i(LOAD_WORD, 2, 6, PROTOCOL, 0),
        /* 2 */ i(JUMP_DIFFERENT, 2, 0, 32, libc::IPPROTO_TCP),
        /* 3 */ i(LOAD_WORD, 2, 6, FAMILY, 0),
        /* 4 */ i(JUMP_EQUAL, 2, 0, 4, libc::AF_INET6),
        /* 5 */ i(LOAD_WORD, 2, 6, LOCAL_V4, 0),
        // In network order: on the (little-endian) processors that the sandbox knows, the first of the four is the lowest.
        /* 6 */ i(AND, 2, 0, 0, 0xff),
        /* 7 */ i(JUMP_EQUAL, 2, 0, 27, 127),
        /* 8 */ i(JUMP, 0, 0, 8, 0),
        /* 9 */ i(LOAD_WORD, 2, 6, LOCAL_V6, 0),
        /* 10 */ i(JUMP_DIFFERENT, 2, 0, 6, 0),
        /* 11 */ i(LOAD_WORD, 2, 6, LOCAL_V6 + 4, 0),
        /* 12 */ i(JUMP_DIFFERENT, 2, 0, 4, 0),
        /* 13 */ i(LOAD_WORD, 2, 6, LOCAL_V6 + 8, 0),
        /* 14 */ i(JUMP_DIFFERENT, 2, 0, 2, 0),
        /* 15 */ i(LOAD_WORD, 2, 6, LOCAL_V6 + 12, 0),
        /* 16 */ i(JUMP_EQUAL, 2, 0, 18, 1_i32.to_be()),
        /* 17 */ i(STORE_WORD, 10, 0, -4, 0),
        /* 18 */ i(COPY, 2, 10, 0, 0),
        /* 19 */ i(ADD, 2, 0, 0, -4),
        /* 20 */ i(LOAD_WIDE, 1, PSEUDO_MAP, 0, map.as_raw_fd()),
        /* 21 */ i(0, 0, 0, 0, 0),
        /* 22 */ i(CALL, 0, 0, 0, MAP_LOOKUP),
        // The listener is gone: nothing may answer in its place.
        /* 23 */ i(JUMP_EQUAL, 0, 0, 9, 0),
        /* 24 */ i(COPY, 7, 0, 0, 0),
        /* 25 */ i(COPY, 1, 6, 0, 0),
        /* 26 */ i(COPY, 2, 7, 0, 0),
        /* 27 */ i(MOVE, 3, 0, 0, 0),
        /* 28 */ i(CALL, 0, 0, 0, ASSIGN),
        /* 29 */ i(COPY, 8, 0, 0, 0),
        /* 30 */ i(COPY, 1, 7, 0, 0),
        /* 31 */ i(CALL, 0, 0, 0, RELEASE),
        /* 32 */ i(JUMP_EQUAL, 8, 0, 2, 0),
        /* 33 */ i(MOVE, 0, 0, 0, DROP),
        /* 34 */ i(EXIT, 0, 0, 0, 0),
        /* 35 */ i(MOVE, 0, 0, 0, PASS),
        /* 36 */ i(EXIT, 0, 0, 0, 0),
    ]
}
