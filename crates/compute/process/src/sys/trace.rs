//! Looking into a stopped process: its registers and what the kernel keeps of its one thread. Only x86-64; elsewhere every
//! question is answered with "not supported".
#![expect(unsafe_code, reason = "raw system calls: ptrace, get_robust_list")]

use std::{
    io,
    os::raw::{c_long, c_void},
    ptr,
};

use rustix::process::Pid;

/// The kernel's `user_regs_struct` of x86-64, by position.
pub(crate) type Registers = [u64; 27];
/// Positions in [`Registers`].
pub(crate) mod register {
    pub(crate) const R15: usize = 0;
    pub(crate) const R14: usize = 1;
    pub(crate) const R13: usize = 2;
    pub(crate) const R12: usize = 3;
    pub(crate) const RBP: usize = 4;
    pub(crate) const RBX: usize = 5;
    pub(crate) const R11: usize = 6;
    pub(crate) const R10: usize = 7;
    pub(crate) const R9: usize = 8;
    pub(crate) const R8: usize = 9;
    pub(crate) const RAX: usize = 10;
    pub(crate) const RDX: usize = 12;
    pub(crate) const RSI: usize = 13;
    pub(crate) const RDI: usize = 14;
    pub(crate) const RIP: usize = 16;
    pub(crate) const RSP: usize = 19;
    pub(crate) const FS_BASE: usize = 21;
}

/// What the kernel keeps of a thread beside its registers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Thread {
    /// Modes of the floating-point unit: `mxcsr`, x87 control word.
    pub(crate) float_modes: (u32, u16),
    /// Address, size and signature of its restartable sequences; the address is zero when it has none.
    pub(crate) rseq: (u64, u32, u32),
    pub(crate) robust_list: u64,
}

#[repr(C)]
#[derive(Default)]
struct RseqConfiguration {
    address: u64,
    size: u32,
    signature: u32,
    flags: u32,
    pad: u32,
}

const PTRACE_GETREGS: c_long = 12;
const PTRACE_GETFPREGS: c_long = 14;
const PTRACE_SEIZE: c_long = 0x4206;
const PTRACE_INTERRUPT: c_long = 0x4207;
const PTRACE_GET_RSEQ_CONFIGURATION: c_long = 0x420f;
/// Offsets in `user_fpregs_struct`.
const CONTROL_WORD: usize = 0;
const MXCSR: usize = 24;

fn trace(request: c_long, pid: Pid, address: *mut c_void, data: *mut c_void) -> io::Result<c_long> {
    // SAFETY: callers pass memory of the size that the request writes, or null where it writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, request, pid.as_raw_nonzero().get(), address, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Becomes the tracer of a process, and has it stop where it is; the stop is waited for with `waitpid`.
pub(crate) fn seize(pid: Pid) -> io::Result<()> {
    trace(PTRACE_SEIZE, pid, ptr::null_mut(), ptr::null_mut())?;
    trace(PTRACE_INTERRUPT, pid, ptr::null_mut(), ptr::null_mut()).map(|_| ())
}

/// The registers of a stopped tracee.
pub(crate) fn registers(pid: Pid) -> io::Result<Registers> {
    if !cfg!(target_arch = "x86_64") {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut registers = [0; 27];
    trace(PTRACE_GETREGS, pid, ptr::null_mut(), registers.as_mut_ptr().cast())?;
    Ok(registers)
}

/// What else the kernel keeps of it.
pub(crate) fn thread(pid: Pid) -> io::Result<Thread> {
    let mut float = [0_u8; 512];
    trace(PTRACE_GETFPREGS, pid, ptr::null_mut(), float.as_mut_ptr().cast())?;
    let control_word = u16::from_le_bytes([float[CONTROL_WORD], float[CONTROL_WORD + 1]]);
    let mxcsr = u32::from_le_bytes([float[MXCSR], float[MXCSR + 1], float[MXCSR + 2], float[MXCSR + 3]]);
    let mut rseq = RseqConfiguration::default();
    let size = ptr::without_provenance_mut(size_of::<RseqConfiguration>());
    // An older kernel, or one without restartable sequences, has nothing to say.
    let rseq = match trace(PTRACE_GET_RSEQ_CONFIGURATION, pid, size, ptr::from_mut(&mut rseq).cast()) {
        Ok(_) => (rseq.address, rseq.size, rseq.signature),
        Err(_) => (0, 0, 0),
    };
    let (mut head, mut length) = (0_u64, 0_usize);
    // SAFETY: the kernel stores one pointer and one length.
    let asked =
        unsafe { libc::syscall(libc::SYS_get_robust_list, pid.as_raw_nonzero().get(), &raw mut head, &raw mut length) };
    let robust_list = if asked == 0 { head } else { 0 };
    Ok(Thread { float_modes: (mxcsr, control_word), rseq, robust_list })
}
