//! Every key there is, section by section, with its type, default, range and meaning.

use super::host::Host;
use super::types::{HttpUrl, LogLevel};
use crate::capture::Redaction;
use crate::http::{CorsOrigins, HostNames, KeyHeader};
use crate::inference::ModelName;
use crate::repository::manifest::{DeviceChoice, Optimize, QueueWait, ranges};
use crate::repository::{FolderWatch, Isolation, NamePattern, NamedFolder, TrustedModel};
use crate::settings::unit::DAY;
use crate::settings::{ByteSize, section};
use crate::telemetry::logging::{LogFormat, RequestLogMode};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

const SOME_TIME: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
const ANY_TIME: RangeInclusive<Duration> = Duration::ZERO..=DAY;
const MIB: ByteSize = ByteSize(1 << 20);
const TIB: ByteSize = ByteSize(1 << 40);
const PIB: ByteSize = ByteSize(1 << 50);

section! {
    /// The keys outside any section.
    pub struct GeneralConfig("", host: Host) {
        /// Folder of the models, one folder each, relative to the working folder; or a store like `s3://bucket/prefix`.
        models: PathBuf = "models", flag "--models";
        /// Folders of single models, as `name=folder` (`model.pt`, `1/model.pt` or one `*.pt` in each); `models` may then be absent.
        model_folders: Vec<NamedFolder> = [], flag "--model", applies live;
        /// Model that `/predict` without a name means; `""`: the only one, when there is just one.
        default_model: Option<ModelName> = "", flag "--default-model", applies live;
        /// Folder for verdicts and pins; auto: `$XDG_STATE_HOME/sconce`, `$HOME/.local/state/sconce` or `state`.
        state_dir: PathBuf = "auto" => host.state_dir.clone();
        /// Whether changed, new and missing model folders are noticed (`auto`), by looking every second, or nothing changes but on order (`off`).
        watch: FolderWatch = "auto";
        /// Where models run that do not say it: `auto` (a GPU if there is one), `cpu` or `cuda:N`.
        device: DeviceChoice = "auto";
        /// Whether the trial looks for the fastest form of a model (`auto`) or serves it as its file has it (`off`).
        optimize: Optimize = "auto", applies live;
        /// Model files that may use operators which touch files, or are native code, as `name@sha256:<64 hex digits>`.
        trusted_models: Vec<TrustedModel> = [];
        /// Shared objects with operators that models use, loaded before any model; relative to the working folder.
        libraries: Vec<PathBuf> = [];
    }
}

section! {
    /// The listener for predictions. Its limits hold for the management listener too.
    pub struct HttpConfig("http.", host: Host) {
        /// IP address and port; port 0 takes a free one and logs it.
        listen: SocketAddr = "127.0.0.1:8080", flag "--listen";
        /// Connections that are open at once; more of them wait to be accepted.
        max_connections: usize = 4096, range 1..=1_000_000;
        /// Time for the head of a request to arrive.
        header_timeout: Duration = "10s", range SOME_TIME;
        /// Time without a single byte of a body after which its request is given up.
        body_idle_timeout: Duration = "10s", range SOME_TIME;
        /// Time for a whole body to arrive.
        body_timeout: Duration = "60s", range SOME_TIME;
        /// Time that an idle connection is kept open for its next request.
        keep_alive_timeout: Duration = "75s", range SOME_TIME;
        /// Time without a single byte of an answer taken after which its connection is closed.
        write_timeout: Duration = "30s", range SOME_TIME;
        /// Largest body, as it comes and unpacked.
        max_body_bytes: ByteSize = "16MiB", range ranges::BODY_BYTES;
        /// Whether `/metrics` answers here too and not on the management listener only.
        metrics: bool = true;
        /// Header whose value is what a caller is known by: in a roll-out the same value gets the same version; `""`: none.
        routing_key_header: Option<KeyHeader> = "";
        /// Whether `X-Sconce-Version` may name a version (a number or a label) where the path names none.
        version_header: bool = false;
        /// Origins whose pages may read answers, like `https://app.example.com`; `["*"]`: all. Not on the management listener.
        cors_origins: CorsOrigins = [];
    }
}

