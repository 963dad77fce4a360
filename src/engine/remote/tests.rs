use super::inbox::ReceivedFiles;
use super::process::{Message, Process};
use super::protocol::WireFormat;
use super::*;
use crate::engine::fake::{FakeLoader, FakeModel};
use crate::engine::{Death, Fault};
use crate::tensor::{Shape, Tensor};
use std::fs;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Time for a child on a machine that is busy with other things.
pub(super) const AMPLE: Duration = Duration::from_secs(300);

pub(super) const CPU: LoadOptions = LoadOptions::plain(Device::Cpu, 1);

pub(super) fn artifact() -> Artifact {
    Artifact::new(Format::TorchScript, std::env::current_exe().unwrap(), String::new())
}

pub(super) fn vector(values: &[f32]) -> Batch {
    let shape = Shape::from([values.len(), 1]);
    Batch::without_deadline(vec![Some(Tensor::from_vec(shape, values.to_vec()).unwrap()), None])
}

/// A file that the child can create, but not write to.
fn forbidden_file() -> PathBuf {
    // A child that has settled is not even told where it lies.
    std::env::current_exe().unwrap_or_default().with_extension("forbidden")
}

/// A model that does as its first value says.
fn obedient() -> FakeModel {
    FakeModel::new(|batch| {
        let tensor = batch.inputs.into_iter().flatten().next().unwrap();
        match tensor.as_slice::<f32>().unwrap()[0] as i32 {
            1 => panic!("as told"),
            2 => Err(EngineError::new(Fault::Raised, "no\nway")),
            3 => std::process::abort(),
            4 => loop {
                std::hint::spin_loop();
            },
            5 => {
                let tried = [
                    fs::write(forbidden_file(), b"x").map(drop),
                    fs::read("/etc/passwd").map(drop),
                    std::process::Command::new("/bin/true").spawn().map(drop),
                    std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
                    UnixStream::pair().map(drop),
                    fs::read("/proc/cpuinfo").map(drop),
                ];
                let allowed: Vec<_> = tried.iter().map(Result::is_ok).collect();
                thread::spawn(|| ()).join().expect("threads may be started");
                Err(EngineError::new(Fault::Raised, format!("{allowed:?}")))
            }
            6 => {
                let hoard: Vec<u8> = std::hint::black_box(vec![1; 1 << 30]);
                panic!("got {} bytes", hoard.len())
            }
            7 => Err(EngineError::new(Fault::Device, "sticky")),
            8 => {
                println!("{}", "chatter ".repeat(1 << 17));
                Ok(vec![tensor])
            }
            9 => std::process::exit(3),
            10 => {
                let id = std::process::id() as f32;
                Ok(vec![Tensor::from_vec(Shape::from([1, 1]), vec![id]).unwrap()])
            }
            _ => Ok(vec![tensor]),
        }
    })
}

/// Not a test of its own: what the other tests start as their child.
#[test]
#[ignore = "the child of the other tests"]
fn child() {
    let is_given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let purpose = if is_given(RemoteOptions::SERVING) { Purpose::Service } else { Purpose::Trial };
    if is_given(RemoteOptions::ARGUMENT) {
        let loader = || Ok(Arc::new(FakeLoader(obedient())) as Arc<dyn Loader>);
        run_child(purpose, Confinement::Sandbox, loader).unwrap();
    }
}

pub(super) fn ourselves() -> RemoteOptions {
    let mut options = RemoteOptions::of_this_program(AMPLE).unwrap();
    let name = format!("{}::child", module_path!().split_once("::").unwrap().1);
    // What follows is for the child, and no flag of the tests' own.
    let test = ["--exact", "--ignored", "--nocapture", "--test-threads=1", &name, "--"];
    options.arguments.splice(0..0, test.map(OsString::from));
    options
}

fn shell(script: &str, timeout: Duration) -> RemoteLoader {
    let arguments = vec!["-c".into(), script.into()];
    let program = PathBuf::from("/bin/sh");
    RemoteLoader::new(RemoteOptions { program, arguments, timeout, ..ourselves() })
}

/// The id of the running child, if one is.
fn pid(loader: &RemoteLoader) -> Option<u32> {
    loader.shared.state.lock().unwrap().process.as_ref().map(Process::id)
}

pub(super) fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whether not even a zombie is left.
pub(super) fn is_gone(pid: u32) -> bool {
    !fs::exists(format!("/proc/{pid}")).unwrap()
}

#[track_caller]
pub(super) fn fails(outcome: Result<impl Sized, EngineError>, fault: Fault, text: &str) {
    let error = outcome.err().expect("must fail");
    assert_eq!(error.fault, fault, "{error}");
    assert!(error.message.contains(text), "{error}");
}

