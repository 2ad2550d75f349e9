//! The image of an initialised process: its memory as a file, and a small program that puts a process together from it.
//!
//! The image holds the pages, one after the other. The program is an executable of its own: [`restorer::code`] with a list
//! of system calls that map every area where it was (private to each process that does it: pages are shared until they are
//! written), give the thread its storage and its registrations, and with the registers to go on with. Nothing of it needs
//! a right: it is executed behind the walls of another sandbox, and can do no more there than the function could.
//!
//! Guarantees: what one process cannot have for itself alone (memory that is shared and writable, huge pages, devices) is
//! refused; sizes and counts are bounded, whatever the process has done.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
};

use rustix::process::Pid;

use crate::sys::{
    restorer::{self, FROM_VDSO, MAY_FAIL},
    trace::{Registers, Thread, register},
};

/// The number under which the program finds the image.
pub(super) const IMAGE: i32 = 4;
const PAGE: u64 = 4096;
/// An image may hold this much.
const BYTES_MAX: u64 = 4 << 30;
/// A process may have reserved this much.
const RESERVED_MAX: u64 = 64 << 30;
/// Ranges of memory at the most; each is a call of the program.
const CALLS_MAX: usize = 60_000;
/// Empty pages between others that are kept rather than mapped apart.
const GAP_PAGES: u64 = 16;
/// How far a stack may grow in a process that was put together: to its limit, as ever, or to this.
const STACK_BYTES: u64 = 8 << 20;
const COPY_BYTES: usize = 1 << 20;
/// Where the program looks for a place for itself, below everything that the kernel places by itself.
const PLACES: std::ops::Range<u64> = 0x2000_0000..0xc000_0000;
const PLACE_BYTES: u64 = 16 << 20;
/// The second half of its place keeps the kernel's own pages for a moment.
const ASIDE: u64 = PLACE_BYTES / 2;
const END_OF_CALLS: u64 = u64::MAX;

/// Why a process cannot be made again from its memory: a lower-case fragment, or an error of the host.
#[derive(Debug)]
pub(super) enum Unfit {
    Refused(String),
    Failed(io::Error),
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit::Refused(reason.into()))
}

/// One range of a process's memory.
#[derive(Clone, Debug, Default)]
struct Area {
    start: u64,
    end: u64,
    protection: u64,
    shared: bool,
    anonymous: bool,
    name: String,
    flags: Vec<String>,
}

impl Area {
    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|one| one == flag)
    }

    /// Pages of the kernel's own, which every process gets: they are moved, not copied.
    fn is_kernels(&self) -> bool {
        self.name == "[vdso]" || self.name.starts_with("[vvar")
    }

    /// What a fork would find empty.
    fn is_wiped(&self) -> bool {
        self.has("wf") || self.has("dp")
    }
}

/// What the kernel says of a process's memory.
fn areas(smaps: &str) -> Option<Vec<Area>> {
    let mut areas: Vec<Area> = Vec::new();
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            areas.last_mut()?.flags = flags.split_whitespace().map(str::to_owned).collect();
            continue;
        }
        let mut words = line.splitn(6, ' ');
        let Some((start, end)) = words.next().and_then(|range| range.split_once('-')) else { continue };
        let (Ok(start), Ok(end)) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)) else { continue };
        let permissions = words.next()?.as_bytes().to_owned();
        let inode = words.nth(2)?;
        let bit = |index: usize, letter: u8, bit: u64| if permissions.get(index) == Some(&letter) { bit } else { 0 };
        areas.push(Area {
            start,
            end,
            protection: bit(0, b'r', 1) | bit(1, b'w', 2) | bit(2, b'x', 4),
            shared: permissions.get(3) == Some(&b's'),
            anonymous: inode == "0",
            name: words.next().unwrap_or_default().trim().to_owned(),
            flags: Vec::new(),
        });
    }
    Some(areas)
}