section! {
    /// The listener that changes state.
    pub struct ManagementConfig("management.", host: Host) {
        /// IP address and port of the listener that can change state; keep it off public networks.
        listen: SocketAddr = "127.0.0.1:8081", flag "--manage-listen";
        /// Host names that it answers to, beside addresses and `localhost`: others may be those of a web page's attacker.
        hosts: HostNames = [];
        /// Whether it may listen elsewhere than on loopback, where everybody who reaches it can change state.
        insecure: bool = false;
    }
}

section! {
    /// What a single request may ask for.
    pub struct RequestsConfig("requests.", host: Host) {
        /// Time for an answer; `X-Request-Timeout-Ms` can shorten it and not lengthen it.
        timeout: Duration = "30s", range ranges::TIMEOUT, applies live;
        /// Maximum number of rows in one request.
        max_rows: usize = 1024, range ranges::ROWS, applies live;
    }
}

section! {
    /// How requests are put together, for models that do not say it in their model.toml.
    pub struct BatchingConfig("batching.", host: Host) {
        /// Maximum number of rows that run together.
        max_batch_size: usize = 64, range ranges::BATCH_SIZE, applies live;
        /// Time that an idle instance waits for more rows; 0 takes at once what is there.
        max_queue_delay: Duration = "0ms", range ranges::QUEUE_DELAY, applies live;
        /// Requests that wait for one model; more are refused with 429.
        queue_capacity: usize = 512, range ranges::QUEUE_CAPACITY, applies live;
        /// Time that a request may have to wait for its run, by the runs before; longer is 429. auto: a second or five runs; under overload 100 ms, two runs or 20 requests.
        max_queue_wait: QueueWait = "auto", applies live;
        /// Of so many shared runs one is checked when an instance is idle, by running rows of it again alone; 0 checks none.
        verify_every: usize = 1000, range 0..=1_000_000_000, applies live;
    }
}

section! {
    /// Who computes where.
    pub struct ThreadsConfig("threads.", host: Host) {
        /// Cores to use; auto: the container's quota, at most the cores that the process may run on.
        cpu_quota: usize = "auto" => host.cpus, range 1..=1024;
        /// Instances of each model, a thread each; auto: as many as `threads.cpu_quota`.
        instances: usize = "auto" => cpu_quota, range ranges::INSTANCES, applies live;
        /// Threads that one operator of one instance may use.
        intra_op_threads: usize = 1, range ranges::INTRA_OP_THREADS;
        /// Threads that serve connections; auto: as many as `threads.cpu_quota`.
        http_threads: usize = "auto" => cpu_quota, range 1..=1024;
    }
}

section! {
    /// What all requests together may take.
    pub struct LimitsConfig("limits.", host: Host) {
        /// Bytes that the whole process may take; auto: 95 % of the memory limit. A run that would take more fails alone.
        memory_bytes: ByteSize = "auto" => ByteSize(host.memory / 20 * 19), range MIB..=PIB;
        /// Bytes of all bodies, tensors and answers at once; auto: a quarter of `limits.memory_bytes`.
        inflight_bytes: ByteSize = "auto" => ByteSize(memory_bytes.0 / 4), range MIB..=TIB;
        /// Time past its deadline after which a run counts as stuck and its instance is replaced.
        stuck_grace: Duration = "5s", range ANY_TIME, applies live;
        /// Stuck runs of one model that are replaced; with one more it counts as failed.
        max_stuck_runs: usize = 2, range 1..=1024, applies live;
    }
}

section! {
    /// The child process that tries a model before it is served.
    pub struct TrialConfig("trial.", host: Host) {
        /// Time for the trial of one model; also for loading it after that, and for each run that warms it up.
        timeout: Duration = "60s", range SOME_TIME;
        /// Memory of the trial; auto: half of the memory limit.
        memory_bytes: ByteSize = "auto" => ByteSize(host.memory / 2), range MIB..=TIB;
    }
}

