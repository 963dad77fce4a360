//! The loops: rows a second of a combination, the search for the best one, the time of one row.

use std::hint::black_box;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};
use torch_shim::{IValue, Module};

use crate::Error;
use crate::forms::Form;
use crate::inputs::Inputs;

const METHOD: &str = "forward";
/// Calls before a measurement: the executor profiles the first and rewrites before the second.
const WARM_UP: usize = 3;
/// Sizes tried after the best one before the search stops going up.
const PATIENCE: usize = 2;

/// How a model is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) form: Form,
    pub(crate) batch: usize,
    pub(crate) threads: usize,
    pub(crate) intra_op: usize,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    setting: Setting,
    pub(crate) rows_per_second: f64,
    calls: usize,
    call_ms: f64,
}

impl Rate {
    pub(crate) fn line(&self) -> Json {
        json!({
            "what": "rate",
            "form": self.setting.form.name(),
            "batch": self.setting.batch,
            "threads": self.setting.threads,
            "intra_op": self.setting.intra_op,
            "rows_per_second": (self.rows_per_second * 100.0).round() / 100.0,
            "call_ms": (self.call_ms * 1e4).round() / 1e4,
            "calls": self.calls,
        })
    }
}

/// Rows a second: every thread takes batches in turn for so many seconds, two calls at least.
pub(crate) fn rate(
    module: &Module,
    inputs: &Inputs,
    setting: Setting,
    seconds: f64,
) -> Result<Rate, Error> {
    let length = Duration::from_secs_f64(seconds);
    on_threads(setting, &|first, barrier| {
        let batches = tensors(inputs, &inputs.batches(setting.batch))?;
        for (_, batch) in batches.iter().cycle().skip(first).take(WARM_UP) {
            black_box(module.run(METHOD, batch)?);
        }
        barrier.wait();
        let began = Instant::now();
        let (mut n_rows, mut calls) = (0, 0);
        for (rows, batch) in batches.iter().cycle().skip(first) {
            black_box(module.run(METHOD, batch)?);
            n_rows += rows;
            calls += 1;
            if calls >= 2 && began.elapsed() >= length {
                break;
            }
        }
        Ok((n_rows, calls, began.elapsed()))
    })
}

/// The same over the whole stream of rows, put together by equal length beforehand. Threads take batches off one list
/// until it is empty, again and again until the time is up: a part of the stream would have other lengths than the
/// whole.
pub(crate) fn lengths(
    module: &Module,
    inputs: &Inputs,
    setting: Setting,
    seconds: f64,
) -> Result<Rate, Error> {
    let groups = inputs.groups();
    let chunks = groups.iter().flat_map(|rows| rows.chunks(setting.batch));
    let plan: Vec<Vec<usize>> = chunks.map(<[usize]>::to_vec).collect();
    let length = Duration::from_secs_f64(seconds);
    let next = AtomicUsize::new(0);
    let end = AtomicUsize::new(usize::MAX);
    on_threads(setting, &|first, barrier| {
        let batches = tensors(inputs, &plan)?;
        // Every shape is warm before the clock runs; oneDNN's cache is shared by the threads.
        for (_, batch) in batches.iter().skip(first).step_by(setting.threads) {
            black_box(module.run(METHOD, batch)?);
        }
        barrier.wait();
        let began = Instant::now();
        let (mut n_rows, mut calls) = (0, 0);
        loop {
            let k = next.fetch_add(1, Ordering::Relaxed);
            if k >= end.load(Ordering::Relaxed) {
                break;
            }
            let (rows, batch) = &batches[k % batches.len()];
            black_box(module.run(METHOD, batch)?);
            n_rows += rows;
            calls += 1;
            if began.elapsed() >= length {
                let pass = k / batches.len() + 1;
                end.fetch_min(pass * batches.len(), Ordering::Relaxed);
            }
        }
        Ok((n_rows, calls, began.elapsed()))
    })
}

/// Tensors belong to one thread, so each makes its own; how many rows each batch has stands beside it.
fn tensors(inputs: &Inputs, plan: &[Vec<usize>]) -> Result<Vec<(usize, Vec<IValue>)>, Error> {
    plan.iter().map(|rows| Ok((rows.len(), inputs.batch(rows)?))).collect()
}

type Ran = Result<(usize, usize, Duration), Error>;

