//! The client's side of an HTTP/2 connection, frame by frame: whether a frame or a request head stands half, and how
//! many frames came that ask for nothing. h2 reads the same bytes after us and judges what they say; it bounds resets,
//! CONTINUATION and small DATA frames by itself, but answers PING and SETTINGS, and reads WINDOW_UPDATE, PRIORITY and
//! what it does not know, without end.
//!
//! Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

const HEADER_BYTES: usize = 9;
const PREFACE_BYTES: u32 = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// Bytes of the answers to PING and SETTINGS.
const PONG_BYTES: u64 = 17;
const SETTINGS_ACK_BYTES: u64 = 9;

/// Frames that may come for nothing at once, and a second. Ten thousand times what a client sends that pings every ten
/// seconds, and far from what would be felt.
const BURST: i64 = 1000;
const PER_SECOND: i64 = 100;
/// What is left over of what work has earned. An answer may lie in the kernel's buffers, some thousand frames of it,
/// before the client opens its windows again for each.
const MOST_SAVED: i64 = 10_000;
/// What work earns: clients send a few frames with each request, and up to two for each DATA frame that they get.
const PER_REQUEST: u64 = 32;
const ANSWER_BYTES_PER_FRAME: u64 = 16;
const BODY_BYTES_PER_FRAME: u64 = 512;

/// Where the walk is, and what it has seen. Starts before the preface.
#[derive(Debug)]
pub(super) struct Frames {
    header: [u8; HEADER_BYTES],
    header_len: usize,
    payload_left: u32,
    /// A request head whose last part has not come, or the settings that the client begins with.
    is_in_head: bool,
    /// Frames that have come whole; a head and its continuations are one.
    n_units: u64,
    tally: Tally,
}

/// Frames and bytes that have begun to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// All frames but DATA with something in it.
    pub(super) n_frames: u64,
    pub(super) body_bytes: u64,
    /// What is written to answer PING and SETTINGS.
    pub(super) reply_bytes: u64,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            header: [0; HEADER_BYTES],
            header_len: HEADER_BYTES,
            payload_left: PREFACE_BYTES,
            is_in_head: true,
            n_units: 0,
            tally: Tally::default(),
        }
    }

    pub(super) fn walk(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.header_len < HEADER_BYTES {
                let n_bytes = bytes.len().min(HEADER_BYTES - self.header_len);
                let (part, rest) = bytes.split_at(n_bytes);
                self.header[self.header_len..][..n_bytes].copy_from_slice(part);
                self.header_len += n_bytes;
                bytes = rest;
                if self.header_len < HEADER_BYTES {
                    return;
                }
                self.begin();
            } else {
                let left = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
                let n_bytes = bytes.len().min(left);
                bytes = &bytes[n_bytes..];
                self.payload_left -= u32::try_from(n_bytes).expect("at most what is left");
            }
            if self.payload_left == 0 {
                self.header_len = 0;
                self.n_units += u64::from(!self.is_in_head);
            }
        }
    }

    /// The header of a frame is whole.
    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        let payload = u32::from_be_bytes([0, a, b, c]);
        self.payload_left = payload;
        match kind {
            HEADERS | CONTINUATION => self.is_in_head = flags & END_HEADERS == 0,
            SETTINGS => self.is_in_head = false,
            _ => {}
        }
        // h2 hands padding back to the window by itself: it may be all that there is.
        if kind == DATA && payload > 0 && flags & PADDED == 0 {
            self.tally.body_bytes += u64::from(payload);
        } else {
            self.tally.n_frames += 1;
        }
        self.tally.reply_bytes += match kind {
            PING if flags & ACK == 0 => PONG_BYTES,
            SETTINGS if flags & ACK == 0 => SETTINGS_ACK_BYTES,
            _ => 0,
        };
    }

    /// Whether a part of a frame or of a request head waits for the rest.
    pub(super) fn stands_half(&self) -> bool {
        self.header_len > 0 || self.is_in_head
    }

    /// How many frames have come whole, where a head and its continuations are one.
    pub(super) fn n_units(&self) -> u64 {
        self.n_units
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }
}

