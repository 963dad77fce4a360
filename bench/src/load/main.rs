//! The load generator: one thread, one epoll, requests prepared beforehand; prints one line of JSON.
//!
//! Closed loop: every connection sends its next request when the answer to the last has come. Open
//! loop (`--rate`): requests are due at a constant rate, whatever the server does, and their latency
//! counts from the time when they were due, so that a server that stalls is charged for those that
//! had to wait. What a request means is not known here.

mod answer;
mod connection;
mod drive;
mod requests;
mod tally;

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

type Error = Box<dyn std::error::Error>;

/// Sends prepared requests over HTTP/1.1 and measures the answers.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Arguments {
    /// Address of the server.
    #[arg(long)]
    target: SocketAddr,
    /// Path of the requests.
    #[arg(long)]
    path: String,
    /// Files that are sent as bodies in turn: a folder (by name) or a file.
    #[arg(long)]
    bodies: PathBuf,
    #[arg(long, default_value = "application/json")]
    content_type: String,
    /// One more line of the head, such as `Name: value`.
    #[arg(long)]
    header: Option<String>,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Length of the measurement in seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Seconds before it that are not counted.
    #[arg(long, default_value_t = 0.0)]
    warmup: f64,
    /// Requests a second for the open loop; without it the loop is closed.
    #[arg(long)]
    rate: Option<f64>,
    /// Stop after so many requests, or after `--seconds`, whichever is first.
    #[arg(long, default_value_t = u64::MAX)]
    requests: u64,
    /// Status that counts as right.
    #[arg(long, default_value_t = 200)]
    expect: u16,
    /// Seconds to wait for an answer before it counts as an error.
    #[arg(long, default_value_t = 30.0)]
    timeout: f64,
    /// Folder that the first answer to each body is written to.
    #[arg(long)]
    save: Option<PathBuf>,
    /// File that each request's body and latency are written to, in the order of the answers.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Print the whole histogram too, as pairs of microseconds and counts.
    #[arg(long)]
    histogram: bool,
    /// Read the phases that the server reports in `Server-Timing`.
    #[arg(long)]
    server_timing: bool,
}

impl Arguments {
    fn plan(&self) -> Result<drive::Plan, Error> {
        let seconds = |name: &str, value: f64| {
            Duration::try_from_secs_f64(value)
                .map_err(|_| format!("--{name}: expected seconds, got {value}"))
        };
        if self.connections == 0 || self.connections > 4096 {
            return Err("--connections: expected 1 to 4096".into());
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e7)) {
            return Err(
                "--rate: expected requests a second, more than 0, at most 10,000,000".into()
            );
        }
        Ok(drive::Plan {
            target: self.target,
            connections: self.connections,
            warmup: seconds("warmup", self.warmup)?,
            length: seconds("seconds", self.seconds)?,
            timeout: seconds("timeout", self.timeout)?,
            rate: self.rate,
            requests: self.requests,
        })
    }
}

fn run(arguments: &Arguments) -> Result<String, Error> {
    // A wait may otherwise end 50 µs late, which the open loop would count as latency.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let plan = arguments.plan()?;
    let further = arguments.header.iter().map(|line| format!("{line}\r\n"));
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: {}\r\n{}",
        arguments.path,
        arguments.target,
        arguments.content_type,
        further.collect::<String>(),
    );
    let requests = requests::Requests::read(&arguments.bodies, &head)?;
    let tally = tally::Tally::new(tally::Wanted {
        status: arguments.expect,
        bodies: requests.len(),
        save: arguments.save.is_some(),
        server_timing: arguments.server_timing,
    })?;
    let outcome = drive::drive(&plan, &requests, tally)?;
    if let Some(folder) = &arguments.save {
        outcome.tally.write_answers(folder, &requests)?;
    }
    if let Some(file) = &arguments.trace {
        outcome.tally.write_trace(file)?;
    }
    Ok(outcome.line(&plan, arguments.histogram).to_string())
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its result")]
fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
