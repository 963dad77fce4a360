//! The trial is the server: what a model finds around it in the child is what it finds in the server, where nothing says why not.

use crate::harness::{Models, Server, Settings};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Limits of the child alone: on its memory, its processor time, its descriptors, and on what it may write.
const OWN_LIMITS: &[&str] =
    &["Max core file size", "Max cpu time", "Max data size", "Max file size", "Max open files"];

/// Variables that change what libtorch and the libraries under it compute, or how.
const VARIABLES: &[(&str, &str)] = &[
    ("ATEN_CPU_CAPABILITY", "default"),
    ("C10_LOG_LEVEL", "2"),
    ("DNNL_VERBOSE", "0"),
    ("GLIBC_TUNABLES", "glibc.malloc.check=0"),
    ("GOMP_SPINCOUNT", "1000"),
    ("KMP_BLOCKTIME", "0"),
    ("MALLOC_CONF", "narenas:4"),
    ("MKL_CBWR", "COMPATIBLE"),
    ("OMP_DYNAMIC", "false"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("PYTORCH_JIT_LOG_LEVEL", ""),
    ("TORCH_SHOW_CPP_STACKTRACES", "0"),
];

/// A process, as the kernel tells of it.
struct Process(PathBuf);

impl Process {
    fn of(id: u32) -> Self {
        Self(PathBuf::from("/proc").join(id.to_string()))
    }

    fn read(&self, file: &str) -> String {
        let path = self.0.join(file);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The child that tries models.
    fn child(&self) -> Self {
        let parent = self.0.file_name().unwrap().to_str().unwrap().to_owned();
        let mut processes = fs::read_dir("/proc").unwrap().flatten().map(|it| Self(it.path()));
        let is_child = |it: &Self| {
            let stat = fs::read_to_string(it.0.join("stat")).unwrap_or_default();
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            fields.split_whitespace().nth(1) == Some(&*parent)
        };
        processes.find(is_child).expect("the child stays for the next model")
    }

    fn limits(&self) -> BTreeMap<String, String> {
        let lines = self.read("limits");
        let limit = |line: &str| {
            let (name, figures) = line.split_at_checked(26)?;
            Some((name.trim().to_owned(), figures.split_whitespace().collect::<Vec<_>>().join(" ")))
        };
        lines.lines().skip(1).filter_map(limit).collect()
    }

    /// The size of the stack of the first thread of this name; `None` where the kernel does not tell where it waits.
    fn stack_bytes(&self, name: &str) -> Option<u64> {
        let tasks = fs::read_dir(self.0.join("task")).unwrap().flatten();
        let mut named = tasks.filter(|it| {
            fs::read_to_string(it.path().join("comm")).unwrap_or_default().trim() == name
        });
        let task = named.next().unwrap_or_else(|| panic!("there is a thread {name:?}"));
        let call = fs::read_to_string(task.path().join("syscall")).ok()?;
        let pointer = call.split_whitespace().rev().nth(1)?.strip_prefix("0x")?;
        let pointer = u64::from_str_radix(pointer, 16).ok()?;
        self.read("maps").lines().find_map(|line| {
            let (begin, end) = line.split_whitespace().next()?.split_once('-')?;
            let [begin, end] = [begin, end].map(|it| u64::from_str_radix(it, 16).unwrap());
            (begin..end).contains(&pointer).then(|| end - begin)
        })
    }
}

#[test]
fn the_trial_finds_what_the_server_has() {
    let state = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(Models::new().fixture("tabular"))
        .set(format!("state_dir={}", state.path().display()));
    for (name, value) in VARIABLES {
        settings = settings.variable(name, value);
    }
    let server: Server = settings.ready();
    let here = Process::of(server.id());
    let there = here.child();

    let variables = there.read("environ");
    let variables: Vec<_> = variables.split('\0').collect();
    for (name, value) in VARIABLES {
        assert!(variables.contains(&&*format!("{name}={value}")), "{name} must hold in the trial");
    }
    let (ours, theirs) = (here.limits(), there.limits());
    assert!(ours.len() >= 15, "{ours:?}");
    for (name, limit) in ours {
        if !OWN_LIMITS.contains(&&*name) {
            assert_eq!(theirs[&name], limit, "{name} must be the same in the trial");
        }
    }
    // Less than the server's threads have: what fits there, fits here.
    if let (Some(ours), Some(theirs)) = (here.stack_bytes("tabular/1"), there.stack_bytes("trial"))
    {
        assert_eq!((ours >> 20, theirs >> 20), (16, 14), "MiB of stack");
    }
}