/// Whether every process can have its own of all this.
fn check(areas: &[Area]) -> Result<(), Unfit> {
    let mut reserved = 0_u64;
    for area in areas {
        reserved = reserved.saturating_add(area.end - area.start);
        if area.is_kernels() || area.name == "[vsyscall]" {
            continue;
        }
        if area.shared && (area.protection & 2 != 0 || area.has("mw")) {
            return refuse(format!("it shares writable memory ({})", printable(&area.name)));
        }
        if area.has("ht") {
            return refuse("it uses huge pages of its own");
        }
        if area.has("um") || area.has("uw") || area.has("ui") {
            return refuse("it handles its own page faults");
        }
        if area.has("io") || area.has("pf") {
            return refuse(format!("it maps a device ({})", printable(&area.name)));
        }
    }
    if reserved > RESERVED_MAX {
        return refuse(format!("it has reserved more than {} GiB of addresses", RESERVED_MAX >> 30));
    }
    Ok(())
}

/// A name that a function chose, as far as it can be shown.
pub(super) fn printable(text: &str) -> String {
    let shown: String = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect();
    if shown.is_empty() { "without a name".to_owned() } else { shown }
}

/// The calls that are made, in order.
#[derive(Default)]
struct Calls(Vec<[u64; 8]>);

impl Calls {
    fn push(&mut self, number: libc::c_long, arguments: &[u64], flags: u64) {
        let mut entry = [0; 8];
        entry[0] = number.cast_unsigned();
        entry[1..=arguments.len()].copy_from_slice(arguments);
        entry[7] = flags;
        self.0.push(entry);
    }

    /// Empty memory.
    fn map_empty(&mut self, start: u64, end: u64, protection: u64) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        self.push(libc::SYS_mmap, &[start, end - start, protection, flags as u64, u64::MAX, 0], 0);
    }

    /// Pages of the image.
    fn map_image(&mut self, start: u64, end: u64, protection: u64, offset: u64) {
        let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
        self.push(libc::SYS_mmap, &[start, end - start, protection, flags as u64, IMAGE as u64, offset], 0);
    }

    fn move_pages(&mut self, from: u64, length: u64, to: u64, flags: u64) {
        let how = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        self.push(libc::SYS_mremap, &[from, length, length, how as u64, to], flags);
    }
}

/// The memory of a stopped process, and where of it has been copied.
struct Memory<'a> {
    memory: File,
    pages: File,
    image: &'a File,
    written: u64,
    buffer: Vec<u8>,
}

impl Memory<'_> {
    /// The runs of pages of an area that hold something.
    fn runs(&self, area: &Area) -> io::Result<Vec<(u64, u64)>> {
        const PRESENT: u64 = 1 << 63;
        const SWAPPED: u64 = 1 << 62;
        if !area.anonymous {
            // A file's pages are there whether they have been read or not.
            return Ok(if area.protection == 0 { Vec::new() } else { vec![(area.start, area.end)] });
        }
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let mut entries = vec![0; 64 * 1024];
        let mut at = area.start;
        while at < area.end {
            let want = usize::try_from((area.end - at) / PAGE * 8).unwrap_or(usize::MAX).min(entries.len());
            let read = self.pages.read_at(&mut entries[..want], at / PAGE * 8)?;
            if read < 8 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for entry in entries[..read - read % 8].chunks_exact(8) {
                let bits = entry.iter().rev().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
                if bits & (PRESENT | SWAPPED) != 0 {
                    match runs.last_mut() {
                        Some((_, end)) if at - *end <= GAP_PAGES * PAGE => *end = at + PAGE,
                        _ => runs.push((at, at + PAGE)),
                    }
                }
                at += PAGE;
            }
        }
        Ok(runs)
    }

    /// Copies a run; answers its place in the image and where it ended: pages beyond the end of a file are none.
    fn copy(&mut self, start: u64, end: u64) -> Result<(u64, u64), Unfit> {
        let offset = self.written;
        let mut at = start;
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = match self.memory.read_at(&mut self.buffer[..want], at) {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            if self.written + read as u64 > BYTES_MAX {
                return refuse(format!("it holds more than {} GiB", BYTES_MAX >> 30));
            }
            self.image.write_all_at(&self.buffer[..read], self.written)?;
            self.written += read as u64;
            at += read as u64;
        }
        self.written = self.written.next_multiple_of(PAGE);
        Ok((offset, at.next_multiple_of(PAGE).min(end)))
    }
}

