//! Starting, stopping, and what may be expected on the way.

use crate::harness::{
    Answer, Models, Raw, Server, Settings, get, post, request, run_to_end, sconce,
};
use rustix::process::Signal;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const BODY: &[u8] = b"{\"features\": [1, 2, 3, 4]}";

/// A lame duck in which a busy machine still sees what is to be seen in it.
const LAME_DUCK: (&str, Duration) = ("shutdown.lame_duck=8s", Duration::from_secs(8));

/// Longer than any wait of the harness: a shutdown that took it would fail there.
const TOO_LONG: [&str; 2] = ["shutdown.lame_duck=1h", "shutdown.drain=1h"];

#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    failed: AtomicUsize,
    over: AtomicBool,
}

/// Ends the load when it goes, also when a test fails: its threads are waited for.
struct Ends<'a>(&'a Load);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

impl Load {
    /// Asks again and again, on a connection for as long as the server keeps it, until nobody
    /// listens any more.
    fn run(&self, address: SocketAddr) {
        'connections: while !self.over.load(Ordering::SeqCst) {
            let Some(mut raw) = Raw::try_connect(address) else { break };
            loop {
                if raw.send(&request("POST /predict/raises", &[], BODY)).is_err() {
                    // Closed before a byte of this request arrived: no request, no failure.
                    continue 'connections;
                }
                let Some(answer) = raw.answer() else {
                    // The listener had closed already if nobody can connect now.
                    if Raw::try_connect(address).is_some() {
                        self.failed.fetch_add(1, Ordering::SeqCst);
                    }
                    continue 'connections;
                };
                let counter = if answer.status == 200 { &self.answered } else { &self.failed };
                counter.fetch_add(1, Ordering::SeqCst);
                if answer
                    .header("connection")
                    .is_some_and(|value| value.eq_ignore_ascii_case("close"))
                {
                    continue 'connections;
                }
            }
        }
    }
}

/// Clients that will never finish: half a head, half a body, and answers that nobody reads.
fn stalled(address: SocketAddr, count: usize) -> Vec<Raw> {
    let whole = request("POST /predict/raises", &[], BODY);
    let client = |number: usize| {
        let mut raw = Raw::connect(address);
        match number % 3 {
            0 => raw.send(&whole[..20]).unwrap(),
            1 => raw.send(&whole[..whole.len() - 5]).unwrap(),
            _ => drop(raw.offer(&request("GET /metrics", &[], b"").repeat(1000))),
        }
        raw
    };
    (0..count).map(client).collect()
}

#[test]
fn sigterm_under_load_with_stalled_clients_fails_nothing() {
    let server = Settings::new(Models::new().fixture("raises"))
        .set(LAME_DUCK.0)
        .set("shutdown.drain=3s")
        .ready();
    let stalled = stalled(server.http, 50);
    let load = Load::default();
    let took = std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| load.run(server.http));
        }
        let _ends = Ends(&load);
        server.wait("the load must run", || load.answered.load(Ordering::SeqCst) >= 200);
        let started = Instant::now();
        server.signal(Signal::TERM);
        server.wait("readiness must go first", || get(server.http, "/health/ready").status == 503);
        let status: Answer = get(server.management, "/health/ready");
        assert_eq!(status.json()["status"], "draining");
        assert_eq!(server.metric("sconce_draining"), 1.0);
        assert_eq!(server.metric("sconce_ready"), 0.0);
        let so_far = load.answered.load(Ordering::SeqCst);
        server.wait("serving must go on in the lame duck", || {
            load.answered.load(Ordering::SeqCst) > so_far + 20
        });
        let status = server.wait_exit();
        assert_eq!(status.code(), Some(0));
        started.elapsed()
    });
    drop(stalled);
    let (answered, failed) = (load.answered.into_inner(), load.failed.into_inner());
    eprintln!("{answered} answered, {failed} failed, 50 stalled clients, down in {took:?}");
    assert_eq!(failed, 0, "no request that came in time may fail");
    assert!(took >= LAME_DUCK.1, "down in {took:?}");
}

#[test]
fn idle_connections_do_not_hold_the_drain_and_answers_say_close() {
    let server =
        Settings::new(Models::new().fixture("raises")).set(LAME_DUCK.0).set(TOO_LONG[1]).ready();
    let mut idle = Raw::connect(server.http);
    let whole = request("POST /predict/raises", &[], BODY);
    idle.send(&whole).unwrap();
    let answer = idle.answer().unwrap();
    assert_eq!(answer.header("connection"), None, "a connection is kept while the server stays");
    let mut other = Raw::connect(server.http);
    server.signal(Signal::TERM);
    server.wait("readiness must go", || get(server.http, "/health/ready").status == 503);
    other.send(&whole).unwrap();
    let answer = other.answer().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(idle.is_closed());
}

