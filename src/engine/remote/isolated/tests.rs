//! A model in a child of its own: how it lives, and what is left when it dies.

use super::*;
use crate::engine::Death;
use crate::engine::remote::tests::{
    AMPLE, CPU, artifact, fails, is_gone, open_descriptors, ourselves, vector,
};
use crate::testing::until;
use std::fs;
use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What the first value of a batch has the model do; see `obedient`.
const ABORT: f32 = 3.0;
const SPIN: f32 = 4.0;
const CHATTER: f32 = 8.0;
/// Says its process id as its answer.
const WHO: f32 = 10.0;

const ENDED: Fault = Fault::Died(Death::Crashed);
const BEFORE: Fault = Fault::Died(Death::Before);

fn loader(max_deaths: usize) -> IsolatedLoader {
    IsolatedLoader::new(IsolationOptions { child: ourselves(), max_deaths })
}

fn load(max_deaths: usize) -> Box<dyn Model> {
    loader(max_deaths).load(&artifact(), &CPU).unwrap()
}

fn values(engine: &mut dyn Engine, input: &[f32]) -> Vec<f32> {
    let outcome = engine.run(vector(input)).unwrap();
    outcome.outputs[0].tensor.as_slice::<f32>().unwrap().to_vec()
}

/// The process in which an engine runs.
fn pid(engine: &mut dyn Engine) -> u32 {
    values(engine, &[WHO])[0] as u32
}

#[test]
fn instances_run_beside_each_other_in_one_child() {
    let model = load(0);
    assert!(model.is_isolated());
    let [mut first, mut second] = [(); 2].map(|()| model.instance().unwrap());
    assert_eq!(values(&mut *first, &[0.5, 7.5]), [0.5, 7.5]);
    let pid = pid(&mut *first);
    assert_eq!(self::pid(&mut *second), pid);
    assert_ne!(pid, std::process::id());
    assert!(first.run(vector(&[CHATTER])).is_ok(), "what it prints is not in the way");
    fails(first.run(vector(&[2.0])), Fault::Raised, "no way");
    fails(first.run(vector(&[1.0])), Fault::Internal, "the engine panicked: as told");
    let nothing = format!("[{}false]", "false, ".repeat(5));
    fails(first.run(vector(&[5.0])), Fault::Raised, &nothing);
    let mut third = model.instance().unwrap();
    fails(third.run(vector(&[5.0])), Fault::Raised, &nothing);
    assert_eq!(values(&mut *third, &[0.5]), [0.5], "threads start, and files of ours come in");
    drop(third);
    let large: Vec<f32> = (0..1 << 20).map(|it| it as f32 + 0.5).collect();
    let other = large.iter().map(|it| it + 100.0).collect::<Vec<_>>();
    thread::scope(|scope| {
        for (engine, input) in [(&mut first, &large), (&mut second, &other)] {
            scope.spawn(move || {
                for _ in 0..5 {
                    assert!(values(&mut **engine, input) == **input, "each gets its own");
                }
            });
        }
    });
    drop(model);
    assert_eq!(values(&mut *second, &[0.5]), [0.5], "an instance holds what it needs");
    drop((first, second));
    assert!(is_gone(pid), "the child must go with the last of them");
}

#[test]
fn a_death_is_told_once_and_the_next_instance_has_another_child() {
    let model = load(1);
    let (tell, told) = mpsc::channel();
    model.watch_deaths(Box::new(move |end| tell.send(end.clone()).unwrap()));
    let [mut first, mut second] = [(); 2].map(|()| model.instance().unwrap());
    let before = pid(&mut *first);
    fails(first.run(vector(&[ABORT])), ENDED, "SIGABRT");
    fails(second.run(vector(&[0.5])), BEFORE, "SIGABRT");
    assert!(is_gone(before), "it must be reaped");
    let mut next = model.instance().unwrap();
    let after = pid(&mut *next);
    assert_ne!(before, after);
    fails(first.run(vector(&[0.5])), BEFORE, "SIGABRT");
    assert_eq!(told.try_iter().map(|end| end.fault).collect::<Vec<_>>(), [ENDED]);

    let kill = rustix::process::Pid::from_raw(after.cast_signed()).unwrap();
    rustix::process::kill_process(kill, rustix::process::Signal::KILL).unwrap();
    // It may still live for a moment, and then dies in the run.
    let end = next.run(vector(&[0.5])).expect_err("it was killed");
    assert!(matches!(end.fault, Fault::Died(_)) && end.message.contains("SIGKILL"), "{end:?}");
    fails(model.instance().map(drop), ENDED, "died 2 times within a minute, at most 1");
    assert_eq!(
        told.try_iter().map(|end| end.fault).collect::<Vec<_>>(),
        [Fault::Died(Death::OutOfMemory)]
    );
}

