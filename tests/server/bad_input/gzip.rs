//! A body that is small on the wire and large unpacked, made without a library.

/// The bytes of a gzip file of at least `n_bytes` spaces, some hundred times smaller.
pub(super) fn bomb(n_bytes: usize) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut bits = Bits { bytes: Vec::new(), n_bits: 0 };
    // One block, the last one, with the fixed codes of RFC 1951, 3.2.6.
    bits.push(1, 1);
    bits.push(1, 2);
    bits.push_code(0x30 + u32::from(b' '), 8);
    for _ in 0..n_bytes / 258 + 1 {
        // Length 258 (symbol 285, no extra bits) from distance 1 (symbol 0).
        bits.push_code(0xc5, 8);
        bits.push_code(0, 5);
    }
    bits.push_code(0, 7);
    file.append(&mut bits.bytes);
    // Checksum and length are wrong, but nobody should come this far.
    file.extend_from_slice(&[0; 8]);
    file
}

/// `{"features": [1, 2, 3, 4]}`, packed.
pub(super) const GOOD: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab, 0x56, 0x4a, 0x4b, 0x4d, 0x2c,
    0x29, 0x2d, 0x4a, 0x2d, 0x56, 0xb2, 0x52, 0x88, 0x36, 0xd4, 0x51, 0x30, 0xd2, 0x51, 0x30, 0xd6,
    0x51, 0x30, 0x89, 0xad, 0x05, 0x00, 0x32, 0xe2, 0x9a, 0x9f, 0x1a, 0x00, 0x00, 0x00,
];

struct Bits {
    bytes: Vec<u8>,
    n_bits: usize,
}

impl Bits {
    /// Bits of a number, the lowest first.
    fn push(&mut self, value: u32, n_bits: u32) {
        for bit in 0..n_bits {
            if self.n_bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(value >> bit & 1 == 1) << (self.n_bits % 8);
            }
            self.n_bits += 1;
        }
    }

    /// Bits of a code, the highest first.
    fn push_code(&mut self, code: u32, n_bits: u32) {
        (0..n_bits).rev().for_each(|bit| self.push(code >> bit & 1, 1));
    }
}
