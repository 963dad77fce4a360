//! What happened to models, for operators: the last thousand events, kept over restarts, and followed as they come.
//!
//! Events are few: loads, orders, steps of a roll-out. Where there are too many, the oldest of the most frequent kind goes: one that
//! comes and goes all the time pushes out no other.

mod kinds;

pub use kinds::EventKind;

use super::collect::Collect;
use super::exposition::Samples;
use super::families;
use super::number::Counter;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// How many are kept.
pub const MAX_EVENTS: usize = 1000;
/// The file is written anew when it holds so many.
const MAX_LINES: usize = 2 * MAX_EVENTS;
/// Longest file that is read.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Longest text of an event, in bytes; the log has the whole.
const MAX_TEXT: usize = 4096;

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number; the next one is higher, also after a restart.
    pub id: u64,
    /// When it happened, in seconds since 1970, to the millisecond.
    pub time: f64,
    /// What kind it is.
    pub kind: EventKind,
    /// The model, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The version, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What happened, in words for operators: it may name files.
    pub message: String,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The model.
    pub model: Option<&'a str>,
    /// The version.
    pub version: Option<u64>,
}

/// The events. Clones share everything.
#[derive(Debug, Clone)]
pub struct Events(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kept: Mutex<Kept>,
    counts: Vec<Counter>,
    /// The number of the last event.
    latest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    next: u64,
    file: Option<PathBuf>,
    n_lines: usize,
    has_warned: bool,
}

impl Events {
    /// Events that end with the process.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Kept { next: 1, ..Kept::default() })
    }

    /// Events that are kept in a file of this folder. What it holds that is no event is passed over; where it cannot be
    /// written, events end with the process, and one warning says so.
    #[must_use]
    pub fn kept_in(folder: &Path) -> Self {
        let file = folder.join("events.jsonl");
        let mut kept = Kept { next: 1, ..Kept::default() };
        for event in read(&file) {
            kept.next = kept.next.max(event.id.saturating_add(1));
            kept.push(event);
        }
        // The first event writes the file anew.
        kept.n_lines = MAX_LINES;
        kept.file = Some(file);
        Self::with(kept)
    }

    fn with(kept: Kept) -> Self {
        let latest = watch::Sender::new(kept.next.saturating_sub(1));
        let counts = EventKind::ALL.iter().map(|_| Counter::default()).collect();
        Self(Arc::new(Inner { kept: Mutex::new(kept), counts, latest }))
    }

    // A std mutex: held for a line of a small file at most, by threads that load models.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event. Writes a line of a file.
    pub fn add(&self, kind: EventKind, subject: Subject<'_>, message: impl Into<String>) {
        if let Some(counter) = self.0.counts.get(kind as usize) {
            counter.add(1);
        }
        let mut message: String = message.into();
        if message.len() > MAX_TEXT {
            message.truncate(message.floor_char_boundary(MAX_TEXT));
            message.push('…');
        }
        let mut kept = self.lock();
        let event = Event {
            id: kept.next,
            time: now(),
            kind,
            model: subject.model.map(str::to_owned),
            version: subject.version.map(|version| version.to_string()),
            message,
        };
        kept.next += 1;
        kept.push(event);
        kept.write();
        let id = kept.next - 1;
        drop(kept);
        self.0.latest.send_replace(id);
    }

    /// Those after this number, oldest first; 0 gives all that are kept.
    #[must_use]
    pub fn since(&self, id: u64) -> Vec<Event> {
        self.lock().events.iter().filter(|event| event.id > id).cloned().collect()
    }

    /// Changes with every event: the number of the last one.
    #[must_use]
    pub fn latest(&self) -> watch::Receiver<u64> {
        self.0.latest.subscribe()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Collect for Events {
    fn collect(&self, samples: &mut Samples) {
        for (kind, counter) in EventKind::ALL.iter().zip(&self.0.counts) {
            samples.number(&families::EVENTS, &[kind.as_str()], counter.get() as f64);
        }
    }
}

impl Kept {
    fn push(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            let n_of = |kind| self.events.iter().filter(|it| it.kind == kind).count();
            let most = EventKind::ALL.iter().copied().max_by_key(|kind| n_of(*kind));
            let oldest = self.events.iter().position(|it| Some(it.kind) == most);
            self.events.remove(oldest.unwrap_or_default());
        }
        self.events.push_back(event);
    }

    /// Writes the last event down, or all, when the file has grown too long.
    fn write(&mut self) {
        let Some(file) = &self.file else { return };
        let written = if self.n_lines >= MAX_LINES {
            rewrite(file, &self.events).map(|()| self.n_lines = self.events.len())
        } else {
            append(file, self.events.back()).map(|()| self.n_lines += 1)
        };
        if written.is_err() {
            // Half a line may stand there: the next one writes the file anew.
            self.n_lines = MAX_LINES;
        }
        if let Err(error) = written
            && !std::mem::replace(&mut self.has_warned, true)
        {
            let file = file.display();
            tracing::warn!(%file, %error, "events cannot be kept over a restart");
        }
    }
}