#[test]
fn serve_answers_over_any_stream() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let model = obedient();
    let seen = model.seen();
    let child = thread::spawn(move || {
        let (mut input, mut output) = (&theirs, &theirs);
        let received = ReceivedFiles::of(std::fs::File::open(artifact().path).unwrap());
        let session = child::Session::new(Vec::new(), received);
        child::serve(&FakeLoader(model), &mut input, &mut output, session)
    });
    let ask = |request: Request, buffers: &[Buffer]| {
        protocol::write(&mut &ours, &request, buffers).unwrap();
        protocol::read_header::<Response>(&mut &ours).unwrap().unwrap()
    };
    let load = Request::Load {
        format: WireFormat::default(),
        device: "cpu".into(),
        intra_op_threads: 1,
        form: "plain".into(),
        outputs: vec![],
        runs: 1,
        package: None,
    };
    assert!(matches!(ask(load, &[]), Response::Loaded { model: 1, .. }));
    assert!(matches!(ask(Request::Instance { model: 9 }, &[]), Response::Failed { .. }));
    assert!(matches!(ask(Request::Instance { model: 1 }, &[]), Response::Instance { instance: 2 }));
    let (run, buffers) = protocol::run_request(2, &vector(&[0.5]).inputs, |_| None);
    let Response::Ran { outputs, .. } = ask(run, &buffers) else { panic!("must run") };
    let outputs = protocol::read_outputs(&mut &ours, outputs).unwrap();
    assert_eq!(outputs[0].tensor.as_slice::<f32>().unwrap(), [0.5]);
    assert!(matches!(ask(Request::Discard { instance: 2 }, &[]), Response::Done));
    assert_eq!(seen.live(), 0, "a discarded instance must be dropped");
    drop(ours);
    child.join().unwrap().unwrap();
}

#[test]
fn a_model_runs_in_the_child() {
    let loader = RemoteLoader::new(ourselves());
    let model = loader.load(&artifact(), &CPU).unwrap();
    assert_eq!(model.signature(), obedient().signature());
    let mut engine = model.instance().unwrap();
    let outcome = engine.run(vector(&[0.5, 7.5])).unwrap();
    assert_eq!(outcome.outputs[0].tensor.as_slice::<f32>().unwrap(), [0.5, 7.5]);
    fails(engine.run(vector(&[1.0])), Fault::Internal, "the engine panicked: as told");
    fails(engine.run(vector(&[2.0])), Fault::Raised, "no way");
    assert!(engine.run(vector(&[8.0])).is_ok(), "what a model prints must not get in the way");
    let large = vec![0.0; 1 << 20];
    assert!(engine.run(vector(&large)).is_ok(), "a large input must pass both ways");

    let first = pid(&loader).unwrap();
    let second = loader.load(&artifact(), &CPU).unwrap();
    assert_eq!(pid(&loader), Some(first), "one child must try all models in turn");
    drop((engine, model, second));
    drop(loader);
    assert!(is_gone(first), "the child must go with its loader");
}

#[test]
fn the_child_opens_nothing_and_starts_nothing() {
    let loader = RemoteLoader::new(ourselves());
    let mut engine = loader.load(&artifact(), &CPU).unwrap().instance().unwrap();
    let expected = "[false, false, false, false, false, true]";
    fails(engine.run(vector(&[5.0])), Fault::Raised, expected);
    assert!(!forbidden_file().exists(), "not even an empty file");
}

#[track_caller]
fn dies(options: RemoteOptions, order: f32, fault: Fault, text: &str) {
    let loader = RemoteLoader::new(options);
    let model = loader.load(&artifact(), &CPU).unwrap();
    let mut engine = model.instance().unwrap();
    let first = pid(&loader).unwrap();
    fails(engine.run(vector(&[order])), fault, text);
    assert!(is_gone(first), "a child that failed must be reaped");
    fails(engine.run(vector(&[0.0])), Fault::Died(Death::Crashed), "is gone");
    let again = loader.load(&artifact(), &CPU).unwrap();
    assert!(again.instance().unwrap().run(vector(&[0.0])).is_ok(), "a new child must take over");
    fails(engine.run(vector(&[0.0])), Fault::Died(Death::Crashed), "is gone");
}

#[test]
fn a_death_is_explained_and_the_child_replaced() {
    dies(ourselves(), 3.0, Fault::Died(Death::Crashed), "SIGABRT");
    dies(ourselves(), 7.0, Fault::Device, "sticky");
    dies(ourselves(), 9.0, Fault::Died(Death::Crashed), "exited with code 3");
}

#[test]
fn memory_and_time_are_limited() {
    let memory_bytes = Some(512 << 20);
    dies(
        RemoteOptions { memory_bytes, ..ourselves() },
        6.0,
        Fault::Died(Death::Crashed),
        "SIGABRT",
    );
    let processor_time = Some(Duration::from_secs(1));
    let spin = RemoteOptions { processor_time, ..ourselves() };
    dies(spin, 4.0, Fault::Died(Death::Terminated), "SIGXCPU");
}