#[test]
fn a_child_that_died_unseen_is_replaced() {
    let model = load(1);
    let before = pid(&mut *model.instance().unwrap());
    let kill = rustix::process::Pid::from_raw(before.cast_signed()).unwrap();
    rustix::process::kill_process(kill, rustix::process::Signal::KILL).unwrap();
    // Until the kernel has ended it, it may still be found alive, and the instance then dies with it.
    let mut engine = model.instance().unwrap();
    let values = engine.run(vector(&[0.5])).or_else(|_| model.instance()?.run(vector(&[0.5])));
    assert_eq!(values.unwrap().outputs[0].tensor.as_slice::<f32>().unwrap(), [0.5]);
}

#[test]
fn a_run_that_has_had_its_time_is_ended() {
    let model = load(1);
    let [mut first, mut second] = [(); 2].map(|()| model.instance().unwrap());
    let before = pid(&mut *first);
    let until = |at, values: &[f32]| Batch { until: Some(at), ..vector(values) };
    assert!(first.run(until(Instant::now() + AMPLE, &[0.5])).is_ok());
    let soon = Instant::now() + Duration::from_millis(50);
    fails(first.run(until(soon, &[SPIN])), Fault::TimedOut, "before the deadline");
    assert!(is_gone(before));
    fails(second.run(vector(&[0.5])), BEFORE, "before the deadline");
    assert_eq!(values(&mut *model.instance().unwrap(), &[0.5]), [0.5]);
}

#[test]
fn a_child_that_somebody_stopped_is_ended_and_its_input_not_blamed() {
    let model = load(1);
    let mut engine = model.instance().unwrap();
    let before = pid(&mut *engine);
    let stopped = rustix::process::Pid::from_raw(before.cast_signed()).unwrap();
    rustix::process::kill_process(stopped, rustix::process::Signal::STOP).unwrap();
    // Each of its threads stops when the kernel comes to it.
    until("all its threads have stopped", || {
        let threads = fs::read_dir(format!("/proc/{before}/task")).unwrap().flatten();
        let mut states = threads.map(|it| fs::read_to_string(it.path().join("stat")).unwrap());
        states.all(|stat| stat.rsplit_once(") ").is_some_and(|(_, it)| it.starts_with('T')))
    });
    let soon = Some(Instant::now() + Duration::from_millis(50));
    let outcome = engine.run(Batch { until: soon, ..vector(&[0.5]) });
    fails(outcome, Fault::Died(Death::Terminated), "stopped by a signal");
    assert!(is_gone(before));
    assert_eq!(values(&mut *model.instance().unwrap(), &[0.5]), [0.5]);
}

#[test]
fn a_file_that_changed_is_not_loaded_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    fs::write(&path, "as it was tried").unwrap();
    let artifact = Artifact { path: path.clone(), ..artifact() };
    let model = loader(9).load(&artifact, &CPU).unwrap();
    let mut engine = model.instance().unwrap();
    fs::File::options().append(true).open(&path).unwrap().write_all(b"!").unwrap();
    assert_eq!(values(&mut *engine, &[0.5]), [0.5], "what is loaded goes on");
    fails(engine.run(vector(&[ABORT])), ENDED, "SIGABRT");
    fails(model.instance().map(drop), Fault::InvalidFile, "changed since it was loaded");
}

#[test]
fn a_file_whose_name_another_takes_is_loaded_again() {
    let folder = tempfile::tempdir().unwrap();
    let [path, newer] = ["model.pt", "newer"].map(|name| folder.path().join(name));
    fs::write(&path, "as it was tried").unwrap();
    fs::write(&newer, "a newer version").unwrap();
    let artifact = Artifact { path: path.clone(), ..artifact() };
    let model = loader(9).load(&artifact, &CPU).unwrap();
    fails(model.instance().unwrap().run(vector(&[ABORT])), ENDED, "SIGABRT");
    fs::rename(&newer, &path).unwrap();
    assert_eq!(values(&mut *model.instance().unwrap(), &[0.5]), [0.5]);
}

#[test]
fn a_hundred_deaths_leave_nothing_behind() {
    const N_DEATHS: usize = 100;
    let model = load(N_DEATHS);
    let before = open_descriptors();
    for _ in 0..N_DEATHS {
        let mut engine = model.instance().unwrap();
        let pid = pid(&mut *engine);
        fails(engine.run(vector(&[ABORT])), ENDED, "SIGABRT");
        assert!(is_gone(pid), "no child may be left after its death");
    }
    // Other tests run beside this one and have some of their own.
    assert!(open_descriptors() < before + N_DEATHS, "descriptors must not leak");
}