fn slow_server() -> (Server, Raw) {
    let server = Settings::new(Models::new().fixture("slow").head("slow", "instances = 1"))
        .set(TOO_LONG[0])
        .set(TOO_LONG[1])
        .ready();
    let mut raw = Raw::connect(server.http);
    raw.send(&request("POST /predict/slow", &[], b"{\"features\": [4000, 0, 0, 0]}")).unwrap();
    let running = || server.describe("slow")["versions"][0]["queue"]["running"] == 1;
    server.wait("the request must run", running);
    (server, raw)
}

#[test]
fn sigint_skips_the_lame_duck_and_finishes_what_runs() {
    let (server, mut raw) = slow_server();
    server.signal(Signal::INT);
    let answer = raw.answer().expect("what runs is finished");
    assert_eq!(answer.good()["prediction"], json!([8000.0, 0.0, 0.0, 0.0]));
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it() {
    let server =
        Settings::new(Models::new().fixture("raises")).set(TOO_LONG[0]).set(TOO_LONG[1]).ready();
    let stalled = stalled(server.http, 2);
    server.signal(Signal::TERM);
    server.wait("the first is heard", || !server.is_ready());
    assert!(!server.has_exited());
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    drop(stalled);
}

#[test]
fn what_prevents_a_start_is_one_line_and_the_right_status() {
    let server = Server::shared();
    let models = Models::new().fixture("raises");
    let serve = |arguments: &[&str]| {
        let mut command = sconce();
        command.args(["serve", "--listen", "127.0.0.1:0", "--manage-listen", "127.0.0.1:0"]);
        command.args(arguments).args(["--log-format", "json"]);
        run_to_end(command)
    };
    let folder = models.path().to_str().unwrap();
    let taken = server.http.to_string();

    let mut command = sconce();
    command.args([
        "serve",
        "--models",
        folder,
        "--listen",
        &taken,
        "--manage-listen",
        "127.0.0.1:0",
    ]);
    let ended = run_to_end(command);
    assert_eq!(ended.status.code(), Some(1), "a port in use: {}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "one line: {}", ended.stderr);
    assert!(ended.stderr.contains(&taken), "the address is named: {}", ended.stderr);

    let missing = serve(&["--models", "no/such/folder"]);
    assert_eq!(missing.status.code(), Some(78), "a missing folder: {}", missing.stderr);
    assert!(missing.stderr.lines().count() == 1 && missing.stderr.contains("no/such/folder"));

    let unknown = serve(&["--models", folder, "--set", "http.lisen=1"]);
    assert_eq!(unknown.status.code(), Some(78), "an unknown key: {}", unknown.stderr);
    assert!(unknown.stderr.contains("http.listen"), "the closest key: {}", unknown.stderr);

    let device = serve(&["--models", folder, "--set", "device=cuda:63"]);
    assert!(
        matches!(device.status.code(), Some(1 | 78)),
        "a device that is not there: {}",
        device.stderr
    );
    assert!(device.stderr.contains("cuda:63"), "{}", device.stderr);
}

#[test]
fn a_restart_with_known_verdicts_needs_no_child() {
    let state = tempfile::tempdir().unwrap();
    let start = || {
        let models = Models::new().fixture("raises").fixture("coupled").example("digits");
        let key = format!("state_dir={}", state.path().display());
        let started = Instant::now();
        let server = Settings::new(models).set(key).ready();
        let trials =
            |outcome: &str| server.metric(&format!("sconce_trials_total{{outcome=\"{outcome}\"}}"));
        let counts = (trials("passed"), trials("known"));
        assert_eq!(server.describe("coupled")["versions"][0]["batching"]["finding"], "coupled");
        post(server.http, "/predict/raises", String::from_utf8_lossy(BODY)).good();
        (counts, started.elapsed())
    };
    let (first, unknown) = start();
    assert_eq!(first, (3.0, 0.0));
    let (second, known) = start();
    assert_eq!(second, (0.0, 3.0), "a restart pays nothing");
    eprintln!("ready with unknown verdicts in {unknown:?}, with known ones in {known:?}");
}

#[test]
fn a_run_that_hangs_does_not_hold_up_the_end() {
    let server = Settings::new(Models::new().fixture("stuck").fixture("tabular"))
        .set("shutdown.lame_duck=0ms")
        .set("requests.timeout=1s")
        .ready();
    server.predict("stuck", &json!({"features": [2000, 0, 0, 0]})).failed(504, "deadline_exceeded");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
}