section! {
    /// Processes of their own, in which models serve that could end the server's.
    pub struct IsolationConfig("isolation.", host: Host) {
        /// Which models have one: `auto` (those whose operators can end a process), `process` (all) or `none`.
        mode: Isolation = "auto";
        /// Models that always have one; `*` in a name stands for any characters.
        process: Vec<NamePattern> = [];
        /// Models that never have one.
        none: Vec<NamePattern> = [];
        /// Deaths of one model's process within a minute after which it counts as failed.
        max_deaths: usize = 20, range 0..=1_000_000;
        /// Whether models are refused where the kernel lacks a part of the sandbox, and not only warned of.
        require_sandbox: bool = false;
    }
}

section! {
    /// Models that lie in a store.
    pub struct StoreConfig("store.", host: Host) {
        /// Folder for what comes from a store, on a disk that outlives the process; `""`: `store` in `state_dir`.
        cache_dir: Option<PathBuf> = "";
        /// Bytes that versions from a store may take there; old ones that nobody needs make room, what serves stays.
        cache_bytes: ByteSize = "64GiB", range MIB..=PIB;
        /// Time between two looks at the store, more or less by a tenth.
        poll: Duration = "30s", range SOME_TIME;
    }
}

section! {
    /// Labels that come back, to say how good answers were.
    pub struct FeedbackConfig("feedback.", host: Host) {
        /// File of the keys that sign tokens, one a line and the first signs, the same for all replicas; `""`: a key of this process.
        keys_file: Option<PathBuf> = "";
        /// How long after its answer a label is taken.
        max_age: Duration = "720h", range Duration::from_secs(1)..=365 * DAY;
    }
}

section! {
    /// Requests that are kept in files, or sent to somebody, with their answers.
    pub struct CaptureConfig("capture.", host: Host) {
        /// Folder for captured requests; `""`: none are kept.
        folder: Option<PathBuf> = "";
        /// Address to which they are sent as they come, as CloudEvents; `""`: nobody is sent them.
        sink: Option<HttpUrl> = "";
        /// Part of the requests that is captured, chosen by their ids.
        sample_rate: f64 = 0.01, range 0.0..=1.0;
        /// Bytes that captured requests may take; the oldest file makes room.
        max_bytes: ByteSize = "1GiB", range ByteSize(1 << 20)..=ByteSize(1 << 50);
        /// Inputs and outputs whose values are left out, as `"name"` or `"model/name"`.
        redact: Redaction = [];
    }
}

section! {
    /// Spans of requests, sent by OTLP; OpenTelemetry's variables (`OTEL_*`) go before these keys.
    pub struct TracingConfig("tracing.", host: Host) {
        /// Where spans are sent: over gRPC to port 4317, otherwise over HTTP; `""`: nowhere.
        endpoint: Option<HttpUrl> = "";
        /// Part of the requests that is traced, of those whose callers do not say it.
        sample_rate: f64 = 0.01, range 0.0..=1.0;
    }
}

section! {
    /// What happens after SIGTERM.
    pub struct ShutdownConfig("shutdown.", host: Host) {
        /// Time of serving on while readiness says no, for load balancers to notice.
        lame_duck: Duration = "5s", range ANY_TIME, applies live;
        /// Time for the requests that are under way once the listener is closed.
        drain: Duration = "20s", range ANY_TIME, applies live;
    }
}

section! {
    /// What is logged, and how.
    pub struct LogConfig("log.", host: Host) {
        /// `human` or `json`; auto: `human` on a terminal, otherwise `json`.
        format: LogFormat = "auto" => host.log_format(), flag "--log-format";
        /// Minimum level: `error`, `warn`, `info`, `debug`, `trace` or `off`; by target: `info,hyper=warn`.
        level: LogLevel = "info", flag "--log-level", applies live;
        /// Requests that leave a line: `errors` (and slow ones), `sampled` (at most 100 others a second too) or `all`.
        requests: RequestLogMode = "sampled", applies live;
        /// Time from which on an answered request counts as slow.
        slow: Duration = "1s", range ANY_TIME, applies live;
    }
}