/// Copies a stopped process into `image` and writes the program that makes another one of it; answers the bytes of the
/// image. `thread_id` is the address of the thread's number, as the process itself names it.
pub(super) fn write(
    pid: Pid,
    (registers, thread, thread_id): (&Registers, Thread, u64),
    image: &File,
    program: &File,
) -> Result<u64, Unfit> {
    let Some(code) = restorer::code() else {
        return refuse("there are no snapshots on this kind of processor");
    };
    let number = pid.as_raw_nonzero().get();
    let smaps = fs::read_to_string(format!("/proc/{number}/smaps"))?;
    let Some(mut areas) = areas(&smaps) else { return refuse("its memory cannot be understood") };
    check(&areas)?;
    let kernels: Vec<Area> = areas.extract_if(.., |area| area.is_kernels()).collect();
    areas.retain(|area| area.name != "[vsyscall]");
    let Some(vdso) = kernels.iter().find(|area| area.name == "[vdso]").map(|area| area.start) else {
        return refuse("it has no vDSO");
    };
    let Some(place) = place(areas.iter().chain(&kernels)) else { return refuse("its addresses leave no room") };
    let first = kernels.iter().map(|area| area.start).min().unwrap_or(vdso);
    let mut calls = Calls::default();
    // Nothing of the new process may lie where something of the old one comes.
    for area in &kernels {
        let aside = place + ASIDE + (area.start - first);
        calls.move_pages(area.start.wrapping_sub(vdso), area.end - area.start, aside, FROM_VDSO);
    }
    let mut memory = Memory {
        memory: File::open(format!("/proc/{number}/mem"))?,
        pages: File::open(format!("/proc/{number}/pagemap"))?,
        image,
        written: 0,
        buffer: vec![0; COPY_BYTES],
    };
    for (index, area) in areas.iter().enumerate() {
        let below = if index == 0 { 0 } else { areas[index - 1].end };
        map(&mut calls, &mut memory, area, below)?;
        if calls.0.len() > CALLS_MAX {
            return refuse("its memory is in too many pieces");
        }
    }
    for area in &kernels {
        calls.move_pages(place + ASIDE + (area.start - first), area.end - area.start, area.start, 0);
    }
    calls.push(libc::SYS_close, &[IMAGE as u64], 0);
    let written = memory.written;
    let bounds = Bounds::read(number, &areas)?;
    finish(&mut calls, registers, thread, thread_id);
    program.write_all_at(&executable(place, code, calls, registers, thread, &bounds), 0)?;
    Ok(written)
}

/// Maps one area, its pages copied.
fn map(calls: &mut Calls, memory: &mut Memory<'_>, area: &Area, below: u64) -> Result<(), Unfit> {
    if area.has("gd") {
        // Where the kernel let it grow, it may grow on; a page stays free below it.
        let floor = area.end.saturating_sub(STACK_BYTES).max(below + PAGE);
        if floor < area.start {
            calls.map_empty(floor, area.start, area.protection);
        }
    }
    if area.is_wiped() {
        calls.map_empty(area.start, area.end, area.protection);
        calls.push(libc::SYS_madvise, &[area.start, area.end - area.start, libc::MADV_WIPEONFORK as u64], MAY_FAIL);
        return Ok(());
    }
    let runs = memory.runs(area)?;
    if area.has("gd") {
        // Its pages will be written anyway, and the kernel shows arguments and variables only where they are a process's own.
        calls.map_empty(area.start, area.end, area.protection);
        for (start, end) in runs {
            let (offset, copied) = memory.copy(start, end)?;
            calls.push(libc::SYS_pread64, &[IMAGE as u64, start, copied - start, offset], 0);
        }
        return Ok(());
    }
    if runs != [(area.start, area.end)] {
        calls.map_empty(area.start, area.end, area.protection);
    }
    for (start, end) in runs {
        let (offset, copied) = memory.copy(start, end)?;
        if copied > start {
            calls.map_image(start, copied, area.protection, offset);
        }
        if copied < end && (start, end) == (area.start, area.end) {
            calls.map_empty(copied, end, area.protection);
        }
        if calls.0.len() > CALLS_MAX {
            break;
        }
    }
    Ok(())
}