/// Milliseconds are written and read again without a difference.
fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_secs_f64() * 1000.0).round() / 1000.0
}

fn line(event: &Event) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    Ok(line)
}

fn append(file: &Path, event: Option<&Event>) -> io::Result<()> {
    let Some(event) = event else { return Ok(()) };
    options().append(true).open(file)?.write_all(&line(event)?)
}

/// A whole file or the old one.
fn rewrite(file: &Path, events: &VecDeque<Event>) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = file.with_extension(format!("{}.tmp", std::process::id()));
    let text = events.iter().map(line).collect::<io::Result<Vec<_>>>()?.concat();
    let written = options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&draft)
        .and_then(|mut file| file.write_all(&text));
    written.and_then(|()| fs::rename(&draft, file)).inspect_err(|_| {
        // The first error is the one to report.
        let _ = fs::remove_file(&draft);
    })
}

/// Links are not followed: others may be able to write the folder.
fn options() -> fs::OpenOptions {
    let mut options = File::options();
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// The events of a file. A half line, which a crash may have left, is no event.
fn read(file: &Path) -> Vec<Event> {
    let Ok(opened) = options().read(true).open(file) else { return Vec::new() };
    if !opened.metadata().is_ok_and(|it| it.is_file()) {
        return Vec::new();
    }
    let lines = BufReader::new(opened.take(MAX_FILE_BYTES)).split(b'\n');
    let events = lines.map_while(Result::ok).filter_map(|line| serde_json::from_slice(&line).ok());
    // No server has told of so many.
    events.filter(|event: &Event| event.id < u64::MAX / 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_pushes_out_no_other() {
        let events = Events::new();
        events.add(EventKind::ServerStarted, Subject::default(), "first");
        for n in 0..2 * MAX_EVENTS {
            events.add(EventKind::CaptureProblem, Subject::default(), n.to_string());
        }
        let kept = events.since(0);
        assert_eq!((kept.len(), kept[0].kind), (MAX_EVENTS, EventKind::ServerStarted));
        assert_eq!(kept[MAX_EVENTS - 1].message, (2 * MAX_EVENTS - 1).to_string());
    }

    fn add(events: &Events, n: usize) {
        for idx in 0..n {
            let subject = Subject { model: Some("m"), version: Some(idx as u64) };
            events.add(EventKind::VersionReady, subject, "is ready");
        }
    }

    #[test]
    fn the_last_thousand_are_kept_over_restarts_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let events = Events::kept_in(folder.path());
        add(&events, MAX_LINES + 10);
        assert_eq!(events.since(0).len(), MAX_EVENTS);
        let again = Events::kept_in(folder.path());
        assert_eq!(again.since(0), events.since(0));
        add(&again, 1);
        assert_eq!(again.since(0).last().unwrap().id, MAX_LINES as u64 + 11);
        let text = fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
        assert!(text.lines().count() <= MAX_LINES, "the file must not grow without bound");
    }

    #[test]
    fn half_lines_and_foreign_ones_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        add(&Events::kept_in(folder.path()), 2);
        let file = folder.path().join("events.jsonl");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("nonsense\n{}", &text[..text.len() - 4])).unwrap();
        let events = Events::kept_in(folder.path());
        assert_eq!(events.since(0).len(), 1);
    }

    #[test]
    fn where_nothing_can_be_written_events_are_there_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("file");
        fs::write(&in_the_way, "").unwrap();
        let events = Events::kept_in(&in_the_way);
        let latest = events.latest();
        add(&events, 3);
        assert_eq!(events.since(1).len(), 2);
        assert_eq!(*latest.borrow(), 3, "whoever follows must be told");
    }
}
