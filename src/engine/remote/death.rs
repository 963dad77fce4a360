//! How a child ended, read from its exit status alone.

use crate::engine::Death;
use rustix::process::Signal;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Signals that end a child: whose doing each is, its name, and what it says.
const SIGNALS: &[(Signal, Death, &str, &str)] = &[
    (Signal::SEGV, Death::Crashed, "SIGSEGV", "invalid memory access or stack overflow"),
    (Signal::BUS, Death::Crashed, "SIGBUS", "invalid memory access, or a file cut short"),
    (Signal::ILL, Death::Crashed, "SIGILL", "an instruction that this processor lacks"),
    (Signal::FPE, Death::Crashed, "SIGFPE", "a division by zero in native code"),
    (
        Signal::ABORT,
        Death::Crashed,
        "SIGABRT",
        "native code gave up, often for want of memory or stack",
    ),
    (Signal::XFSZ, Death::Crashed, "SIGXFSZ", "it tried to write to a file"),
    (Signal::SYS, Death::Crashed, "SIGSYS", "a forbidden system call"),
    // The server itself reads no status of a child that it kills, and whoever else ends one asks with another signal first.
    (
        Signal::KILL,
        Death::OutOfMemory,
        "SIGKILL",
        "killed from outside, most likely for want of memory",
    ),
    (Signal::TERM, Death::Terminated, "SIGTERM", "asked to end, as when a service is stopped"),
    (Signal::INT, Death::Terminated, "SIGINT", "interrupted from outside"),
    (Signal::HUP, Death::Terminated, "SIGHUP", "told that its terminal is gone"),
    (Signal::QUIT, Death::Terminated, "SIGQUIT", "told to quit from outside"),
    (Signal::XCPU, Death::Terminated, "SIGXCPU", "it used up its processor time"),
];

/// Whose doing the end was.
pub(super) fn death(status: ExitStatus) -> Death {
    let known = SIGNALS.iter().find(|(signal, ..)| status.signal() == Some(signal.as_raw()));
    known.map_or(Death::Crashed, |(_, death, ..)| *death)
}

/// The end in words.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(number), _) => match SIGNALS.iter().find(|(signal, ..)| signal.as_raw() == number) {
            Some((_, _, name, meaning)) => format!("was ended by {name} ({meaning})"),
            None => format!("was ended by signal {number}"),
        },
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_whose_doing_it_was() {
        let of = |signal: Signal| death(ExitStatus::from_raw(signal.as_raw()));
        assert_eq!(of(Signal::SEGV), Death::Crashed);
        assert_eq!(of(Signal::KILL), Death::OutOfMemory);
        assert_eq!(of(Signal::TERM), Death::Terminated);
        assert_eq!(of(Signal::XCPU), Death::Terminated);
        assert_eq!(of(Signal::USR1), Death::Crashed, "nobody else sends it");
        let exited = ExitStatus::from_raw(3 << 8);
        assert_eq!((death(exited), &*describe(exited)), (Death::Crashed, "exited with code 3"));
    }
}
