//! A word to the processor about memory that is needed soon.
//!
//! Owns the one instruction for it; what to ask for, and when, is the business of whoever walks through memory.

#![allow(unsafe_code, reason = "the instruction takes a bare address")]

/// Bytes that the processor fetches at once.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Has `bytes` brought into the cache while other work goes on. Does nothing where there is no such instruction.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "there is nothing to say it with"))]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(LINE) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint that reads nothing into the program and never faults, here about memory that `line` borrows;
        // SSE, which it belongs to, is part of x86_64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
}

#[cfg(test)]
#[test]
fn a_word_about_any_bytes_leaves_them_as_they_are() {
    let bytes: Vec<u8> = (0..=255).collect();
    for (from, to) in [(0, 0), (0, 1), (63, 65), (1, 256), (256, 256)] {
        prefetch(&bytes[from..to]);
    }
    assert!(bytes.iter().copied().eq(0..=255));
}
