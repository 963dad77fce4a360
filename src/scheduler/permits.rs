//! How many models may compute on the processor at once.
//!
//! Each run of a model on the CPU holds a permit, and there are as many as the container has cores:
//! more threads than cores slow each other down far more than they share. Models that wait are
//! served in turn, so that a busy one cannot starve its neighbours.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

#[derive(Debug)]
struct Turn {
    model: usize,
    tickets: VecDeque<Arc<Ticket>>,
}

#[derive(Debug, Default)]
struct Ticket {
    granted: Mutex<bool>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    total: usize,
    free: usize,
    next_model: usize,
    /// Models that wait, the next to be served in front.
    turns: VecDeque<Turn>,
}

/// A fixed number of permits, shared by all models on the CPU.
#[derive(Debug, Clone)]
pub struct Permits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// How many more may be held for runs that nobody waits for.
    quiet: Mutex<usize>,
    /// One of those was given back.
    quiet_again: Condvar,
}

/// One model's access to the permits.
#[derive(Debug, Clone)]
pub struct PermitSource {
    permits: Permits,
    model: usize,
    places: Arc<Semaphore>,
}

/// Leave to compute; given back on drop.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    permits: Permits,
    is_quiet: bool,
}

impl Permits {
    /// `n` permits; at least one, or nothing would ever run.
    #[must_use]
    pub fn new(n: usize) -> Self {
        let total = n.max(1);
        let state = State { total, free: total, next_model: 0, turns: VecDeque::new() };
        // One is left to requests, unless there is only one: then they take turns.
        let quiet = Mutex::new((total - 1).max(1));
        Self(Arc::new(Shared { state: Mutex::new(state), quiet, quiet_again: Condvar::new() }))
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.lock().total
    }

    /// Registers a model.
    #[must_use]
    pub fn source(&self) -> PermitSource {
        let mut state = self.lock();
        state.next_model += 1;
        let places = Arc::new(Semaphore::new(state.total));
        PermitSource { permits: self.clone(), model: state.next_model, places }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self) {
        let mut state = self.lock();
        let Some(mut turn) = state.turns.pop_front() else {
            state.free += 1;
            return;
        };
        // The permit passes straight to the next in turn: `free` stays as it is, so that nobody
        // who comes by in between can take it.
        let ticket = turn.tickets.pop_front();
        if !turn.tickets.is_empty() {
            state.turns.push_back(turn);
        }
        drop(state);
        if let Some(ticket) = ticket {
            *ticket.granted.lock().unwrap_or_else(PoisonError::into_inner) = true;
            ticket.changed.notify_one();
        }
    }
}

impl PermitSource {
    /// Places for the model's steps that take long. There are as many as permits: more threads would only wait for one, and
    /// what never ends takes none of another model's.
    #[must_use]
    pub fn places(&self) -> &Arc<Semaphore> {
        &self.places
    }

    /// A permit, if one is free.
    pub fn try_acquire(&self) -> Option<Permit> {
        let mut state = self.permits.lock();
        state.free = state.free.checked_sub(1)?;
        drop(state);
        Some(self.permit())
    }

    /// Whether a run that nobody waits for would leave one permit for whoever comes; where there is only one,
    /// whether it is free.
    pub fn has_spare(&self) -> bool {
        let state = self.permits.lock();
        state.free >= state.total.min(2)
    }

    fn permit(&self) -> Permit {
        Permit { permits: self.permits.clone(), is_quiet: false }
    }

    /// The same for a run that no request waits for, as the warm-up of a model that comes up beside others: all of those
    /// together leave one permit to requests.
    pub fn acquire_quietly(&self) -> Permit {
        let Shared { quiet, quiet_again, .. } = &*self.permits.0;
        let left = quiet.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left =
            quiet_again.wait_while(left, |left| *left == 0).unwrap_or_else(PoisonError::into_inner);
        *left -= 1;
        drop(left);
        let mut permit = self.acquire();
        permit.is_quiet = true;
        permit
    }

    /// Blocks until it is this model's turn.
    pub fn acquire(&self) -> Permit {
        let ticket = {
            let mut state = self.permits.lock();
            if state.free > 0 {
                state.free -= 1;
                return self.permit();
            }
            let ticket = Arc::<Ticket>::default();
            match state.turns.iter_mut().find(|turn| turn.model == self.model) {
                Some(turn) => turn.tickets.push_back(Arc::clone(&ticket)),
                None => {
                    let tickets = VecDeque::from([Arc::clone(&ticket)]);
                    state.turns.push_back(Turn { model: self.model, tickets });
                }
            }
            ticket
        };
        let mut granted = ticket.granted.lock().unwrap_or_else(PoisonError::into_inner);
        while !*granted {
            granted = ticket.changed.wait(granted).unwrap_or_else(PoisonError::into_inner);
        }
        self.permit()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.release();
        if self.is_quiet {
            let Shared { quiet, quiet_again, .. } = &*self.permits.0;
            *quiet.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            quiet_again.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{receive, until};
    use std::sync::mpsc;

    #[test]
    fn a_permit_is_spare_when_another_is_left() {
        let [one, two] = [1, 2].map(|n| Permits::new(n).source());
        assert!(one.has_spare() && two.has_spare());
        let held = [one.acquire(), two.acquire()];
        assert!(!one.has_spare() && !two.has_spare());
        drop(held);
        assert!(one.has_spare() && two.has_spare());
    }

    #[test]
    fn runs_that_nobody_waits_for_leave_a_permit() {
        let permits = Permits::new(3);
        let (coming, serving) = (permits.source(), permits.source());
        let mut held = vec![coming.acquire_quietly(), coming.acquire_quietly()];
        let (done, is_done) = mpsc::channel();
        let another = coming.clone();
        let third = std::thread::spawn(move || {
            let permit = another.acquire_quietly();
            done.send(()).unwrap();
            drop(permit);
        });
        // The third one of them has to wait whenever it comes, so a request finds one free.
        let answering = serving.try_acquire();
        assert!(answering.is_some() && serving.try_acquire().is_none());
        assert!(is_done.try_recv().is_err());
        held.pop();
        receive("the third", &is_done);
        third.join().unwrap();
        drop((held, answering));
        assert_eq!((permits.lock().free, *permits.0.quiet.lock().unwrap()), (3, 2));
        let one = Permits::new(1).source();
        drop(one.acquire_quietly());
        drop(one.acquire());
    }

    #[test]
    fn waiting_models_take_turns() {
        let permits = Permits::new(1);
        let (busy, quiet) = (permits.source(), permits.source());
        let held = busy.acquire();
        let (order, served) = mpsc::channel();
        let wait = |source: &PermitSource, name: &'static str, already: usize| {
            let (source, order) = (source.clone(), order.clone());
            let thread = std::thread::spawn(move || {
                let permit = source.acquire();
                order.send(name).unwrap();
                drop(permit);
            });
            let waiting = || permits.lock().turns.iter().map(|it| it.tickets.len()).sum::<usize>();
            until("the thread waits in line", || waiting() > already);
            thread
        };
        let threads = [wait(&busy, "busy", 0), wait(&busy, "busy", 1), wait(&quiet, "quiet", 2)];
        drop(held);
        let order = [(); 3].map(|()| receive("the next in turn", &served));
        assert_eq!(
            order,
            ["busy", "quiet", "busy"],
            "a model must not be served twice while another waits"
        );
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(permits.lock().free, 1);
    }
}
