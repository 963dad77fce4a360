//! What a request costs before and after the model: decode, encode, batches, the queue, metrics.
//!
//! Needs no libtorch. `cargo bench --no-default-features --bench micro` runs all by criterion;
//! `-- ratios` prints one table beside serde_json and fast_float2 instead. Times are processor time
//! of the measuring thread, except where threads hand over to each other.

mod bodies;
mod clock;
mod protocol;
mod ratios;
mod scheduler;
mod telemetry;

use clock::ProcessorTime;
use criterion::Criterion;

fn main() {
    if std::env::args().any(|argument| argument == "ratios") {
        return ratios::print();
    }
    let mut busy = Criterion::default().with_measurement(ProcessorTime).configure_from_args();
    protocol::decoding(&mut busy);
    protocol::encoding(&mut busy);
    scheduler::batches(&mut busy);
    scheduler::policy(&mut busy);
    telemetry::record(&mut busy);
    busy.final_summary();
    let mut elapsed = Criterion::default().configure_from_args();
    scheduler::hop(&mut elapsed);
    elapsed.final_summary();
}
