//! Ranges of what both the server's configuration and model.toml set, so that the two agree.

use crate::settings::ByteSize;
use crate::settings::unit::DAY;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Instances of a model.
pub const INSTANCES: RangeInclusive<usize> = 1..=1024;
/// Threads that one operator of one instance may use.
pub const INTRA_OP_THREADS: RangeInclusive<usize> = 1..=1024;
/// Rows that share a run.
pub const BATCH_SIZE: RangeInclusive<usize> = 1..=65_536;
/// Time that an idle instance waits for more rows.
pub const QUEUE_DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);
/// Requests that wait.
pub const QUEUE_CAPACITY: RangeInclusive<usize> = 1..=1_000_000;
/// Rows of one request.
pub const ROWS: RangeInclusive<usize> = 1..=1_000_000;
/// Bytes of one body.
pub const BODY_BYTES: RangeInclusive<ByteSize> = ByteSize(1)..=ByteSize(1 << 40);
/// Time for an answer.
pub const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
/// Requests that a version must have answered before a rule of its roll-out speaks.
pub const ROLLOUT_REQUESTS: RangeInclusive<usize> = 10..=1_000_000;
/// Evaluations of a roll-out that must come to the same.
pub const ROLLOUT_HYSTERESIS: RangeInclusive<usize> = 1..=60;
