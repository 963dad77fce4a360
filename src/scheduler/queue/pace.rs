//! How fast a version's queue is served, and what that means for a request that comes now.
//!
//! What is measured is the whole of an instance's turn: from finding something to run, over waiting for leave to
//! compute, to the last answer. So other models, busy cores and repeated runs count as what they are to those who
//! wait. Medians of the last few, by the size of the run: one run that hangs tells nothing about the next.

use super::forecast::Forecast;
use super::load::{Load, SIZES, size};
use super::recent::Recent;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A wait that is always allowed unless somebody sets another bound: nobody notices less, and bursts of a fast model
/// shall not be refused.
const SHORT: Duration = Duration::from_millis(100);
/// How many turns a request may wait for by itself. With fewer, an instance finds less than a full batch now and then;
/// each one more adds its whole length to every answer under overload.
const TURNS: u64 = 2;
/// What is borne by a queue that has not been found overloaded lately: this long, or so many turns. Callers that each wait for
/// their answer make a queue of their number and no longer one; only more than can be served make it as long as this.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENT_TURNS: u64 = 5;
/// How long a queue counts as overloaded since it was found so. Each time that it is found out costs those a long wait who
/// come meanwhile: they are to stay below one in a hundred.
pub(super) const OVERLOADED_FOR: Duration = Duration::from_secs(300);

/// After how long without a run all that was measured of runs is forgotten but the warm-up, and the queue counts as overloaded no
/// more: what comes then may be of another kind, and an overload leaves no such gap.
const CALM: Duration = Duration::from_secs(5);

/// How many requests like it may always be ahead of one: arrivals cluster, and where runs take one or a few requests two
/// turns would refuse at loads that are borne well.
const COMPANY: u64 = 20;

/// What an instance takes for its turns, and how many are under way.
#[derive(Debug)]
pub(in crate::scheduler) struct Pace {
    born: Instant,
    /// When the last turn ended, in nanoseconds since then; 0 where none has, or what it told is forgotten.
    ended: AtomicU64,
    /// Nanoseconds of a turn, by the size of its run.
    turns: [Recent; SIZES],
    under_way: [AtomicUsize; SIZES],
    /// When the last turn began, in nanoseconds since then. While all instances are in a turn, that is one of these.
    began: AtomicU64,
    /// When that one is given up at the latest.
    ends: AtomicU64,
    /// Rows of a run that left others waiting.
    full: Recent,
}

/// A turn that has begun.
#[derive(Debug)]
#[must_use]
pub(in crate::scheduler) struct Turn<'a> {
    pace: &'a Pace,
    size: usize,
    since: Instant,
}

impl Turn<'_> {
    /// Everybody has an answer.
    pub(in crate::scheduler) fn end(self) {
        // Asked once: clocks are not cheap on every machine.
        let now = Instant::now();
        self.pace.took(self.size, now.saturating_duration_since(self.since));
        let ended = nanos(now.saturating_duration_since(self.pace.born));
        self.pace.ended.store(ended.max(1), Ordering::Relaxed);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.pace.under_way[self.size].fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) n_rows: usize,
    /// Most rows of a batch.
    pub(super) max_batch_size: usize,
    /// Threads that take turns.
    pub(super) instances: usize,
    /// Those of them that sleep, for certain.
    pub(super) asleep: usize,
}

impl Default for Pace {
    fn default() -> Self {
        let (ended, turns, under_way, began, ends, full) = Default::default();
        Self { born: Instant::now(), ended, turns, under_way, began, ends, full }
    }
}

impl Pace {
    /// Forgets what is too old to go by at `now`; says whether anything was.
    pub(super) fn forget_if_calm(&self, now: Instant) -> bool {
        let ended = self.ended.load(Ordering::Relaxed);
        let since = now.saturating_duration_since(self.born + Duration::from_nanos(ended));
        let is_running = || self.under_way.iter().any(|it| it.load(Ordering::Relaxed) > 0);
        if ended == 0 || since < CALM || is_running() {
            return false;
        }
        self.ended.store(0, Ordering::Relaxed);
        self.turns.iter().for_each(Recent::forget);
        true
    }

