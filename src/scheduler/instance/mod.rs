//! What runs: threads that each own an engine, engines that threads borrow, and the watch over runs that get stuck.

mod account;
mod direct;
mod pool;
mod runner;
mod slot;
mod thread;
mod warm_up;
mod watchdog;

pub(super) use pool::Pool;
pub(super) use watchdog::Watchdog;
