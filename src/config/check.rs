//! What no key can check alone: settings that contradict each other, and folders that must exist.

use super::{Config, Loaded};
use crate::settings::{Origin, Reader, SettingError, SettingErrors};
use crate::store::StoreUrl;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

/// Adds every contradiction to the faults found so far.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    let (http, management) = (&config.http, &config.management);
    if overlap(http.listen, management.listen) {
        let message = format!(
            "both listeners would take {}, expected http.listen and management.listen to differ",
            management.listen
        );
        reader.conflict(&["management.listen", "http.listen"], message);
    }
    if !management.listen.ip().is_loopback() && !management.insecure {
        let message = format!(
            "{} is no address of this machine alone, and whoever reaches it can change state: expected a loopback address, or management.insecure = true",
            management.listen
        );
        reader.conflict(&["management.listen"], message);
    }
    if let Some(Err(error)) = StoreUrl::of(&config.general.models).map(|url| url.check()) {
        reader.conflict(&["models"], error.to_string());
    }
    let mut names = BTreeSet::new();
    for named in &config.general.model_folders {
        if !names.insert(&named.name) {
            let message = format!("model {:?} has two folders, expected one", named.name);
            reader.conflict(&["model_folders"], message);
        }
    }
    if http.body_idle_timeout > http.body_timeout {
        let message = format!(
            "expected at most http.body_timeout ({:?}), got {:?}",
            http.body_timeout, http.body_idle_timeout
        );
        // Harmless where only the other one was shortened: then that one is the stricter.
        reader.conflict(&["http.body_idle_timeout"], message);
    }
    if config.batching.max_queue_delay >= config.requests.timeout {
        let message = format!(
            "requests would wait for others past their deadline: batching.max_queue_delay is {:?}, \
             requests.timeout {:?}",
            config.batching.max_queue_delay, config.requests.timeout
        );
        reader.conflict(&["batching.max_queue_delay", "requests.timeout"], message);
    }
    if http.max_body_bytes > config.limits.inflight_bytes {
        let message = format!(
            "a body of http.max_body_bytes ({}) would never fit into limits.inflight_bytes ({})",
            http.max_body_bytes, config.limits.inflight_bytes
        );
        reader.conflict(&["http.max_body_bytes", "limits.inflight_bytes"], message);
    }
    if config.limits.inflight_bytes >= config.limits.memory_bytes {
        let message = format!(
            "requests could take all that the process may: limits.inflight_bytes is {}, limits.memory_bytes {}",
            config.limits.inflight_bytes, config.limits.memory_bytes
        );
        reader.conflict(&["limits.inflight_bytes", "limits.memory_bytes"], message);
    }
}

/// Whether two listeners cannot both be bound.
fn overlap(left: SocketAddr, right: SocketAddr) -> bool {
    // A wildcard takes every address; that of version six takes those of version four as well.
    let takes = |wide: SocketAddr, other: SocketAddr| {
        wide.ip().is_unspecified() && (wide.is_ipv6() || other.is_ipv4())
    };
    left.port() != 0
        && left.port() == right.port()
        && (left.ip() == right.ip() || takes(left, right) || takes(right, left))
}

impl Loaded {
    /// Checks what lies on the disk: that there is a folder of models. With models that have folders
    /// of their own there need be none, unless somebody wrote where it is. What comes from a store lies where we put it.
    ///
    /// # Errors
    ///
    /// The folder is missing or something else stands in its place.
    pub fn check_folders(&self) -> Result<(), SettingErrors> {
        let path = &self.config.general.models;
        if StoreUrl::of(path).is_some() {
            return Ok(());
        }
        let source = self.sources.get("models");
        let origin = source.map_or(Origin::Default, |source| source.origin.clone());
        let is_needed = self.config.general.model_folders.is_empty() || origin != Origin::Default;
        let message = match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Ok(()),
            Err(error) if !is_needed && error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Ok(_) => format!("expected a folder of models, {path:?} is a file"),
            Err(error) => format!("expected a folder of models, {path:?} cannot be read: {error}"),
        };
        Err(SettingError { origin, key: "models".into(), message }.into())
    }
}
