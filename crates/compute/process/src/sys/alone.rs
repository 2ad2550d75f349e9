//! The end of a process that has nothing more to do than to end with another one: it gives its memory back. Every sandbox
//! has such a process, and what it holds it holds a thousand times.
#![expect(
    unsafe_code,
    reason = "a process that unmaps what it runs on can only be written in its processor's own words"
)]

use std::{fs, io};

/// Mappings that are given back; what is beyond stays.
const MAPPINGS_MAX: usize = 512;

/// A mapping: where it begins and how long it is.
#[derive(Clone, Copy)]
#[repr(C)]
struct Mapping {
    start: usize,
    length: usize,
}

/// What a process has mapped and will not need in [`Alone::wait`].
pub(crate) struct Alone {
    mappings: [Mapping; MAPPINGS_MAX],
    count: usize,
}

impl Alone {
    /// Looks at the mappings of the calling process: all but its stack, its thread and the code of [`Alone::wait`].
    pub(crate) fn look() -> io::Result<Self> {
        let mut alone = Self { mappings: [Mapping { start: 0, length: 0 }; MAPPINGS_MAX], count: 0 };
        let code = wait_without as *const () as usize;
        let stack = (&raw const alone).addr();
        // The kernel writes into what the thread has registered of itself (`rseq`), whenever it is scheduled.
        // SAFETY: always sound.
        let thread = unsafe { libc::pthread_self() } as usize;
        for line in fs::read_to_string("/proc/self/maps")?.lines() {
            let Some(range) = range(line) else { continue };
            let kept = [code, stack, thread].iter().any(|address| range.contains(address)) || line.ends_with("[stack]");
            if !kept && alone.count < MAPPINGS_MAX {
                alone.mappings[alone.count] = Mapping { start: range.start, length: range.len() };
                alone.count += 1;
            }
        }
        Ok(alone)
    }

    /// Gives everything back and waits until the other end of standard input is closed; then the process ends. The process
    /// must have one thread and no signal handler.
    pub(crate) fn wait(&self) -> ! {
        wait_without(&self.mappings[..self.count])
    }
}

/// The addresses of a line of `maps`.
fn range(line: &str) -> Option<std::ops::Range<usize>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn wait_without(mappings: &[Mapping]) -> ! {
    // SAFETY: from the first instruction on nothing is used but registers, this function's own code and the array, all of
    // which are kept; it never returns, and no other thread and no handler runs. One byte is read below the stack's top.
    unsafe {
        std::arch::asm!(
            "2:",
            "test r13, r13",
            "jz 3f",
            "mov rdi, [r12]",
            "mov rsi, [r12 + 8]",
            "mov eax, {munmap}",
            "syscall",
            "add r12, 16",
            "dec r13",
            "jmp 2b",
            "3:",
            "sub rsp, 256",
            "4:",
            "xor edi, edi",
            "mov rsi, rsp",
            "mov edx, 1",
            "mov eax, {read}",
            "syscall",
            "test rax, rax",
            "jg 4b",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            munmap = const libc::SYS_munmap,
            read = const libc::SYS_read,
            exit = const libc::SYS_exit_group,
            in("r12") mappings.as_ptr(),
            in("r13") mappings.len(),
            options(noreturn),
        )
    }
}

#[cfg(target_arch = "aarch64")]
#[inline(never)]
fn wait_without(mappings: &[Mapping]) -> ! {
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "2:",
            "cbz x20, 3f",
            "ldp x0, x1, [x19], #16",
            "mov x8, {munmap}",
            "svc 0",
            "sub x20, x20, 1",
            "b 2b",
            "3:",
            "sub sp, sp, 256",
            "4:",
            "mov x0, 0",
            "mov x1, sp",
            "mov x2, 1",
            "mov x8, {read}",
            "svc 0",
            "cmp x0, 0",
            "b.gt 4b",
            "mov x0, 0",
            "mov x8, {exit}",
            "svc 0",
            "brk 1",
            munmap = const libc::SYS_munmap,
            read = const libc::SYS_read,
            exit = const libc::SYS_exit_group,
            in("x19") mappings.as_ptr(),
            in("x20") mappings.len(),
            options(noreturn),
        )
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(never)]
fn wait_without(_: &[Mapping]) -> ! {
    let mut byte = [0];
    // SAFETY: reads into a byte of its own.
    while unsafe { libc::read(0, byte.as_mut_ptr().cast(), 1) } > 0 {}
    super::exit_now(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_have_addresses() {
        assert_eq!(
            range("559dff5af000-559dff5b0000 rw-p 00000000 00:00 0    [heap]"),
            Some(0x559d_ff5a_f000..0x559d_ff5b_0000)
        );
        assert_eq!(range("nonsense"), None);
    }

    #[test]
    fn the_stack_and_the_waiting_code_are_kept() {
        let alone = Alone::look().unwrap();
        let given = |address: usize| {
            alone.mappings[..alone.count].iter().any(|m| (m.start..m.start + m.length).contains(&address))
        };
        assert!(!given((&raw const alone).addr()));
        assert!(!given(wait_without as *const () as usize));
        assert!(given(Box::into_raw(Box::new(0_u8)).addr()));
    }
}
