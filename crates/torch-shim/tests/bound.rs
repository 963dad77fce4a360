//! What a model takes is bounded. A process of its own: the bound is one for all of it.

#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::thread;

use torch_shim::{
    Allocator, ErrorClass, IValue, MemoryBounds, Module, TensorBytes, bound_memory, fork_in_place,
};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

const MIB: u64 = 1 << 20;

/// Each takes as many MiB as it is told.
const FUNCTIONS: &str = "def ones(n: int):\n    return torch.ones([n, 262144]).sum()\n";
const METHODS: &str = "def tensor(self, n: int):\n    return ones(n)\n\
    def numbers(self, n: int):\n    x = [0]\n    for i in range(n * 65536):\n        x.append(i)\n    return len(x)\n\
    def pieces(self, n: int):\n    x = [[0]]\n    for i in range(n * 8000):\n        x.append([i])\n    return len(x)\n\
    def folded(self, n: int):\n        if n == 7:\n            return torch.ones([3000, 1000, 1000]).sum() + n\n        return torch.ones([n]).sum()\n\
    def expanded(self, n: int):\n    return torch.ones([1, 1]).expand([n, 262144])\n\
    def forked(self, n: int):\n    return torch.wait(fork(ones, n))\n";

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn resident() -> u64 {
    status("RssAnon:")
}

fn peak() -> u64 {
    status("VmHWM:")
}

#[test]
fn a_run_takes_no_more_than_there_is_room_for() {
    fork_in_place();
    let module = Module::define_with(FUNCTIONS, METHODS, Vec::new()).unwrap();
    let run = |method: &str, mib: u64| module.run(method, &[IValue::Int(mib.try_into().unwrap())]);
    run("tensor", 1).unwrap();
    let before = resident();
    let process = before + 512 * MIB;
    bound_memory(MemoryBounds { process, buffers: 128 * MIB, runs: 2 });

    for method in ["tensor", "numbers", "pieces", "forked"] {
        run(method, 60).unwrap();
        let error = run(method, 100_000).unwrap_err();
        assert_eq!(error.class, ErrorClass::OutOfMemory, "{method}: {error}");
        assert!(error.message.contains("no room for"), "{method}: {error}");
        run(method, 60).unwrap();
    }
    let IValue::Tensor(tensor) = run("expanded", 100_000).unwrap() else { panic!("a tensor") };
    let error = TensorBytes::new(tensor).unwrap_err();
    assert_eq!(error.class, ErrorClass::OutOfMemory, "{error}");
    assert!(resident() < process, "what was refused must not have been taken");

    // libtorch makes what no run asks for, while it folds constants, and goes on when that is refused.
    let before = peak();
    for _ in 0..4 {
        drop(run("folded", 1));
    }
    assert!(
        peak() < before + 512 * MIB,
        "a branch that is never taken must take no more than a run may"
    );

    // Together they would not fit: one of them or both are refused, nobody dies.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    match run("tensor", 200) {
                        Ok(_) => {}
                        Err(error) => assert_eq!(error.class, ErrorClass::OutOfMemory, "{error}"),
                    }
                }
            });
        }
    });
    assert!(resident() < process, "two must not take the same room");

    // What was freed in other pieces than the next run needs must not stay beside it.
    for mib in [60, 100, 150, 200, 230] {
        run("tensor", mib).unwrap();
        assert!(resident() < process, "{} MiB of {} after {mib}", resident() >> 20, process >> 20);
    }

    // What a run is sure of, it gets whatever others hold.
    let held = vec![0_u8; 100 << 20];
    let taken: Vec<_> = (0..3).map(|_| run("tensor", 90)).collect();
    assert!(taken.iter().all(Result::is_ok), "buffers are kept room for: {taken:?}");
    run("tensor", 20).unwrap();
    drop(held);
}

#[test]
fn large_buffers_go_back_at_once() {
    let before = resident();
    let buffers: Vec<_> = (0..64).map(|_| vec![1_u8; 1 << 20]).collect();
    assert!(resident() >= before + 60 * MIB, "they are touched");
    drop(buffers);
    let mut grown = vec![1_u8; 1000];
    for size in [100_000, 300_000, 3_000_000, 600_000, 2_000] {
        grown.resize(size, 1);
        grown.shrink_to_fit();
    }
    assert!(grown.iter().all(|byte| *byte == 1), "what moves is the same");
}