/// What a connection has done that its frames may be for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) tally: Tally,
    /// Requests that were begun.
    pub(super) n_requests: u64,
    pub(super) written_bytes: u64,
}

impl Work {
    /// Frames that this work is good for.
    fn worth(&self) -> u64 {
        let answer_bytes = self.written_bytes.saturating_sub(self.tally.reply_bytes);
        self.n_requests * PER_REQUEST
            + answer_bytes / ANSWER_BYTES_PER_FRAME
            + self.tally.body_bytes / BODY_BYTES_PER_FRAME
    }
}

/// How many frames for nothing are still borne. It is looked at when that many have come, so that neither the clock nor
/// the activity is asked for each frame.
#[derive(Debug)]
pub(super) struct Patience {
    left: i64,
    seen_at: Instant,
    seen_frames: u64,
    seen_worth: u64,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, seen_at: now, seen_frames: 0, seen_worth: 0 }
    }

    /// Whether it is time to look.
    pub(super) fn is_used_up(&self, tally: Tally) -> bool {
        i64::try_from(tally.n_frames - self.seen_frames).unwrap_or(i64::MAX) >= self.left
    }

    /// Whether the connection is to live on.
    pub(super) fn bears(&mut self, work: &Work, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.seen_at);
        let passed = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        let frames = i64::try_from(work.tally.n_frames - self.seen_frames).unwrap_or(i64::MAX);
        // What was written may lag behind what it answers.
        let worth = work.worth().max(self.seen_worth);
        let earned = i64::try_from(worth - self.seen_worth).unwrap_or(i64::MAX);
        let rested = (passed.saturating_mul(PER_SECOND) / 1000).min(BURST);
        let saved = self.left.saturating_add(earned).saturating_add(rested).min(MOST_SAVED);
        *self = Self {
            left: saved.saturating_sub(frames),
            seen_at: now,
            seen_frames: work.tally.n_frames,
            seen_worth: worth,
        };
        self.left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![a, b, c, kind, flags, 0, 0, 0, 1];
        bytes.resize(HEADER_BYTES + payload, 0);
        bytes
    }

    /// The walk after these frames, however they are cut.
    #[track_caller]
    fn walked(frames: &[Vec<u8>]) -> Frames {
        let bytes = [PREFACE.to_vec(), frames.concat()].concat();
        let mut whole = Frames::new();
        whole.walk(&bytes);
        for size in [1, 2, 7, 9, 10, 23] {
            let mut cut = Frames::new();
            bytes.chunks(size).for_each(|piece| cut.walk(piece));
            assert_eq!(
                (cut.tally, cut.n_units, cut.stands_half()),
                (whole.tally, whole.n_units, whole.stands_half()),
                "in pieces of {size}"
            );
        }
        whole
    }

    #[test]
    fn half_a_frame_or_head_is_seen() {
        #[track_caller]
        fn check(frames: &[Vec<u8>], cut: usize, expected: bool) {
            let mut frames = frames.to_vec();
            let last = frames.last_mut().unwrap();
            last.truncate(last.len() - cut);
            assert_eq!(walked(&frames).stands_half(), expected);
        }
        let settings = frame(SETTINGS, 0, 6);
        let head = frame(HEADERS, 0, 20);
        check(&[vec![]], 0, true);
        check(std::slice::from_ref(&settings), 1, true);
        check(std::slice::from_ref(&settings), 0, false);
        check(&[settings.clone(), head.clone()], 0, true);
        check(&[settings.clone(), head.clone(), frame(CONTINUATION, 0, 0)], 0, true);
        check(&[settings.clone(), head.clone(), frame(CONTINUATION, END_HEADERS, 3)], 0, false);
        check(&[settings.clone(), head, frame(CONTINUATION, END_HEADERS, 3)], 1, true);
        check(&[settings.clone(), frame(HEADERS, END_HEADERS, 20)], 0, false);
        check(&[settings.clone(), frame(PING, 0, 8)], 3, true);
        check(&[settings.clone(), frame(DATA, 0, 100)], 100, true);
        check(&[settings, frame(DATA, 0, 100)], 0, false);
    }

    #[test]
    fn frames_and_bytes_are_counted() {
        let frames = [
            frame(SETTINGS, 0, 12),
            frame(SETTINGS, ACK, 0),
            frame(PING, 0, 8),
            frame(PING, ACK, 8),
            frame(DATA, 0, 1000),
            frame(DATA, 0, 0),
            frame(DATA, PADDED, 200),
            frame(8, 0, 4),
            frame(0x77, 0, 3000),
        ];
        let expected = Tally { n_frames: 8, body_bytes: 1000, reply_bytes: 9 + 17 };
        assert_eq!(walked(&frames).tally(), expected);
    }

    /// A client that does this again and again, `millis` apart: when it is closed, if ever.
    fn ends(n_times: u64, millis: u64, once: Work) -> Option<u64> {
        let mut now = Instant::now();
        let mut patience = Patience::new(now);
        let mut work = Work::default();
        for time in 1..=n_times {
            now += Duration::from_millis(millis);
            work.tally.n_frames += once.tally.n_frames;
            work.tally.body_bytes += once.tally.body_bytes;
            work.tally.reply_bytes += once.tally.reply_bytes;
            work.n_requests += once.n_requests;
            work.written_bytes += once.written_bytes;
            if patience.is_used_up(work.tally) && !patience.bears(&work, now) {
                return Some(time);
            }
        }
        None
    }

    fn frames(n_frames: u64) -> Tally {
        Tally { n_frames, ..Tally::default() }
    }

    #[test]
    fn floods_end() {
        let pings = Work {
            tally: Tally { n_frames: 100, reply_bytes: 1700, body_bytes: 0 },
            written_bytes: 1700,
            ..Work::default()
        };
        let end = ends(1_000_000, 1, pings).expect("pongs are no work");
        assert!((10..=12).contains(&end), "{end}");
        let others = Work { tally: frames(100), ..Work::default() };
        assert!(ends(1_000_000, 1, others).is_some_and(|end| end <= 12));
        let slower = Work { tally: frames(2), ..Work::default() };
        assert!(ends(1_000_000, 10, slower).is_some(), "200 a second are too many in the end");
        let beside_some_work = Work { tally: frames(1000), n_requests: 1, ..Work::default() };
        assert!(ends(1_000_000, 1, beside_some_work).is_some());
    }

    #[test]
    fn clients_that_behave_are_borne() {
        let ping = Work {
            tally: Tally { n_frames: 1, reply_bytes: 17, body_bytes: 0 },
            written_bytes: 17,
            ..Work::default()
        };
        assert_eq!(ends(1_000_000, 10_000, ping), None, "a ping every ten seconds for months");
        let window = Work { tally: frames(2), written_bytes: 100, ..Work::default() };
        assert_eq!(ends(1_000_000, 0, window), None, "two updates for each piece of an answer");
        let request = Work { tally: frames(7), n_requests: 1, written_bytes: 60 };
        assert_eq!(ends(1_000_000, 0, request), None, "requests with pings and updates");
        let upload = Work {
            tally: Tally { n_frames: 2, body_bytes: 16_384, reply_bytes: 17 },
            written_bytes: 17,
            ..Work::default()
        };
        assert_eq!(ends(1_000_000, 0, upload), None, "pings beside a body");
    }

    /// 12 MiB in 16 KiB frames lie in the kernel before the first of two updates for each comes back.
    #[test]
    fn updates_may_come_late() {
        let now = Instant::now();
        let mut patience = Patience::new(now);
        let mut work = Work { written_bytes: 12 << 20, n_requests: 1, ..Work::default() };
        for _ in 0..2 * (12 << 20) / (16 << 10) {
            work.tally.n_frames += 1;
            assert!(!patience.is_used_up(work.tally) || patience.bears(&work, now));
        }
    }
}
