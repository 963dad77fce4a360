//! What the markers of a JPEG file say before anything of it is decoded.
//!
//! Source: ITU-T T.81, annex B: a marker is 0xFF and another byte but 0 and 0xFF; all but a few are followed by the length of
//! their segment. Behind a start of scan come the coded bits, in which 0xFF is followed by 0 or by a restart marker.

/// What is known of a file by its markers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Markers {
    /// Whether all coefficients are kept until the last scan.
    pub(super) is_progressive: bool,
    /// Parts that each go over the whole image, in the worst case.
    pub(super) n_scans: usize,
    /// Whether the image ends before the file does.
    pub(super) is_whole: bool,
}

impl Markers {
    /// Walks over the segments. What is malformed ends the walk: the decoder says what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        let mut at = 2;
        while let Some(&[first, kind]) = bytes.get(at..at + 2).and_then(|it| it.first_chunk()) {
            if first != 0xff {
                // Between segments stands nothing else; some writers leave bytes there all the same.
                at += 1;
                continue;
            }
            match kind {
                0xff => at += 1,
                0xd9 => {
                    found.is_whole = true;
                    return found;
                }
                0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
                _ => {
                    found.is_progressive |= matches!(kind, 0xc2 | 0xc6 | 0xca | 0xce);
                    found.n_scans += usize::from(kind == 0xda);
                    let length = bytes.get(at + 2..at + 4).and_then(|it| it.first_chunk());
                    let Some(length) = length.map(|it| usize::from(u16::from_be_bytes(*it))) else {
                        return found;
                    };
                    at += 2 + length.max(2);
                    if kind == 0xda {
                        at = end_of_scan(bytes, at);
                    }
                }
            }
        }
        found
    }
}

/// Where the first marker behind the coded bits stands.
fn end_of_scan(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|it| it.iter().position(|it| *it == 0xff)) {
        at += found;
        match bytes.get(at + 1) {
            Some(0x00 | 0xd0..=0xd7) => at += 2,
            _ => return at,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_are_counted_and_an_end_in_a_thumbnail_is_none() {
        let head = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd9, 0xff, 0xda];
        let frame = [0xff, 0xc2, 0, 2];
        let scan = [0xff, 0xda, 0, 2, 1, 0xff, 0, 2, 0xff, 0xd0, 3];
        let cut = [&head[..], &frame, &scan, &scan].concat();
        let expected = Markers { is_progressive: true, n_scans: 2, is_whole: false };
        assert_eq!(Markers::read(&cut), expected);
        let whole = [&cut[..], &[0xff, 0xd9, 7, 7]].concat();
        assert_eq!(Markers::read(&whole), Markers { is_whole: true, ..expected });
        for len in 0..whole.len() - 4 {
            assert!(!Markers::read(&whole[..len]).is_whole, "{len}");
        }
    }
}
