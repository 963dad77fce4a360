//! Processor time of the running thread.
//!
//! On a machine where others work too, wall time measures them; this clock stands still while the
//! thread does not run. What it cannot take out is a neighbor on the same core's caches and clock.

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// How long this thread has computed.
pub(crate) fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).expect("the clock starts at zero");
    let nanoseconds = u32::try_from(now.tv_nsec).expect("a part of a second");
    Duration::new(seconds, nanoseconds)
}

/// Criterion's measurement by [`processor_time`], written as it writes wall time.
pub(crate) struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        processor_time()
    }

    fn end(&self, started: Duration) -> Duration {
        processor_time() - started
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
