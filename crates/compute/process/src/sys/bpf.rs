//! The `bpf` system call, as far as steering sockets needs it: one map that holds one socket, one program that looks it
//! up, and the link that ties the program to a network namespace.
#![expect(unsafe_code, reason = "raw system call: bpf")]

use std::{
    ffi::c_int,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

const MAP_CREATE: c_int = 0;
const MAP_UPDATE_ELEM: c_int = 2;
const PROG_LOAD: c_int = 5;
const LINK_CREATE: c_int = 28;
const MAP_TYPE_SOCKMAP: u32 = 15;
const PROG_TYPE_SK_LOOKUP: u32 = 30;
const ATTACH_SK_LOOKUP: u32 = 36;

/// One instruction, in the kernel's layout.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// Destination in the low four bits, source in the high four.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) value: i32,
}

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    entries_max: u32,
    flags: u32,
}

#[repr(C)]
struct MapUpdate {
    map: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    instructions_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// Makes the call; what it answers is a number, or a descriptor where the command makes one.
fn call<T>(command: c_int, attributes: &T) -> io::Result<c_int> {
    // SAFETY: the attributes live across the call and their size is passed; the addresses in them are those of values that
    // the callers below keep alive; no command used here writes through them.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { c_int::try_from(result).map_err(io::Error::other) }
}

fn descriptor(number: c_int) -> OwnedFd {
    // SAFETY: the commands that come here answer a fresh descriptor (close-on-exec) that nobody else owns.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// A map for one socket.
pub(crate) fn socket_map() -> io::Result<OwnedFd> {
    let attributes = MapCreate { map_type: MAP_TYPE_SOCKMAP, key_size: 4, value_size: 8, entries_max: 1, flags: 0 };
    call(MAP_CREATE, &attributes).map(descriptor)
}

/// Puts the socket into the map's only place.
pub(crate) fn place_socket(map: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> io::Result<()> {
    let (key, value) = (0_u32, u64::from(raw(socket)));
    let attributes = MapUpdate {
        map: raw(map),
        _pad: 0,
        key: std::ptr::from_ref(&key) as u64,
        value: std::ptr::from_ref(&value) as u64,
        flags: 0,
    };
    call(MAP_UPDATE_ELEM, &attributes).map(drop)
}

/// Has the kernel check and take a program that chooses sockets.
pub(crate) fn load(instructions: &[Instruction]) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name[..13].copy_from_slice(b"pileus_egress");
    let attributes = ProgramLoad {
        program_type: PROG_TYPE_SK_LOOKUP,
        instructions_count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: instructions.as_ptr() as u64,
        // None of the helpers it calls is reserved to programs under the kernel's own licence.
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name,
        interface: 0,
        attach_type: ATTACH_SK_LOOKUP,
    };
    call(PROG_LOAD, &attributes).map(descriptor)
}

/// Ties the program to a network namespace, as long as what is answered stays open.
pub(crate) fn attach(program: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let attributes =
        LinkCreate { program: raw(program), target: raw(namespace), attach_type: ATTACH_SK_LOOKUP, flags: 0 };
    call(LINK_CREATE, &attributes).map(descriptor)
}