/// Runs the same on every thread, and adds up.
fn on_threads(
    setting: Setting,
    run: &(dyn Fn(usize, &Barrier) -> Ran + Sync),
) -> Result<Rate, Error> {
    let barrier = Barrier::new(setting.threads);
    let outcomes: Vec<Result<_, String>> = thread::scope(|scope| {
        let handles: Vec<_> = (0..setting.threads)
            .map(|first| {
                let barrier = &barrier;
                scope.spawn(move || {
                    torch_shim::set_intra_op_threads(setting.intra_op)
                        .map_err(Error::from)
                        .and_then(|()| run(first, barrier))
                        // An error would leave the others at the barrier: the whole program ends with it.
                        .unwrap_or_else(|error| fail(&error))
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().map_err(|_| "a thread panicked".to_owned()))
            .collect()
    });
    let (mut rows_per_second, mut calls, mut busy) = (0.0, 0, 0.0);
    for outcome in outcomes {
        let (n_rows, n_calls, took) = outcome?;
        rows_per_second += n_rows as f64 / took.as_secs_f64();
        calls += n_calls;
        busy += took.as_secs_f64();
    }
    Ok(Rate { setting, rows_per_second, calls, call_ms: busy * 1e3 / calls as f64 })
}

#[expect(clippy::print_stderr, reason = "the one line that says why it ended")]
fn fail(error: &Error) -> ! {
    eprintln!("library: {error}");
    std::process::exit(1)
}

/// How far the search for the best combination goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search {
    /// Of each combination.
    pub(crate) seconds: f64,
    pub(crate) max_batch: usize,
    /// Seconds after which what has not been tried is left out.
    pub(crate) budget: f64,
}

/// Goes up through the batch sizes of every form and both ways to use the cores, and stops where more rows no longer
/// help. Returns also what there was no time for.
pub(crate) fn screen(
    path: &Path,
    inputs: &Inputs,
    search: &Search,
    print: impl Fn(&Json),
) -> Result<(Vec<Rate>, Vec<String>), Error> {
    let cores = thread::available_parallelism()?.get();
    let mut ways = vec![(cores, 1)];
    if cores > 1 {
        ways.push((1, cores));
    }
    let began = Instant::now();
    let modules = Form::ALL.map(|form| form.load(path).map(|module| (form, module)));
    let modules = modules.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (mut results, mut left_out) = (Vec::new(), Vec::new());
    for (threads, intra_op) in ways {
        for (form, module) in &modules {
            let (mut best, mut since_best) = (0.0, 0);
            let sizes = std::iter::successors(Some(1), |size| Some(size * 2));
            for batch in sizes.take_while(|size| *size <= search.max_batch) {
                if began.elapsed().as_secs_f64() > search.budget {
                    let name = form.name();
                    left_out.push(format!("{name}, {threads} x {intra_op}, batch {batch} and up"));
                    break;
                }
                let setting = Setting { form: *form, batch, threads, intra_op };
                let result = rate(module, inputs, setting, search.seconds)?;
                print(&result.line());
                since_best += 1;
                if result.rows_per_second > best {
                    (best, since_best) = (result.rows_per_second, 0);
                }
                // A call of seconds with fewer rows a second has nothing to say about still larger ones.
                let patience = if result.call_ms > 1e3 { 0 } else { PATIENCE };
                results.push(result);
                if since_best > patience {
                    break;
                }
            }
        }
    }
    Ok((results, left_out))
}

/// The time of a call with one row, form after form in slices, so that a drift of the machine hits all; the fastest
/// first.
pub(crate) fn forward(
    path: &Path,
    inputs: &Inputs,
    forms: &[Form],
    seconds: f64,
) -> Result<Vec<Json>, Error> {
    const SLICES: u32 = 5;
    torch_shim::set_intra_op_threads(1)?;
    let batches = (0..inputs.rows().min(64))
        .map(|row| inputs.batch(&[row]))
        .collect::<Result<Vec<_>, _>>()?;
    let mut measured = Vec::new();
    for form in forms {
        let module = form.load(path)?;
        for batch in batches.iter().cycle().take(WARM_UP.max(batches.len().min(8))) {
            black_box(module.run(METHOD, batch)?);
        }
        let histogram = Histogram::<u32>::new_with_bounds(100, 600_000_000_000, 3)?;
        measured.push((*form, module, histogram));
    }
    let slice = Duration::from_secs_f64(seconds) / (SLICES * u32::try_from(forms.len())?);
    for _ in 0..SLICES {
        for (_, module, histogram) in &mut measured {
            let began = Instant::now();
            for batch in batches.iter().cycle() {
                let called = Instant::now();
                black_box(module.run(METHOD, batch)?);
                let took = u64::try_from(called.elapsed().as_nanos())?;
                histogram.saturating_record(took);
                if began.elapsed() >= slice {
                    break;
                }
            }
        }
    }
    measured.sort_by_key(|(_, _, histogram)| histogram.value_at_quantile(0.5));
    Ok(measured.iter().map(|(form, _, histogram)| forward_line(*form, histogram)).collect())
}

fn forward_line(form: Form, histogram: &Histogram<u32>) -> Json {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    let buckets: Vec<_> = histogram
        .iter_recorded()
        .map(|v| json!([v.value_iterated_to() as f64 / 1e3, v.count_at_value()]))
        .collect();
    json!({
        "what": "forward",
        "form": form.name(),
        "latency_us": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "count": histogram.len()},
        "histogram_us": buckets,
    })
}
