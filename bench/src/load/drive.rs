//! The two loops, on one epoll.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags};
use rustix::event::{Timespec, epoll::Event};
use rustix::fd::OwnedFd;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::Error;
use crate::connection::{Connection, Pending, Progress};
use crate::requests::Requests;
use crate::tally::{Arrival, Tally};

/// Connections that may fail one after another before the run is given up.
const MAX_FAILURES: u64 = 1_000;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) warmup: Duration,
    pub(crate) length: Duration,
    pub(crate) timeout: Duration,
    /// Requests a second of the open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) requests: u64,
}

pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    window: (u64, u64),
    seconds: f64,
    unsent: u64,
    cpu_seconds: f64,
    mean_body_bytes: u64,
}

impl Outcome {
    pub(crate) fn line(&self, plan: &Plan, with_buckets: bool) -> Value {
        let plain_rate = self.tally.in_window as f64 / self.seconds;
        let rate = self.tally.weighted_rate(self.window).unwrap_or(plain_rate);
        let mut line = json!({
            "mode": if plan.rate.is_some() { "open" } else { "closed" },
            "connections": plan.connections,
            "offered": plan.rate,
            "seconds": (self.seconds * 1e4).round() / 1e4,
            "answered": self.tally.answered,
            "all_answered": self.tally.all_answered,
            "rate": (rate * 100.0).round() / 100.0,
            "unsent": self.unsent,
            "generator_cpu_seconds": (self.cpu_seconds * 1e4).round() / 1e4,
            "mean_body_bytes": self.mean_body_bytes,
        });
        if let (Some(line), Value::Object(summary)) =
            (line.as_object_mut(), self.tally.summary(with_buckets))
        {
            line.extend(summary);
        }
        line
    }
}

struct Loop<'a> {
    plan: &'a Plan,
    requests: &'a Requests,
    tally: Tally,
    poll: OwnedFd,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    epoch: Instant,
    /// Requests begun, those of the warm-up among them.
    begun: u64,
    in_flight: usize,
    failures: u64,
    /// Begin and end of the measured part.
    window: (u64, u64),
}

pub(crate) fn drive(plan: &Plan, requests: &Requests, tally: Tally) -> Result<Outcome, Error> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(plan.connections);
    for key in 0..plan.connections {
        let connection = Connection::open(plan.target, key as u64, &poll)
            .map_err(|error| format!("connecting to {}: {error}", plan.target))?;
        connections.push(connection);
    }
    let warmup = nanoseconds(plan.warmup);
    let mut state = Loop {
        plan,
        requests,
        tally,
        poll,
        idle: (0..plan.connections).rev().collect(),
        connections,
        epoch: Instant::now(),
        begun: 0,
        in_flight: 0,
        failures: 0,
        window: (warmup, warmup.saturating_add(nanoseconds(plan.length))),
    };
    let cpu = cpu_seconds();
    let unsent = state.run()?;
    let (begin, end) = state.window;
    Ok(Outcome {
        tally: state.tally,
        window: state.window,
        seconds: (end - begin) as f64 / 1e9,
        unsent,
        cpu_seconds: cpu_seconds() - cpu,
        mean_body_bytes: requests.mean_body_bytes(),
    })
}

