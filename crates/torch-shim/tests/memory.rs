//! Nothing may be left behind by calls that fail, nor by those that do not. A process of its own with one test: the
//! memory of others must not count.

#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use tch::{Kind, Tensor};
use torch_shim::{IValue, Module, Slot, TensorBytes, tensor_from_owner};

const CALLS: usize = 10_000;
const MIB: usize = 1 << 20;
// One leaked handle a call is 2 MB and more, one leaked input 20 GB.
const SLACK: usize = 4 * MIB;

/// Zeros, aligned as floats are.
struct Zeros(Vec<f32>);

impl AsRef<[u8]> for Zeros {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: floats are plain bytes, four each.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 4) }
    }
}

/// A new tensor every time, as requests bring them: a leaked reference would keep all of its memory.
fn zeros(count: usize) -> Tensor {
    let shape = [i64::try_from(count).unwrap()];
    tensor_from_owner(Zeros(vec![0.; count]), &shape, Kind::Float).unwrap()
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[track_caller]
fn check(what: &str, body: impl Fn()) {
    // Allocators and the executor's profiles settle first.
    (0..500).for_each(|_| body());
    let before = resident();
    (0..CALLS).for_each(|_| body());
    let grown = resident().saturating_sub(before);
    assert!(grown < SLACK, "{CALLS} {what} must not grow memory, grew it by {} KiB", grown / 1024);
}

#[test]
fn calls_leave_nothing_behind() {
    let source = "def forward(self, x):\n    y = x + 1\n    assert False, \"no\"\n    return y\n\
                  def inner(self, x):\n    return torch.mm(x, x)\n\
                  def good(self, x):\n    return {\"a\": [x + self.w], \"b\": [x, x]}\n\
                  def foreign(self, x):\n    return ([x + 1], x.device)\n";
    let slots = vec![("w", Slot::Parameter(zeros(1)))];
    let module = Module::define_with("", source, slots).unwrap();
    let fails = |method: &str, argument: IValue| assert!(module.run(method, &[argument]).is_err());

    check("raises with inputs of 2 MiB", || fails("forward", zeros(2 * MIB / 4).into()));
    check("failing operators", || fails("inner", zeros(1024).into()));
    check("wrong arguments", || fails("inner", IValue::List(vec![zeros(1024).into()])));
    check("answers without a form", || fails("foreign", zeros(1024).into()));
    check("good answers", || drop(module.run("good", &[zeros(1024).into()]).unwrap()));
    check("answers read as bytes", || match module.run("good", &[zeros(1024).into()]) {
        Ok(IValue::Dict(pairs)) => {
            for (_, value) in pairs {
                let IValue::List(tensors) = value else { panic!("must be a list") };
                for tensor in tensors {
                    let IValue::Tensor(tensor) = tensor else { panic!("must be a tensor") };
                    assert_eq!(TensorBytes::new(tensor).unwrap().as_ref().len(), 4096);
                }
            }
        }
        other => panic!("must be a dictionary: {other:?}"),
    });
}
