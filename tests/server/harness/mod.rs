//! A running server: the real binary on ports of its own, with a folder of models made for it.
//!
//! What belongs here: starting, watching and stopping it. Requests are in `client`, folders in
//! `models`. A server is killed when it is dropped.

mod client;
mod log;
mod metrics;
mod models;
mod receiver;

pub(crate) use client::{Answer, Raw, get, post, post_with, request};
pub(crate) use log::Log;
pub(crate) use metrics::{Series, metric, series};
pub(crate) use models::{Models, held_out};
pub(crate) use receiver::Receiver;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long anything may take that must happen: a debug build on a machine that is busy with
/// other things. Nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long a server may take to try its models: some thirty, in a child that steps back behind everybody.
const TRIAL_PATIENCE: Duration = Duration::from_secs(600);

/// The program under test.
pub(crate) fn sconce() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sconce"));
    // What the caller's environment sets must not reach the server.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("SCONCE_") || name_text.starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command
}

/// How a program ended that was not expected to run on.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command until it ends; one that does not is killed and fails the test.
#[track_caller]
pub(crate) fn run_to_end(mut command: Command) -> Ended {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) =
        (Log::read(child.stdout.take().unwrap()), Log::read(child.stderr.take().unwrap()));
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Ended { status, stdout: stdout.whole(), stderr: stderr.whole() };
        }
        if Instant::now() > deadline {
            drop(child.kill());
            panic!("{command:?} must end; it wrote:\n{}", stderr.text());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Verdicts of this test run, shared by its servers, so that each model is tried once.
pub(crate) fn state_dir() -> PathBuf {
    static FOLDER: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("server-state");
            // Earlier runs leave theirs behind, because nothing runs at the end of a test program.
            for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
                let alive = PathBuf::from("/proc").join(entry.file_name()).exists();
                if !alive {
                    drop(std::fs::remove_dir_all(entry.path()));
                }
            }
            let folder = root.join(std::process::id().to_string());
            std::fs::create_dir_all(&folder).unwrap();
            folder
        })
        .clone()
}

/// What a server is started with.
pub(crate) struct Settings {
    models: Models,
    keys: Vec<String>,
    variables: Vec<(String, OsString)>,
}

impl Settings {
    pub(crate) fn new(models: Models) -> Self {
        let state_dir = format!("state_dir={}", state_dir().display());
        let keys = [
            "log.requests=all",
            "log.format=json",
            "threads.cpu_quota=2",
            // On a busy machine a trial takes its time, since the child steps back behind everybody.
            "trial.timeout=5m",
            &state_dir,
        ];
        Self { models, keys: keys.map(str::to_owned).to_vec(), variables: Vec::new() }
    }

    /// Sets a key of the configuration, `key=value`.
    pub(crate) fn set(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Starts the server and waits until its ports are bound.
    #[track_caller]
    pub(crate) fn start(self) -> Server {
        let mut command = sconce();
        command.arg("serve").arg("--models").arg(self.models.path());
        command.args(["--listen", "127.0.0.1:0", "--manage-listen", "127.0.0.1:0"]);
        for key in &self.keys {
            command.args(["--set", key]);
        }
        command.envs(self.variables);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let printed = Log::read(child.stdout.take().unwrap());
        let log = Log::read(child.stderr.take().unwrap());
        let line = log.wait(|line| line["message"] == "sconce is listening");
        let address =
            |field: &str| -> SocketAddr { line[field].as_str().unwrap().parse().unwrap() };
        Server {
            http: address("http"),
            management: address("management"),
            child: Mutex::new(child),
            log,
            printed,
            models: self.models,
        }
    }

    /// Starts the server and waits until it is ready.
    #[track_caller]
    pub(crate) fn ready(self) -> Server {
        let server = self.start();
        server.wait_ready();
        server
    }
}

/// A running server.
pub(crate) struct Server {
    /// The listener for predictions.
    pub(crate) http: SocketAddr,
    /// The management listener.
    pub(crate) management: SocketAddr,
    /// What it has logged so far.
    pub(crate) log: Log,
    /// What its models have printed so far.
    pub(crate) printed: Log,
    /// Its folder of models.
    pub(crate) models: Models,
    child: Mutex<Child>,
}

impl Server {
    /// The server with every good model that most tests share. It lives as long as a test holds
    /// it; the next test that asks starts another, at little cost because the verdicts are known.
    #[track_caller]
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Settings::new(Models::all()).ready());
        *shared = Arc::downgrade(&server);
        server
    }

    #[track_caller]
    pub(crate) fn wait_ready(&self) {
        self.wait_within(TRIAL_PATIENCE, "the server must become ready", || self.is_ready());
    }

    /// Waits until these models serve or have failed.
    #[track_caller]
    pub(crate) fn wait_settled(&self, models: &[&str]) {
        let is_settled = |name: &&str| self.describe(name)["state"] != "loading";
        let rule = "every model must be tried";
        self.wait_within(TRIAL_PATIENCE, rule, || models.iter().all(is_settled));
    }

    /// Polls until `condition` holds.
    #[track_caller]
    pub(crate) fn wait(&self, rule: &str, condition: impl FnMut() -> bool) {
        self.wait_within(PATIENCE, rule, condition);
    }

    #[track_caller]
    fn wait_within(&self, patience: Duration, rule: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + patience;
        while !condition() {
            let lines = || self.log.text();
            assert!(Instant::now() < deadline, "{rule}; the log:\n{}", lines());
            // Between two looks, not in place of one: the server needs the processor too.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        get(self.http, "/health/ready").status == 200
    }

    /// Posts a JSON body to the listener for predictions.
    #[track_caller]
    pub(crate) fn predict(&self, model: &str, body: &Value) -> Answer {
        post(self.http, &format!("/predict/{model}"), body.to_string())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    /// What the server tells operators about a model.
    #[track_caller]
    pub(crate) fn describe(&self, model: &str) -> Value {
        get(self.management, &format!("/manage/models/{model}")).json()
    }

    /// What it tells everybody.
    #[track_caller]
    pub(crate) fn describe_publicly(&self, model: &str) -> Value {
        get(self.http, &format!("/models/{model}")).json()
    }

    /// A value of the metrics; 0 when there is no such series.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> f64 {
        metric(&self.metrics(), series)
    }

    #[track_caller]
    pub(crate) fn metrics(&self) -> String {
        let answer = get(self.management, "/metrics");
        assert_eq!(answer.status, 200, "metrics must answer");
        answer.text()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap();
        let pid = Pid::from_child(&child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub(crate) fn wait_exit(&self) -> ExitStatus {
        let mut ended = None;
        self.wait("the process must end", || {
            ended = self.child.lock().unwrap().try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(child.kill());
        drop(child.wait());
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log.text());
        }
    }
}
