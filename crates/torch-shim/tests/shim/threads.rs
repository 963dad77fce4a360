//! Calls from several threads, and the threads' own settings.

use std::sync::Arc;
use std::thread;

use torch_shim::{Module, Slot};

use crate::{floats, floats_of};

#[test]
fn threads_share_a_module_without_state() {
    let source = "def forward(self, x):\n    return torch.relu(torch.matmul(x, self.w))\n";
    let weight = Slot::Parameter(floats(&[2., 0., 0., 2.], &[2, 2]));
    let module = Arc::new(Module::define_with("", source, vec![("w", weight)]).unwrap());
    torch_shim::set_fusion_strategy(2, 2).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let module = Arc::clone(&module);
            thread::spawn(move || {
                torch_shim::set_intra_op_threads(1).unwrap();
                let x = f32::from(u8::try_from(number).unwrap());
                for _ in 0..500 {
                    let answer =
                        module.run("forward", &[floats(&[x, -1.], &[1, 2]).into()]).unwrap();
                    assert_eq!(floats_of(answer), [2. * x, 0.]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn thread_counts_are_checked() {
    assert!(torch_shim::set_intra_op_threads(0).is_err());
}

#[test]
fn what_a_model_forks_runs_where_it_forks() {
    torch_shim::fork_in_place();
    torch_shim::fork_in_place();
    let functions = "def twice(x):\n    print(\"twice\")\n    return x * 2\n\
                     def bad(x):\n    return torch.mm(x, x)\n\
                     def four(x):\n    return torch.wait(fork(twice, torch.wait(fork(twice, x))))\n";
    let methods = "def forward(self, x):\n    a = fork(four, x)\n    b = [fork(twice, x) for _ in range(3)]\n    \
                   y = torch.wait(a)\n    for f in b:\n        y = y + torch.wait(f)\n    return y\n\
                   def fails(self, x):\n    return torch.wait(fork(bad, x))\n";
    let module = Module::define_with(functions, methods, vec![]).unwrap();
    let answer = module.run("forward", &[floats(&[1.], &[1]).into()]).unwrap();
    assert_eq!(floats_of(answer), [10.]);
    let error = module.run("fails", &[floats(&[1.], &[1]).into()]).unwrap_err();
    assert!(error.message.contains("must be a matrix"), "{error}");
}
