//! The few instructions that put a process together again: they make the system calls of a list one after the other, set
//! the registers, and jump. They are data here: the first bytes of a program that the launcher writes and a walled process
//! executes. They use no stack and no memory but the list, which follows them.
#![expect(unsafe_code, reason = "a block of machine code, read as bytes")]

/// A call may fail without harm.
pub(crate) const MAY_FAIL: u64 = 2;
/// The first argument counts from the address of the executing process's own vDSO.
pub(crate) const FROM_VDSO: u64 = 1;

/// The machine code, or none on a processor for which there is none. What must follow it: entries of eight words (number,
/// six arguments, flags); a word of ones; `mxcsr` (32 bits) and the x87 control word (16 of 32 bits); then r15, r14, r13,
/// r12, rbp, rbx, r11, r10, r9, r8, rax, rdx, rsi, rdi, rsp, rip.
pub(crate) fn code() -> Option<&'static [u8]> {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: both symbols are of the block below, which is read-only data that nobody writes.
        Some(unsafe {
            let begin = &raw const pileus_restorer_begin;
            std::slice::from_raw_parts(begin, (&raw const pileus_restorer_end).offset_from_unsigned(begin))
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        None
    }
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" {
    static pileus_restorer_begin: u8;
    static pileus_restorer_end: u8;
}

// At the start the stack holds what the kernel puts there: argument count, arguments, 0, variables, 0, pairs of the
// auxiliary vector, in which 33 is the address of the vDSO.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".pushsection .rodata.pileus_restorer, \"a\", @progbits",
    ".globl pileus_restorer_begin",
    ".globl pileus_restorer_end",
    ".balign 64",
    "pileus_restorer_begin:",
    "mov (%rsp), %rax",
    "lea 16(%rsp, %rax, 8), %rsi",
    "cld",
    "2: lodsq",
    "test %rax, %rax",
    "jnz 2b",
    "3: lodsq",
    "mov %rax, %rdx",
    "lodsq",
    "cmp $33, %rdx",
    "je 4f",
    "test %rdx, %rdx",
    "jnz 3b",
    "xor %eax, %eax",
    "4: mov %rax, %rbp",
    "lea pileus_restorer_end(%rip), %rbx",
    // One call after the other.
    "5: mov (%rbx), %rax",
    "cmp $-1, %rax",
    "je 7f",
    "mov 8(%rbx), %rdi",
    "mov 16(%rbx), %rsi",
    "mov 24(%rbx), %rdx",
    "mov 32(%rbx), %r10",
    "mov 40(%rbx), %r8",
    "mov 48(%rbx), %r9",
    "testb $1, 56(%rbx)",
    "jz 6f",
    "add %rbp, %rdi",
    "6: syscall",
    "add $64, %rbx",
    "cmp $-4095, %rax",
    "jb 5b",
    "testb $2, -8(%rbx)",
    "jnz 5b",
    // It ends with the number of the error as its status.
    "neg %eax",
    "mov %eax, %edi",
    "mov $231, %eax",
    "syscall",
    "hlt",
    // Everything is in its place: what the thread had in its registers.
    "7: lea 8(%rbx), %rcx",
    "ldmxcsr (%rcx)",
    "fldcw 4(%rcx)",
    "mov 8(%rcx), %r15",
    "mov 16(%rcx), %r14",
    "mov 24(%rcx), %r13",
    "mov 32(%rcx), %r12",
    "mov 40(%rcx), %rbp",
    "mov 48(%rcx), %rbx",
    "mov 56(%rcx), %r11",
    "mov 64(%rcx), %r10",
    "mov 72(%rcx), %r9",
    "mov 80(%rcx), %r8",
    "mov 88(%rcx), %rax",
    "mov 96(%rcx), %rdx",
    "mov 104(%rcx), %rsi",
    "mov 112(%rcx), %rdi",
    "mov 120(%rcx), %rsp",
    "jmp *128(%rcx)",
    ".balign 64",
    "pileus_restorer_end:",
    ".popsection",
    options(att_syntax)
);
