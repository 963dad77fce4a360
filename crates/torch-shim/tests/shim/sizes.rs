//! Sizes that code or a client gives beside a tensor are held against it once a model has been loaded.

use torch_shim::{Device, Error, Module, Value};

use crate::{ScratchFile, floats, floats_of};

const SOURCE: &str = "def circular(self, x, a: int, b: int):\n    return torch.pad(x * 1, [a, b], \"circular\")\n\
    def circular_in_rows(self, x, a: int, b: int):\n    return torch.pad(x, [0, 0, a, b], \"circular\")\n\
    def reflected(self, x, a: int, b: int, n: int):\n    \
        q = torch.quantize_per_tensor(x, 1.0, 0, 12)\n    \
        y = torch.quantize_per_tensor(torch.zeros([1, 1, n]), 1.0, 0, 12)\n    \
        return torch.dequantize(torch.reflection_pad1d(q, [a, b], out=y))\n";

struct Guarded(Module);

impl Guarded {
    fn new() -> Self {
        let file = ScratchFile::new("sizes.pt");
        Module::define(SOURCE).unwrap().save(&file.0).unwrap();
        Self(Module::load_path(&file.0, Device::Cpu).unwrap())
    }

    /// One row of the numbers from 1 to `shape`'s product, and integers.
    fn counted(&self, method: &str, shape: &[i64], integers: &[i64]) -> Result<Value, Error> {
        let mut arguments = vec![counted(shape)];
        arguments.extend(integers.iter().copied().map(Value::Int));
        self.0.run(method, &arguments)
    }
}

fn counted(shape: &[i64]) -> Value {
    let n_values: i64 = shape.iter().product();
    let values: Vec<f32> = (1..=n_values).map(|value| value as f32).collect();
    floats(&values, shape).into()
}

#[track_caller]
fn is_refused(outcome: Result<Value, Error>, message: &str) {
    let error = outcome.expect_err("there is no answer");
    assert!(error.message.contains(message), "{error}");
}

#[test]
fn pads_repeat_only_what_is_left() {
    let module = Guarded::new();
    let row = |before, after| module.counted("circular", &[1, 1, 5], &[before, after]);
    for (before, after, expected) in [
        (1, 1, &[5., 1., 2., 3., 4., 5., 1.][..]),
        (0, 5, &[1., 2., 3., 4., 5., 1., 2., 3., 4., 5.]),
        (-3, 2, &[4., 5., 4., 5.]),
        (1, -4, &[1., 1.]),
        (-1, -2, &[2., 3.]),
    ] {
        assert_eq!(floats_of(row(before, after).unwrap()), expected, "{before} {after}");
    }
    for (before, after) in [(-5, 1), (-5, 4), (-3, 3), (4, -4), (-2, 5), (5, -1)] {
        is_refused(row(before, after), "repeat more than is left");
        let gradients = module.0.run_with_gradients(
            "circular",
            &[counted(&[1, 1, 5]), Value::Int(before), Value::Int(after)],
        );
        is_refused(gradients, "repeat more than is left");
        let rows = module.counted("circular_in_rows", &[1, 1, 5, 2], &[before, after]);
        is_refused(rows, "repeat more than is left");
    }
    for (before, after) in [(-6, 1), (i64::MIN, 4), (i64::MIN, i64::MIN), (2, i64::MIN)] {
        is_refused(row(before, after), "cut off more");
    }
    let reflected = |before, after, width| {
        module.counted("reflected", &[1, 1, 4], &[before, after, width]).map(floats_of)
    };
    assert_eq!(reflected(1, 2, 7).unwrap(), [2., 1., 2., 3., 4., 3., 2.]);
    for (before, after, width) in [(1, 2, 8), (1, 2, 5000), (2000, 2996, 5000), (-5, 3, 2)] {
        assert!(reflected(before, after, width).is_err(), "{before} {after} {width}");
    }
}
