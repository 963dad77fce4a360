//! The rules: what each room may name, and the words that belong to one room alone.

/// The rooms that a room may name beside itself; `None` for those that put the program together.
pub(crate) type Room = (&'static str, Option<&'static [&'static str]>);

/// In reading order, as in `src/lib.rs` and ARCHITECTURE.md.
pub(crate) const ROOMS: &[Room] = &[
    ("cli", None),
    ("app", None),
    // The options of every room are built here, so every room that has some may be named.
    (
        "config",
        Some(&[
            "shutdown",
            "settings",
            "telemetry",
            "engine",
            "inference",
            "scheduler",
            "store",
            "repository",
            "listener",
            "http",
            "capture",
            "traces",
        ]),
    ),
    ("shutdown", Some(&["listener"])),
    ("settings", Some(&[])),
    ("tensor", Some(&[])),
    ("inference", Some(&["tensor"])),
    ("telemetry", Some(&[])),
    ("engine", Some(&["tensor", "inference"])),
    ("scheduler", Some(&["tensor", "inference", "engine", "telemetry"])),
    ("transform", Some(&["tensor", "inference"])),
    (
        "repository",
        Some(&["settings", "tensor", "inference", "engine", "scheduler", "transform", "telemetry"]),
    ),
    // What brings the folder knows how it is laid out.
    ("store", Some(&["repository"])),
    ("protocol", Some(&["tensor", "inference"])),
    (
        "pipeline",
        Some(&[
            "tensor",
            "inference",
            "transform",
            "repository",
            "scheduler",
            "protocol",
            "telemetry",
        ]),
    ),
    ("rollout", Some(&["tensor", "inference", "protocol", "pipeline", "repository", "telemetry"])),
    ("quality", Some(&["tensor", "inference", "pipeline", "repository", "telemetry"])),
    (
        "capture",
        Some(&[
            "tensor",
            "inference",
            "protocol",
            "pipeline",
            "repository",
            "rollout",
            "telemetry",
        ]),
    ),
    ("traces", Some(&["inference", "pipeline", "repository", "telemetry"])),
    ("evaluation", Some(&["tensor", "inference", "repository", "protocol", "pipeline"])),
    // What answers take of the budget says how long they may wait for their clients.
    ("listener", Some(&["inference"])),
    (
        "http",
        Some(&[
            "tensor",
            "inference",
            "protocol",
            "pipeline",
            "repository",
            "rollout",
            "quality",
            "traces",
            "telemetry",
            "listener",
        ]),
    ),
];

/// Rooms whose modules name each other without circles (`inside.rs`).
pub(crate) const INSIDE: &[&str] = &[
    "repository",
    "http",
    "scheduler",
    "listener",
    "transform",
    "pipeline",
    "rollout",
    "quality",
    "capture",
    "traces",
    "evaluation",
    "store",
];

/// Words that some files must not have.
pub(crate) struct Rule {
    /// Beginnings of the paths that it holds for.
    pub(crate) holds: &'static [&'static str],
    /// Beginnings of paths among them that it does not hold for.
    pub(crate) except: &'static [&'static str],
    pub(crate) words: &'static [&'static str],
    pub(crate) says: &'static str,
}

impl Rule {
    pub(crate) fn covers(&self, path: &str) -> bool {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
        begins(self.holds) && !begins(self.except)
    }
}

pub(crate) const RULES: &[Rule] = &[
    Rule {
        holds: &[""],
        except: &["engine/torch/"],
        words: &["tch", "torch_shim"],
        says: "only engine/torch names libtorch's bindings",
    },
    Rule {
        holds: &[""],
        except: &["store/"],
        words: &["object_store"],
        says: "only store knows what speaks to stores",
    },
    Rule {
        holds: &[""],
        except: &["store/", "capture/sink", "traces/otlp"],
        words: &["reqwest", "rustls", "opentelemetry"],
        says: "only stores, the sink and the wire of spans call others",
    },
    Rule {
        holds: &[""],
        except: &["http/"],
        words: &["axum", "tower_http", "StatusCode"],
        says: "only http knows its framework and status codes",
    },
    Rule {
        holds: &[""],
        except: &["listener/", "http/"],
        words: &["hyper", "hyper_util", "tower", "HeaderMap", "HeaderName", "HeaderValue"],
        says: "only the edge knows connections and headers",
    },
    Rule {
        holds: &["tensor/", "inference/", "engine/", "scheduler/", "transform/", "pipeline/"],
        except: &["engine/remote/protocol", "engine/package/document", "transform/text/trust"],
        words: &["serde", "serde_json", "Serialize", "Deserialize"],
        says: "wire formats are for protocol, for what engine's child speaks, and for the documents of packages and tokenizers",
    },
    Rule {
        holds: &[
            "scheduler/policy.rs",
            "scheduler/packing.rs",
            "scheduler/batch.rs",
            "repository/policy.rs",
            "repository/routing.rs",
            "rollout/policy.rs",
            "rollout/rules.rs",
            "rollout/sequential.rs",
            "rollout/power.rs",
            "rollout/compare.rs",
        ],
        except: &[],
        words: &[
            "Instant::now",
            "SystemTime",
            "Mutex",
            "RwLock",
            "Condvar",
            "mpsc",
            "oneshot",
            "watch",
            "channel",
            "tokio",
            "fs",
            "File",
        ],
        says: "policies are pure: no clock, channel, lock or file",
    },
    Rule {
        holds: &["tensor/", "engine/", "transform/"],
        except: &[],
        words: &["tokio", "async", "await"],
        says: "engines block, on threads of their own; tensors and transforms only compute",
    },
    Rule {
        holds: &[""],
        except: &["telemetry/logging/", "main.rs"],
        words: &[
            "static",
            "thread_local",
            "lazy_static",
            "OnceLock",
            "LazyLock",
            "OnceCell",
            "LazyCell",
        ],
        says: "nothing is global but the log and the allocator: state is built in app and handed down",
    },
];
