//! What native code needs before anything of it is loaded: somebody who vouches for the very file, and a process of its own.
//! Pure.

use super::candidate::Candidate;
use super::failure::{FailureCode, ModelFailure};
use super::isolation::Isolation;
use crate::engine::Signature;
use crate::inference::SizeRule;

/// Refuses native code that nobody vouches for, or that may have no process of its own.
pub(super) fn admit(candidate: &Candidate<'_>) -> Result<(), ModelFailure> {
    if !candidate.format.is_native() {
        return Ok(());
    }
    let (name, digest) = (candidate.name.as_str(), &*candidate.fingerprint.digest);
    decide(name, digest, candidate.is_trusted, candidate.isolation)
        .map_err(|reason| ModelFailure::new(FailureCode::Refused, reason))
}

fn decide(name: &str, digest: &str, is_trusted: bool, isolation: Isolation) -> Result<(), String> {
    if !is_trusted {
        return Err(format!(
            "the file is native code, which can do whatever its process may; to serve it, add \"{name}@sha256:{digest}\" to trusted_models"
        ));
    }
    if isolation == Isolation::None {
        return Err(format!(
            "the file is native code, which runs in a process of its own alone, and the configuration wants none for it: list {name} in isolation.process"
        ));
    }
    Ok(())
}

/// What sizes a model takes by its file, in sentences.
pub(super) fn notes(signature: &Signature) -> impl Iterator<Item = String> {
    let sizes = signature.interface.iter().flat_map(|it| &it.sizes);
    sizes.map(|rule| in_words(rule, signature))
}

fn in_words(rule: &SizeRule, signature: &Signature) -> String {
    let place = |&(place, axis): &(usize, usize)| {
        let name = signature.arguments.get(place).map_or("?", |it| &*it.name);
        format!("dimension {axis} of {name}")
    };
    let places: Vec<_> = rule.places.iter().map(place).collect();
    let same = if places.len() > 1 { ", the same in all of them" } else { "" };
    format!("by its file, {} may be {rule}{same}", places.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(is_trusted: bool, isolation: Isolation, expected: Option<&str>) {
        let reason = decide("m", "abc", is_trusted, isolation).err();
        match (reason, expected) {
            (None, None) => {}
            (Some(reason), Some(part)) => assert!(reason.contains(part), "{reason}"),
            (reason, expected) => panic!("{reason:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn native_code_is_vouched_for_and_apart() {
        check(true, Isolation::Auto, None);
        check(true, Isolation::Process, None);
        check(true, Isolation::None, Some("list m in isolation.process"));
        let line = "add \"m@sha256:abc\" to trusted_models";
        for isolation in [Isolation::Auto, Isolation::Process, Isolation::None] {
            check(false, isolation, Some(line));
        }
    }
}
