//! Divisions of integers that the processor refuses fail the call that they stand in, and nothing else.

use std::thread;

use tch::Kind;
use torch_shim::{Error, ErrorClass, IValue, Module, catch_traps, tensor_from_owner};

use crate::{Aligned, floats, floats_of};

const SOURCE: &str = "def over(self, a: int, b: int):\n    return a // b\n\
    def rest(self, a: int, b: int):\n    return a % b\n\
    def both(self, a: int, b: int):\n    return divmod(a, b)\n\
    def each(self, a, b):\n    return torch.div(a, b, rounding_mode=\"trunc\")\n\
    def fine(self, x):\n    return x * 2\n";

fn integers(values: &[i64]) -> IValue {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let shape = [i64::try_from(values.len()).unwrap()];
    tensor_from_owner(Aligned::new(&bytes), &shape, Kind::Int64).unwrap().into()
}

#[track_caller]
fn is_told(outcome: Result<IValue, Error>) {
    let error = outcome.expect_err("there is no answer");
    assert_eq!(error.class, ErrorClass::Raised, "{error}");
    assert!(error.message.to_lowercase().contains("division"), "{error}");
}

#[test]
fn a_division_that_traps_fails_its_call_alone() {
    catch_traps();
    let module = Module::define(SOURCE).unwrap();
    let numbers =
        |method: &str, a: i64, b: i64| module.run(method, &[IValue::Int(a), IValue::Int(b)]);
    for (a, b) in [(1, 0), (i64::MIN, -1), (0, 0)] {
        for method in ["over", "rest", "both"] {
            is_told(numbers(method, a, b));
        }
    }
    assert!(matches!(numbers("over", -7, 2), Ok(IValue::Int(-4))), "as Python divides");
    assert!(matches!(numbers("rest", -7, 2), Ok(IValue::Int(1))));
    // With one element and with as many as vectorized code takes at once, of 32 and 64 bits.
    for count in [1, 64] {
        let smallest = integers(&vec![i64::MIN; count]);
        is_told(module.run("each", &[smallest, integers(&vec![-1; count])]));
        is_told(module.run("each", &[integers(&vec![1; count]), integers(&vec![0; count])]));
    }
    assert_eq!(floats_of(module.run("fine", &[floats(&[4.], &[1]).into()]).unwrap()), [8.]);
}

#[test]
fn a_trap_is_not_that_of_another_thread() {
    catch_traps();
    let module = Module::define(SOURCE).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..1000 {
                is_told(module.run("rest", &[IValue::Int(1), IValue::Int(0)]));
            }
        });
        for _ in 0..1000 {
            let answer = module.run("fine", &[floats(&[4.], &[1]).into()]);
            assert_eq!(floats_of(answer.unwrap()), [8.]);
        }
    });
}