#[test]
fn a_run_that_hangs_is_ended() {
    // The time is for the load too, which takes its own on a slow machine.
    let mut timeout = Duration::from_secs(1);
    let mut engine = loop {
        let loader = RemoteLoader::new(RemoteOptions { timeout, ..ourselves() });
        match loader.load(&artifact(), &CPU).and_then(|model| model.instance()) {
            Ok(engine) => break engine,
            Err(error) => assert_eq!(error.fault, Fault::TimedOut, "{error}"),
        }
        timeout *= 2;
        assert!(timeout < AMPLE, "a model must load within {AMPLE:?}");
    };
    let message = format!("did not answer within {} s", timeout.as_secs());
    fails(engine.run(vector(&[4.0])), Fault::TimedOut, &message);
    fails(engine.run(vector(&[0.0])), Fault::Died(Death::Crashed), "is gone");
}

#[test]
fn a_run_that_nobody_waits_for_is_ended() {
    let loader = RemoteLoader::new(ourselves());
    let model = loader.load(&artifact(), &CPU).unwrap();
    let mut engine = model.instance().unwrap();
    let until = |deadline, values: &[f32]| Batch { deadline, ..vector(values) };
    let soon = Instant::now() + AMPLE;
    assert!(engine.run(until(Some(soon), &[0.0])).is_ok(), "in time");
    let passed = Some(Instant::now());
    assert!(engine.run(until(passed, &[0.0])).is_ok(), "it ends by itself within the grace");
    let text = "did not answer before the deadline of its requests";
    fails(engine.run(until(passed, &[4.0])), Fault::TimedOut, text);
    fails(engine.run(vector(&[0.0])), Fault::Died(Death::Crashed), "is gone");
}

#[test]
fn programs_that_are_no_child_are_reported() {
    let long = AMPLE;
    let load = |script: &str, timeout| shell(script, timeout).load(&artifact(), &CPU).map(drop);
    fails(load("kill -SEGV $$", long), Fault::Died(Death::Crashed), "SIGSEGV");
    for (signal, death) in [
        ("TERM", Death::Terminated),
        ("INT", Death::Terminated),
        ("HUP", Death::Terminated),
        ("QUIT", Death::Terminated),
        ("KILL", Death::OutOfMemory),
    ] {
        fails(
            load(&format!("kill -{signal} $$"), long),
            Fault::Died(death),
            &format!("SIG{signal}"),
        );
    }
    fails(load("exit 7", long), Fault::Died(Death::Crashed), "exited with code 7");
    fails(load("cat /dev/zero >&0", long), Fault::Died(Death::Crashed), "sent no answer but");
    // It lives on, so that what is reported is what it sent and not its end.
    fails(
        load("printf '\\377\\377\\377\\377' >&0; exec sleep 1000", long),
        Fault::Died(Death::Crashed),
        "a header of 4294967295",
    );
    fails(
        load("printf '\\4\\0\\0\\0none' >&0; exec sleep 1000", long),
        Fault::Died(Death::Crashed),
        "sent no answer",
    );
    fails(
        load("exec 0<&- ; exec sleep 1000", long),
        Fault::Died(Death::Crashed),
        "closed its connection",
    );
    let short = Duration::from_millis(200);
    fails(load("exec sleep 1000", short), Fault::TimedOut, "did not answer within 0.2 s");
    fails(load("sleep 1000 & sleep 1000", short), Fault::TimedOut, "0.2 s");
    fails(load("cat /dev/zero", short), Fault::TimedOut, "0.2 s");
    let program = PathBuf::from("/nowhere/sconce");
    let nowhere = RemoteLoader::new(RemoteOptions { program, ..ourselves() });
    fails(nowhere.load(&artifact(), &CPU), Fault::Internal, "cannot start");
}

#[test]
fn a_child_that_does_not_read_does_not_hold_the_writer() {
    let options = RemoteOptions { timeout: Duration::from_millis(300), ..ourselves() };
    let script = PathBuf::from("/bin/sh");
    let arguments = vec!["-c".into(), "exec sleep 1000".into()];
    let process = Process::spawn(&RemoteOptions { program: script, arguments, ..options }).unwrap();
    let (request, buffers) =
        protocol::run_request(1, &vector(&vec![0.0; 8 << 20]).inputs, |_| None);
    let deadline = Instant::now() + Duration::from_millis(300);
    let error = process
        .call(Message { request: &request, buffers: &buffers, files: Vec::new() }, deadline)
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn hundreds_of_deaths_leave_nothing_behind() {
    const N_DEATHS: usize = 300;
    let loader = shell("exit 1", AMPLE);
    assert!(loader.load(&artifact(), &CPU).is_err());
    let before = open_descriptors();
    for _ in 0..N_DEATHS {
        assert!(loader.load(&artifact(), &CPU).is_err());
        assert_eq!(pid(&loader), None, "no child may be kept after its death");
    }
    // Other tests run beside this one and have some of their own, the listener's a hundred.
    assert!(open_descriptors() < before + N_DEATHS, "descriptors must not leak");
}
