//! Requests and their answers kept in files: a sample of them, to be looked at, exported and replayed.
//!
//! | file | is about |
//! |---|---|
//! | `observer` | at the door: which requests are kept, and what is copied of them |
//! | `counts` | what became of them |
//! | `held` | how many bytes wait to be written |
//! | `record` | one request as it is copied, and as a line of JSON |
//! | `line` | such a line, read back |
//! | `files` | the folder: files that turn, its bounds, a disk without room |
//! | `writer` | the thread between the two |
//! | `sink` | who is sent them as they come, by HTTP |
//! | `event` | lines as CloudEvents |
//! | `export` | lines as other programs write them |
//! | `replay` | what another version answers to them |
//!
//! Nothing on the path of a request waits: what finds no room is dropped and counted. What a request says is somebody's, so
//! files are for their owner alone, and inputs that are named stay out of them.

#[cfg(not(feature = "sending"))]
mod absent;
mod counts;
mod event;
mod export;
mod files;
mod held;
mod line;
mod observer;
mod record;
mod replay;
#[cfg(feature = "sending")]
mod sink;
mod writer;

#[cfg(test)]
mod tests;

pub use counts::RecordOutcome;
pub use export::{ExportFormat, Exported};
pub use files::FileOptions;
pub use line::{Lines, ReadError};
pub use observer::{Capture, CaptureOptions};
pub use record::Redaction;
pub use replay::{Named, Replay, Replayed};