/// What the kernel is told of the thread once its memory is there.
fn finish(calls: &mut Calls, registers: &Registers, thread: Thread, thread_id: u64) {
    #[cfg(target_arch = "x86_64")]
    {
        const ARCH_SET_FS: u64 = 0x1002;
        calls.push(libc::SYS_arch_prctl, &[ARCH_SET_FS, registers[register::FS_BASE]], 0);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = registers;
    let (address, size, signature) = thread.rseq;
    if address != 0 {
        calls.push(libc::SYS_rseq, &[address, size.into(), 0, signature.into()], 0);
    }
    if thread.robust_list != 0 {
        const ROBUST_LIST_HEAD_BYTES: u64 = 24;
        calls.push(libc::SYS_set_robust_list, &[thread.robust_list, ROBUST_LIST_HEAD_BYTES], 0);
    }
    if thread_id != 0 {
        calls.push(libc::SYS_set_tid_address, &[thread_id], 0);
    }
}

/// A free range for the program.
fn place<'a>(areas: impl Iterator<Item = &'a Area>) -> Option<u64> {
    let taken: Vec<_> = areas.map(|area| (area.start, area.end)).collect();
    let is_free = |at: u64| taken.iter().all(|&(start, end)| end <= at || at + PLACE_BYTES <= start);
    PLACES.step_by(PLACE_BYTES as usize).find(|&at| is_free(at))
}

/// The kernel's `prctl_mm_map`: where a process's parts begin and end, for whoever asks, and where its heap grows.
struct Bounds {
    numbers: [u64; 11],
    auxiliary: Vec<u8>,
}

impl Bounds {
    fn read(pid: i32, areas: &[Area]) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .map(|f| f.parse().unwrap_or(0))
            .collect();
        // The fields as proc(5) counts them.
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
        let heap = areas.iter().filter(|area| area.name == "[heap]").map(|area| area.end).max();
        let start_brk = field(47);
        Ok(Self {
            numbers: [
                field(26),
                field(27),
                field(45),
                field(46),
                start_brk,
                heap.unwrap_or(start_brk),
                field(28),
                field(48),
                field(49),
                field(50),
                field(51),
            ],
            auxiliary: fs::read(format!("/proc/{pid}/auxv"))?,
        })
    }
}

