//! Classic BPF: small programs by which the kernel picks the socket of a group that takes a datagram.
//!
//! Owns the instructions that such programs are made of. Refuses to know what a datagram looks like: the program comes
//! from whoever does. The kernel checks every program before it takes it, and a load beyond the datagram ends it with 0.

use core::ffi::c_uint;

/// One instruction. `A` is the accumulator, `X` the index register, `M` a scratch memory of 16 words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) value: u32,
}

impl Instruction {
    /// `A` = the big-endian word at `X + offset`.
    #[must_use]
    pub const fn load_word(offset: u32) -> Self {
        Self::new(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, offset)
    }

    /// `A` = the byte at `X + offset`.
    #[must_use]
    pub const fn load_byte(offset: u32) -> Self {
        Self::new(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, offset)
    }

    /// `A` = the byte at `offset`.
    #[must_use]
    pub const fn load_byte_at(offset: u32) -> Self {
        Self::new(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, offset)
    }

    /// `X` = `value`.
    #[must_use]
    pub const fn set_index(value: u32) -> Self {
        Self::new(libc::BPF_LDX | libc::BPF_IMM, value)
    }

    /// `M[place]` = `A`.
    #[must_use]
    pub const fn store(place: u32) -> Self {
        Self::new(libc::BPF_ST, place)
    }

    /// `X` = `M[place]`.
    #[must_use]
    pub const fn load_index(place: u32) -> Self {
        Self::new(libc::BPF_LDX | libc::BPF_MEM, place)
    }

    /// `X` = `A`.
    #[must_use]
    pub const fn copy_to_index() -> Self {
        Self::new(libc::BPF_MISC | libc::BPF_TAX, 0)
    }

    #[must_use]
    pub const fn and(value: u32) -> Self {
        Self::new(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, value)
    }

    #[must_use]
    pub const fn xor(value: u32) -> Self {
        Self::new(libc::BPF_ALU | libc::BPF_XOR | libc::BPF_K, value)
    }

    /// `A` ^= `X`.
    #[must_use]
    pub const fn xor_index() -> Self {
        Self::new(libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X, 0)
    }

    /// `A` *= `value`, modulo 2^32.
    #[must_use]
    pub const fn multiply(value: u32) -> Self {
        Self::new(libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K, value)
    }

    #[must_use]
    pub const fn shift_right(bits: u32) -> Self {
        Self::new(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, bits)
    }

    /// `A` %= `value`; the kernel refuses a program that divides by 0.
    #[must_use]
    pub const fn modulo(value: u32) -> Self {
        Self::new(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, value)
    }

    /// Goes on `then` instructions further if `A & bits` is not 0, otherwise `or_else` further.
    #[must_use]
    pub const fn jump_if_set(bits: u32, then: u8, or_else: u8) -> Self {
        Self::jump(libc::BPF_JSET, bits, then, or_else)
    }

    /// Goes on `then` instructions further if `A >= value`, otherwise `or_else` further.
    #[must_use]
    pub const fn jump_if_at_least(value: u32, then: u8, or_else: u8) -> Self {
        Self::jump(libc::BPF_JGE, value, then, or_else)
    }

    /// Goes on `by` instructions further.
    #[must_use]
    pub const fn skip(by: u32) -> Self {
        Self::new(libc::BPF_JMP | libc::BPF_JA, by)
    }

    /// Ends with `value`.
    #[must_use]
    pub const fn give(value: u32) -> Self {
        Self::new(libc::BPF_RET | libc::BPF_K, value)
    }

    /// Ends with `A`.
    #[must_use]
    pub const fn give_accumulator() -> Self {
        Self::new(libc::BPF_RET | libc::BPF_A, 0)
    }

    const fn jump(kind: c_uint, value: u32, jump_true: u8, jump_false: u8) -> Self {
        Self { jump_true, jump_false, ..Self::new(libc::BPF_JMP | kind | libc::BPF_K, value) }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the codes are bytes")]
    const fn new(code: c_uint, value: u32) -> Self {
        Self { code: code as u16, jump_true: 0, jump_false: 0, value }
    }
}
