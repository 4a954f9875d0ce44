//! The md5 method: what is stored, and what is sent.

use md5::{Digest, Md5};

const HEX: [u8; 16] = *b"0123456789abcdef";

/// Lower-case hexadecimal digits of an md5 sum.
pub(super) type Md5Hex = [u8; 32];

/// md5 of the parts, one after the other.
pub(super) fn md5_hex(parts: &[&[u8]]) -> Md5Hex {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    let mut text = [0; 32];
    for (digits, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(hash.finalize()) {
        *digits = [byte >> 4, byte & 15].map(digit);
    }
    text
}

fn digit(value: u8) -> u8 {
    HEX.get(usize::from(value)).copied().unwrap_or(b'0')
}