/// The program: an executable with one segment at `place`, one page in.
fn executable(
    place: u64,
    code: &[u8],
    mut calls: Calls,
    registers: &Registers,
    thread: Thread,
    bounds: &Bounds,
) -> Vec<u8> {
    const HEADER_BYTES: u64 = 64;
    const PROGRAM_HEADER_BYTES: u16 = 56;
    const MM_MAP_BYTES: u64 = 11 * 8 + 8 + 4 + 4;
    const PR_SET_MM: u64 = 35;
    const PR_SET_MM_MAP: u64 = 14;
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let start = place + PAGE;
    // One more call, the end, the modes, sixteen registers.
    let list_bytes = (calls.0.len() as u64 + 1) * 64 + 8 + 8 + 16 * 8;
    let map_at = start + code.len() as u64 + list_bytes;
    // Optional in a kernel; without it the process is none the worse but for what it shows of itself.
    calls.push(libc::SYS_prctl, &[PR_SET_MM, PR_SET_MM_MAP, map_at, MM_MAP_BYTES], MAY_FAIL);
    let mut body = code.to_vec();
    for call in &calls.0 {
        body.extend(words(call));
    }
    body.extend(words(&[END_OF_CALLS]));
    let (mxcsr, control_word) = thread.float_modes;
    body.extend(mxcsr.to_le_bytes());
    body.extend(u32::from(control_word).to_le_bytes());
    let order = [
        register::R15,
        register::R14,
        register::R13,
        register::R12,
        register::RBP,
        register::RBX,
        register::R11,
        register::R10,
        register::R9,
        register::R8,
        register::RAX,
        register::RDX,
        register::RSI,
        register::RDI,
        register::RSP,
        register::RIP,
    ];
    body.extend(words(&order.map(|index| registers[index])));
    debug_assert_eq!(body.len() as u64, code.len() as u64 + list_bytes);
    body.extend(words(&bounds.numbers));
    body.extend(words(&[map_at + MM_MAP_BYTES]));
    body.extend(u32::try_from(bounds.auxiliary.len()).unwrap_or_default().to_le_bytes());
    // No other file than this one is the process's program.
    body.extend(u32::MAX.to_le_bytes());
    body.extend(&bounds.auxiliary);
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let halves = |halves: &[u16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>();
    // An executable for x86-64.
    file.extend(halves(&[2, 62]));
    file.extend(1_u32.to_le_bytes());
    file.extend(words(&[start, HEADER_BYTES, 0]));
    file.extend(0_u32.to_le_bytes());
    file.extend(halves(&[HEADER_BYTES as u16, PROGRAM_HEADER_BYTES, 1, 0, 0, 0]));
    // To be loaded, readable and executable.
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    let length = body.len() as u64;
    file.extend(words(&[PAGE, start, start, length, length, PAGE]));
    file.resize(PAGE as usize, 0);
    file.extend(body);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
00400000-00401000 r-xp 00000000 fe:00 12 /usr/bin/python3.12
Size:                  4 kB
VmFlags: rd ex mr mw me
7f0000000000-7f0000021000 rw-p 00000000 00:00 0 
VmFlags: rd wr mr mw me ac
7f0000030000-7f0000031000 r--s 00000000 fe:00 77                         /usr/lib/gconv-modules.cache
VmFlags: rd mr me ms
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
VmFlags: rd wr mr mw me gd ac
7ffc00050000-7ffc00054000 r--p 00000000 00:00 0                          [vvar]
VmFlags: rd mr pf io de dd
7ffc00054000-7ffc00056000 r-xp 00000000 00:00 0                          [vdso]
VmFlags: rd ex mr mw me de
";

    #[test]
    fn areas_are_read_as_the_kernel_writes_them() {
        let areas = areas(SMAPS).unwrap();
        let seen: Vec<_> = areas.iter().map(|a| (a.start, a.protection, a.anonymous, a.name.as_str())).collect();
        assert_eq!(seen[0], (0x40_0000, 5, false, "/usr/bin/python3.12"));
        assert_eq!(seen[1], (0x7f00_0000_0000, 3, true, ""));
        assert_eq!((areas[2].shared, areas[2].protection), (true, 1));
        assert!(areas[3].has("gd") && areas[4].is_kernels() && areas[5].is_kernels());
        assert!(check(&areas).is_ok());
    }

    #[test]
    fn what_one_process_cannot_have_for_itself_is_refused() {
        for (from, to, reason) in [
            (
                "rw-p 00000000 00:00 0 \nVmFlags: rd wr mr mw me ac",
                "rw-s 00000000 00:01 9 /dev/zero (deleted)\nVmFlags: rd wr sh mr mw",
                "it shares writable memory (/dev/zero (deleted))",
            ),
            (
                "VmFlags: rd mr me ms",
                "VmFlags: rd mr mw me ms",
                "it shares writable memory (/usr/lib/gconv-modules.cache)",
            ),
            ("mr mw me ac\n7f0000030000", "mr mw me ac ht\n7f0000030000", "it uses huge pages of its own"),
            ("mr mw me ac\n7f0000030000", "mr mw me ac um\n7f0000030000", "it handles its own page faults"),
            ("mr mw me ac\n7f0000030000", "mr mw me io\n7f0000030000", "it maps a device (without a name)"),
            ("7f0000000000-7f0000021000", "7e0000000000-7f0000021000", "it has reserved more than 64 GiB of addresses"),
        ] {
            let smaps = SMAPS.replace(from, to);
            assert_ne!(smaps, SMAPS);
            match check(&areas(&smaps).unwrap()) {
                Err(Unfit::Refused(seen)) => assert_eq!(seen, reason),
                other => panic!("{reason}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_program_lies_where_nothing_else_does() {
        let area = |start, end| Area { start, end, ..Area::default() };
        assert_eq!(place([].iter()), Some(0x2000_0000));
        assert_eq!(place([area(0x2000_0000, 0x2100_0001)].iter()), Some(0x2200_0000));
        assert_eq!(place([area(0, u64::MAX)].iter()), None);
    }

    #[test]
    fn the_code_is_there_and_a_multiple_of_an_entry() {
        if let Some(code) = restorer::code() {
            assert!(code.len() % 64 == 0 && code.len() <= 512, "{}", code.len());
            assert_eq!(&code[..4], [0x48, 0x8b, 0x04, 0x24]);
        }
    }
}
