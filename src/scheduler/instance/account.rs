//! What the system tells of a thread of this process: how long it has computed, and what it waits for.

use super::slot::Account;
use std::time::Duration;

/// What the system tells of a thread of this process.
pub(super) fn account(thread: i32) -> Option<Account> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
    parse(&text, rustix::param::clock_ticks_per_second())
}

fn parse(stat: &str, ticks_per_second: u64) -> Option<Account> {
    // A thread's name may hold anything, so from the last parenthesis on.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let mut times = fields.skip(10).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    let computed = Duration::from_secs(1).mul_f64(ticks as f64 / ticks_per_second.max(1) as f64);
    Some(Account { computed, is_blocked: state != "R" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_account_of_a_thread_is_read_behind_its_name() {
        let text = "12 (a) R b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        let told = Account { computed: 3000 * MS, is_blocked: true };
        assert_eq!(parse(text, 100), Some(told));
        assert_eq!(parse("12 (x) R 1", 100), None);
        assert!(
            !account(rustix::thread::gettid().as_raw_nonzero().get()).unwrap().is_blocked,
            "this thread computes"
        );
        assert_eq!(account(0), None);
    }
}
