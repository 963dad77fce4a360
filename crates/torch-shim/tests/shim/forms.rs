//! Modules in other datatypes and layouts, and operators that cast.

use tch::Kind;
use torch_shim::{ErrorClass, IValue, Module, Slot, TorchDevice, cast, tensor_kind};

use crate::{floats, floats_of};

fn kind_of(value: &IValue) -> Kind {
    let IValue::Tensor(tensor) = value else { panic!("must be a tensor, is {value:?}") };
    tensor_kind(tensor).unwrap()
}

fn product() -> Module {
    let weight = Slot::Parameter(floats(&[1., 2., 3., 4.], &[2, 2]));
    let source = "def forward(self, x):\n    return torch.matmul(x, self.weight)\n";
    Module::define_with("", source, vec![("weight", weight)]).unwrap()
}

#[test]
fn autocast_holds_for_one_run_and_its_thread() {
    let module = product();
    let x = || [IValue::Tensor(floats(&[1., 1.], &[1, 2]))];
    assert_eq!(kind_of(&module.run("forward", &x()).unwrap()), Kind::Float);
    let answer =
        module.run_with_autocast("forward", &x(), TorchDevice::Cpu, Kind::BFloat16).unwrap();
    assert_eq!(kind_of(&answer), Kind::BFloat16);
    let IValue::Tensor(answer) = answer else { unreachable!() };
    assert_eq!(floats_of(IValue::Tensor(cast(&answer, Kind::Float).unwrap())), [4., 6.]);
    assert_eq!(kind_of(&module.run("forward", &x()).unwrap()), Kind::Float, "it must end");

    let failing = Module::define("def forward(self, x):\n    return torch.matmul(x, x)\n").unwrap();
    let error = failing.run_with_autocast("forward", &x(), TorchDevice::Cpu, Kind::BFloat16);
    assert_eq!(error.unwrap_err().class, ErrorClass::Raised);
    assert_eq!(kind_of(&module.run("forward", &x()).unwrap()), Kind::Float, "also by a failure");
    let error = module.run_with_autocast("forward", &x(), TorchDevice::Cpu, Kind::Int).unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidArgument);
}

#[test]
fn another_layout_is_the_same_numbers() {
    let weights: Vec<f32> = (0..16).map(|number| number as f32).collect();
    let source = "def forward(self, x):\n    return torch.conv2d(x, self.weight)\n";
    let slots = vec![("weight", Slot::Parameter(floats(&weights, &[4, 4, 1, 1])))];
    let module = Module::define_with("", source, slots).unwrap();
    let x: Vec<f32> = (0..36).map(|number| (number % 7) as f32).collect();
    let run = |module: &Module| {
        floats_of(module.run("forward", &[floats(&x, &[1, 4, 3, 3]).into()]).unwrap())
    };
    let expected = run(&module);
    let recast = module.recast(None, true).unwrap();
    assert_eq!(run(&recast), expected);
    assert_eq!(run(&recast.freeze(&[]).unwrap()), expected);
    assert_eq!(run(&module), expected, "the module itself must stay as it is");
    assert_eq!(recast.parameters().unwrap()[0].datatype, Some(Kind::Float));
    let bf16 = module.recast(Some(Kind::BFloat16), true).unwrap();
    assert_eq!(bf16.parameters().unwrap()[0].datatype, Some(Kind::BFloat16));
}

#[test]
fn what_raises_in_a_frozen_module_reads_nothing_that_was_freed() {
    // The functions that are inlined are gone when the module raises; their names must not be asked for.
    let functions: String = (0..40)
        .map(|it| {
            let inner = if it == 0 {
                "torch.matmul(x, w)".to_owned()
            } else {
                format!("f{}(x, w)", it - 1)
            };
            format!("def f{it}(x, w):\n    return {inner} + {it}\n")
        })
        .collect();
    let source = "def forward(self, x):\n    return f39(x, self.weight)\n";
    let weight = || vec![("weight", Slot::Parameter(floats(&[1., 2., 3., 4.], &[2, 2])))];
    let formed: [fn(&Module) -> Module; 2] =
        [|it| it.freeze(&[]).unwrap(), |it| it.optimize_for_inference(&[]).unwrap()];
    for form in formed {
        let module = Module::define_with(&functions, source, weight()).unwrap();
        let formed = form(&module);
        drop(module);
        let good = floats(&[1., 1.], &[1, 2]);
        for _ in 0..3 {
            assert_eq!(
                floats_of(formed.run("forward", &[good.shallow_clone().into()]).unwrap()),
                [784., 786.]
            );
            let error = formed.run("forward", &[floats(&[1.], &[1, 1]).into()]).unwrap_err();
            assert_eq!(error.class, ErrorClass::Raised, "{error:?}");
        }
    }
}

#[test]
fn gradients_are_there_for_code_that_runs_for_them() {
    let source = "def forward(self, x):\n    y = torch.requires_grad_(torch.detach(x))\n    \
                  z = torch.sum(y * y * y)\n    return torch.grad([z], [y])\n";
    let module = Module::define(source).unwrap();
    let x = || [IValue::Tensor(floats(&[1., 2.], &[2]))];
    assert!(module.run("forward", &x()).is_err(), "inference mode keeps no graph");
    let answer = module.run_with_gradients("forward", &x()).unwrap();
    let IValue::List(mut gradients) = answer else { panic!("must be a list, is {answer:?}") };
    assert_eq!(floats_of(gradients.remove(0)), [3., 12.]);
}