impl Loop<'_> {
    fn now(&self) -> u64 {
        nanoseconds(self.epoch.elapsed())
    }

    /// Returns how many requests were due and never sent.
    fn run(&mut self) -> Result<u64, Error> {
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        let give_up = self.window.1.saturating_add(nanoseconds(self.plan.timeout));
        loop {
            let now = self.now();
            let next = self.begin_due(now)?;
            if next.is_none() && self.in_flight == 0 {
                return Ok(0);
            }
            if now >= give_up {
                return Ok(self.abandon(now));
            }
            // With requests due and no connection free, only an answer can bring us on.
            let until = next.unwrap_or(give_up).min(give_up);
            let wait = timespec(until.saturating_sub(now));
            events.clear();
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&wait))
            {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.event(event.data.u64() as usize)?;
            }
        }
    }

    /// When request `k` is due, if there is such a request.
    fn due(&self, k: u64) -> Option<u64> {
        let rate = self.plan.rate?;
        let at = (k as f64 / rate * 1e9) as u64;
        (at < self.window.1).then_some(at)
    }

    /// Begins what can be begun; says when there is more to begin, and nothing when all was.
    fn begin_due(&mut self, now: u64) -> Result<Option<u64>, Error> {
        loop {
            if self.begun >= self.plan.requests {
                // The window of a counted number of requests ends with them.
                if self.in_flight == 0 {
                    self.window.1 = self.window.1.min(now.max(self.window.0 + 1));
                }
                return Ok(None);
            }
            let due = match self.plan.rate {
                Some(_) => match self.due(self.begun) {
                    Some(due) if due <= now && self.idle.is_empty() => return Ok(Some(u64::MAX)),
                    Some(due) if due > now => return Ok(Some(due)),
                    Some(due) => due,
                    None => return Ok(None),
                },
                None if now >= self.window.1 => return Ok(None),
                // In the closed loop answers bring the next; the end must not be slept through.
                None if self.idle.is_empty() => return Ok(Some(self.window.1)),
                None => self.now(),
            };
            let Some(key) = self.idle.pop() else { return Ok(Some(u64::MAX)) };
            self.begin(key, due)?;
        }
    }

    fn begin(&mut self, key: usize, due: u64) -> Result<(), Error> {
        let body = (self.begun % self.requests.len() as u64) as usize;
        self.begun += 1;
        self.in_flight += 1;
        let pending = Pending { body, due, counted: due >= self.window.0 };
        let sent = self.connections[key].send(pending, self.requests.get(body), &self.poll);
        sent.or_else(|error| self.failed(key, &error))
    }

    fn event(&mut self, key: usize) -> Result<(), Error> {
        let connection = &mut self.connections[key];
        let Some(pending) = connection.pending else {
            // Nothing was asked for: the server closes an idle connection, which is its right.
            return self.reconnect(key);
        };
        match connection.advance(self.requests.get(pending.body), &self.poll) {
            Ok(Progress::Waiting) => Ok(()),
            Ok(Progress::Answered(answer)) => {
                connection.pending = None;
                let now = nanoseconds(self.epoch.elapsed());
                let in_window = now >= self.window.0 && now < self.window.1;
                let received = connection.received();
                self.tally.answer(pending, &answer, received, Arrival { at: now, in_window })?;
                self.in_flight -= 1;
                self.idle.push(key);
                if answer.closes { self.reconnect(key) } else { Ok(()) }
            }
            Err(error) => self.failed(key, &error),
        }
    }

    /// A request that ended without an answer.
    fn failed(&mut self, key: usize, error: &io::Error) -> Result<(), Error> {
        self.tally.error(&format!("connection: {error}"));
        self.failures += 1;
        if self.failures > MAX_FAILURES {
            return Err(format!("more than {MAX_FAILURES} connections failed: {error}").into());
        }
        self.connections[key].pending = None;
        self.in_flight -= 1;
        self.idle.push(key);
        self.reconnect(key)
    }

    fn reconnect(&mut self, key: usize) -> Result<(), Error> {
        self.connections[key] = Connection::open(self.plan.target, key as u64, &self.poll)
            .map_err(|error| format!("connecting again to {}: {error}", self.plan.target))?;
        Ok(())
    }

    /// The time is up: what was due and is not answered counts as an error and with the time it has waited.
    fn abandon(&mut self, now: u64) -> u64 {
        for connection in &self.connections {
            if let Some(pending) = connection.pending {
                self.tally.error("no answer in time");
                if pending.counted {
                    self.tally.unanswered(pending.due, now);
                }
            }
        }
        let mut unsent = 0;
        while let Some(due) = self.due(self.begun).filter(|_| self.begun < self.plan.requests) {
            self.begun += 1;
            unsent += 1;
            self.tally.unanswered(due, now);
        }
        unsent
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn timespec(nanoseconds: u64) -> Timespec {
    let seconds = nanoseconds / 1_000_000_000;
    Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(nanoseconds % 1_000_000_000).unwrap_or(0),
    }
}

/// Processor time of this process.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