    /// An instance has taken this many rows; `since` it found them waiting, and `until` then their run may go on.
    pub(super) fn begin(&self, n_rows: usize, since: Instant, until: Instant) -> Turn<'_> {
        let size = size(n_rows);
        self.under_way[size].fetch_add(1, Ordering::Relaxed);
        let place = |at: Instant| nanos(at.saturating_duration_since(self.born));
        self.began.fetch_max(place(since), Ordering::Relaxed);
        self.ends.store(place(until), Ordering::Relaxed);
        Turn { pace: self, size, since }
    }

    /// A batch of this many rows left others waiting.
    pub(super) fn was_full(&self, n_rows: usize) {
        self.full.add(n_rows as u64);
    }

    /// A run of this many rows took so long, outside of any turn.
    pub(in crate::scheduler) fn warmed_up(&self, n_rows: usize, took: Duration) {
        self.turns[size(n_rows)].add_for_good(nanos(took));
    }

    fn took(&self, size: usize, time: Duration) {
        self.turns[size].add(nanos(time));
    }

    /// What a request has to expect with this load ahead of it; `None` where it is run at once, or nothing is known.
    pub(super) fn forecast(&self, ahead: &Load, arrival: Arrival) -> Option<Forecast> {
        let Arrival { n_rows, max_batch_size, .. } = arrival;
        let instances = arrival.instances.max(1) as u64;
        let full_rows = self.full.get().unwrap_or(max_batch_size.max(1) as u64);
        let is_alone = n_rows >= max_batch_size;
        let full_turn = self.turn(size(full_rows as usize))?;
        let of_rows = |rows: usize| full_turn.saturating_mul(rows as u64) / full_rows;
        let own_turn = if is_alone { self.turn(size(n_rows))? } else { full_turn };
        let waiting = (0..SIZES).filter(|&size| ahead.alone[size] > 0);
        let mut longest = own_turn;
        let mut work = of_rows(ahead.shared_rows);
        for (turn, n_requests) in waiting.filter_map(|it| Some((self.turn(it)?, ahead.alone[it]))) {
            longest = longest.max(turn);
            work = work.saturating_add(turn.saturating_mul(n_requests as u64));
        }
        let mut n_running = 0;
        let mut left = 0u64;
        for (size, n_turns) in self.under_way.iter().enumerate() {
            let n_turns = n_turns.load(Ordering::Relaxed) as u64;
            if n_turns > 0 {
                n_running += n_turns;
                let turn = self.turn(size).unwrap_or_default();
                longest = longest.max(turn);
                // On average half of it is over.
                left = left.saturating_add(turn.saturating_mul(n_turns) / 2);
            }
        }
        let idle = instances.saturating_sub(n_running).max(arrival.asleep as u64);
        let at_once = full_turn.max(longest).saturating_mul(idle);
        let with_own = work.saturating_add(if is_alone { own_turn } else { of_rows(n_rows) });
        if idle > 0 && with_own <= at_once {
            return None;
        }
        let mut wait = (work.saturating_sub(at_once).saturating_add(left)) / instances;
        if idle == 0
            && let Some(beyond) = self.beyond(longest)
        {
            // Nothing says when it ends: what has gone on for so long may go on for as long again.
            wait = wait.max(beyond);
            longest = longest.max(beyond);
        }
        let own_share = if is_alone { own_turn } else { of_rows(n_rows) };
        let bearable = longest.saturating_mul(TURNS);
        let bearable = bearable.max(own_share.saturating_mul(COMPANY) / instances);
        let bearable = SHORT.max(Duration::from_nanos(bearable));
        let turns = Duration::from_nanos(longest.saturating_mul(PATIENT_TURNS));
        Some(Forecast {
            wait: Duration::from_nanos(wait),
            turn: Duration::from_nanos(own_turn),
            bearable,
            patient: bearable.max(PATIENCE).max(turns),
            next: Duration::from_nanos(longest / instances),
        })
    }

    /// How long even the turn that began last has gone on, where that is far more than a turn takes, but no longer than it can go
    /// on still.
    fn beyond(&self, turn: u64) -> Option<u64> {
        let now = nanos(self.born.elapsed());
        let gone_on = now.saturating_sub(self.began.load(Ordering::Relaxed));
        let left = self.ends.load(Ordering::Relaxed).saturating_sub(now);
        (gone_on > turn.saturating_mul(2).max(nanos(SHORT))).then_some(gone_on.min(left))
    }

    /// Nanoseconds of a turn with a run of this size; where there was none yet, what it takes at the least.
    fn turn(&self, size: usize) -> Option<u64> {
        let smaller = (0..=size).rev().find_map(|it| self.turns[it].get());
        let larger = || (size..SIZES).find_map(|it| Some(self.turns[it].get()? >> (it - size)));
        smaller.or_else(larger)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::recent::RECENT;
    use super::*;

    /// When runs are given up.
    fn late() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    const MS: Duration = Duration::from_millis(1);

    fn arrival(n_rows: usize) -> Arrival {
        Arrival { n_rows, max_batch_size: 8, instances: 2, asleep: 0 }
    }

    fn load(requests: &[usize]) -> Load {
        let mut load = Load::default();
        requests.iter().for_each(|&n_rows| load.add(n_rows, 8));
        load
    }

    /// A pace of two instances that are both in a run of eight rows, 50 ms each.
    fn busy() -> Pace {
        let pace = Pace::default();
        pace.warmed_up(8, 50 * MS);
        for _ in 0..2 {
            std::mem::forget(pace.begin(8, Instant::now(), late()));
        }
        pace
    }

    #[test]
    fn nothing_is_forecast_where_nothing_is_known_or_an_instance_is_idle() {
        let pace = Pace::default();
        assert_eq!(pace.forecast(&load(&[1; 100]), arrival(1)), None, "nothing is known");
        pace.warmed_up(8, 50 * MS);
        assert_eq!(pace.forecast(&load(&[1; 15]), arrival(1)), None, "two idle instances take 16");
        assert!(pace.forecast(&load(&[1; 16]), arrival(1)).is_some());
        let asleep = Arrival { asleep: 1, ..arrival(1) };
        assert_eq!(busy().forecast(&load(&[1; 7]), asleep), None, "a stuck turn is nobody's wait");
    }

    #[test]
    fn the_wait_is_what_waits_and_half_of_what_runs_over_all_instances() {
        let wait = |requests: &[usize], n_rows| {
            busy().forecast(&load(requests), arrival(n_rows)).unwrap().wait
        };
        assert_eq!(wait(&[], 1), 25 * MS);
        assert_eq!(wait(&[1; 16], 1), 75 * MS);
        assert_eq!(wait(&[4, 4, 1, 7], 8), 75 * MS, "by rows, however many requests they are");
        assert_eq!(wait(&[8, 8], 1), 75 * MS, "a batch by itself");
        let pace = busy();
        pace.warmed_up(64, 400 * MS);
        let forecast = pace.forecast(&load(&[64]), arrival(1)).unwrap();
        assert_eq!((forecast.wait, forecast.bearable), (225 * MS, 800 * MS), "two of the longest");
        pace.warmed_up(4, 50 * MS);
        for _ in 0..RECENT {
            pace.was_full(4);
        }
        assert_eq!(pace.forecast(&load(&[1; 16]), arrival(1)).unwrap().wait, 125 * MS);
    }

    #[test]
    fn one_slow_turn_is_not_believed_and_many_are() {
        let pace = busy();
        let turn = || pace.forecast(&load(&[]), arrival(1)).unwrap().turn;
        for _ in 0..RECENT {
            pace.warmed_up(8, 50 * MS);
        }
        for _ in 0..3 {
            pace.warmed_up(8, 5000 * MS);
        }
        assert_eq!(turn(), 50 * MS);
        pace.warmed_up(8, 5000 * MS);
        assert_eq!(turn(), 5000 * MS);
    }

    #[test]
    fn a_turn_that_goes_on_far_beyond_its_time_is_a_wait_of_unknown_length() {
        let second = 1000 * MS;
        let mut pace = busy();
        let idle = Arrival { instances: 3, ..arrival(1) };
        let wait = |pace: &Pace| pace.forecast(&load(&[]), arrival(1)).unwrap().wait;
        assert_eq!(wait(&pace), 25 * MS);
        pace.born -= 4 * second;
        let forecast = pace.forecast(&load(&[]), arrival(1)).unwrap();
        assert!(forecast.wait >= 4 * second && forecast.patient >= 20 * second, "{forecast:?}");
        assert!(forecast.refusal(forecast.patient, second).is_some(), "none comes in time");
        assert!(forecast.refusal(forecast.patient, 60 * second).is_none(), "who has time may wait");
        assert_eq!(pace.forecast(&load(&[]), idle), None, "another instance is idle");
        pace.ends.store(nanos(pace.born.elapsed()) + nanos(300 * MS), Ordering::Relaxed);
        assert!(wait(&pace) <= 300 * MS, "it is given up soon");
        // One ended, and the next has just begun in its place.
        std::mem::forget(pace.begin(8, Instant::now(), late()));
        pace.under_way[size(8)].fetch_sub(1, Ordering::Relaxed);
        assert_eq!(wait(&pace), 25 * MS);
    }

    #[test]
    fn what_was_measured_is_forgotten_when_nothing_ran_for_a_while() {
        let pace = Pace::default();
        pace.warmed_up(8, 50 * MS);
        let turn = || pace.turn(size(8)).map(Duration::from_nanos);
        let running = pace.begin(8, Instant::now(), late());
        pace.begin(1, Instant::now(), late()).end();
        for _ in 0..RECENT {
            pace.took(size(8), 5000 * MS);
            pace.took(size(1), 700 * MS);
        }
        let later = || Instant::now() + CALM;
        assert!(!pace.forget_if_calm(later()), "one runs still");
        drop(running);
        assert!(!pace.forget_if_calm(Instant::now()), "it has just ended");
        assert_eq!(turn(), Some(5000 * MS));
        assert!(pace.forget_if_calm(later()));
        assert_eq!(turn(), Some(50 * MS), "the warm-up stays");
        assert_eq!(pace.turns[size(1)].get(), None, "and nothing else");
        assert!(!pace.forget_if_calm(later()), "once");
        pace.took(size(8), 90 * MS);
        assert_eq!(turn(), Some(50 * MS), "of two the smaller");
    }

    #[test]
    fn more_may_wait_where_runs_take_few_requests() {
        let bearable = |max_batch_size, instances, n_rows| {
            let arrival = Arrival { n_rows, max_batch_size, instances, asleep: 0 };
            let pace = Pace::default();
            pace.warmed_up(max_batch_size, 100 * MS);
            for _ in 0..instances {
                std::mem::forget(pace.begin(max_batch_size, Instant::now(), late()));
            }
            pace.forecast(&Load::default(), arrival).unwrap().bearable
        };
        assert_eq!(bearable(16, 1, 1), 200 * MS, "two turns");
        assert_eq!(bearable(8, 1, 1), 250 * MS, "twenty requests of an eighth of a turn");
        assert_eq!(bearable(8, 1, 4), 1000 * MS);
        assert_eq!(bearable(1, 2, 1), 1000 * MS);
        let fast = Pace::default();
        fast.warmed_up(8, MS);
        std::mem::forget(fast.begin(8, Instant::now(), late()));
        std::mem::forget(fast.begin(8, Instant::now(), late()));
        assert_eq!(fast.forecast(&Load::default(), arrival(1)).unwrap().bearable, SHORT);
    }
}
