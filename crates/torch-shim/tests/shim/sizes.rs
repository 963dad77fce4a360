//! Sizes that code or a client gives beside a tensor are held against it once a model has been loaded.

use torch_shim::{Error, IValue, Module, TorchDevice};

use crate::{ScratchFile, floats, floats_of};

const SOURCE: &str = "def circular(self, x, a: int, b: int):\n    return torch.pad(x * 1, [a, b], \"circular\")\n\
    def circular_in_rows(self, x, a: int, b: int):\n    return torch.pad(x, [0, 0, a, b], \"circular\")\n\
    def reflected(self, x, a: int, b: int, n: int):\n    \
        q = torch.quantize_per_tensor(x, 1.0, 0, 12)\n    \
        y = torch.quantize_per_tensor(torch.zeros([1, 1, n]), 1.0, 0, 12)\n    \
        return torch.dequantize(torch.reflection_pad1d(q, [a, b], out=y))\n\
    def norms(self, v, g, dim: int):\n    return torch._weight_norm(v, g, dim)\n\
    def norms_apart(self, v, g, dim: int):\n    return torch._weight_norm_interface(v, g, dim)[0]\n\
    def smooth(self, x, n: int, scale: Optional[float]):\n    \
        return torch._upsample_bilinear2d_aa(x, [n, n], False, scale, scale)\n\
    def cubic(self, x, n: int, scale: Optional[float]):\n    \
        return torch._upsample_bicubic2d_aa(x, [n, n], False, scale, scale)\n\
    def nearest(self, x, n: int, scale: Optional[float]):\n    \
        q = torch.quantize_per_tensor(x, 1.0, 0, 13)\n    \
        return torch.dequantize(torch.upsample_nearest2d(q, [n, n], scale, scale))\n\
    def linear(self, x, n: int, scale: Optional[float]):\n    \
        q = torch.quantize_per_tensor(x, 1.0, 0, 13)\n    \
        return torch.dequantize(torch.upsample_bilinear2d(q, [n, n], False, scale, scale))\n\
    def bytes(self, x, n: int, scale: Optional[float]):\n    \
        return torch.upsample_nearest2d(x.to(0), [n, n], scale, scale).to(6)\n\
    def scaled(self, x, scale: float):\n    s = [scale, scale]\n    \
        return [torch.upsample_nearest2d(x, None, s), torch.upsample_bilinear2d(x, None, False, s),\
        torch.upsample_bicubic2d(x, None, False, s), torch._upsample_nearest_exact2d(x, None, s),\
        torch._upsample_bilinear2d_aa(x, None, False, s), torch._upsample_bicubic2d_aa(x, None, False, s)]\n\
    def folded(self, x, size: int, dilation: int, pad: int, stride: int):\n    \
        return torch.col2im(x, [size, size], [2, 2], [dilation, dilation], [pad, pad], [stride, stride])\n\
    def unfolded(self, x, kernel: int, dilation: int, pad: int, stride: int):\n    \
        return torch.im2col(x, [kernel, kernel], [dilation, dilation], [pad, pad], [stride, stride])\n\
    def pooled(self, x, kernel: int, pad: int):\n    return torch.max_pool1d(x, [kernel], [1], [pad], [1], True)\n\
    def pooled_in_two(self, x, kernel: int, pad: int):\n    \
        return torch.max_pool2d(torch.unsqueeze(x, 1), [kernel, kernel], [1, 1], [pad, pad])\n\
    def pooled_to(self, x, n: int):\n    return torch.adaptive_max_pool2d(x, [n, 0])[0]\n";

struct Guarded(Module);

impl Guarded {
    fn new() -> Self {
        let file = ScratchFile::new("sizes.pt");
        Module::define(SOURCE).unwrap().save(&file.0).unwrap();
        Self(Module::load_path(&file.0, TorchDevice::Cpu).unwrap())
    }

    /// One row of the numbers from 1 to `shape`'s product, and integers.
    fn counted(&self, method: &str, shape: &[i64], integers: &[i64]) -> Result<IValue, Error> {
        let mut arguments = vec![counted(shape)];
        arguments.extend(integers.iter().copied().map(IValue::Int));
        self.0.run(method, &arguments)
    }

    fn resized(&self, method: &str, size: i64, scale: Option<f64>) -> Result<IValue, Error> {
        let scale = scale.map_or(IValue::None, IValue::Float);
        self.0.run(method, &[counted(&[1, 1, 4, 4]), IValue::Int(size), scale])
    }
}

fn counted(shape: &[i64]) -> IValue {
    let n_values: i64 = shape.iter().product();
    let values: Vec<f32> = (1..=n_values).map(|value| value as f32).collect();
    floats(&values, shape).into()
}

#[track_caller]
fn is_refused(outcome: Result<IValue, Error>, message: &str) {
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
            &[counted(&[1, 1, 5]), IValue::Int(before), IValue::Int(after)],
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

#[test]
fn norms_are_as_many_as_rows() {
    let module = Guarded::new();
    let normed = |method: &str, n_norms: i64, dim: i64| {
        let norms = floats(&vec![10.; n_norms.try_into().unwrap()], &[n_norms]).into();
        let rows = floats(&[3., 4., 6., 8., 0., 2.], &[3, 2]).into();
        module.0.run(method, &[rows, norms, IValue::Int(dim)])
    };
    for method in ["norms", "norms_apart"] {
        assert_eq!(floats_of(normed(method, 3, 0).unwrap()), [6., 8., 6., 8., 0., 10.]);
        let columns = floats_of(normed(method, 2, 1).unwrap());
        assert!((columns[0] - 30. / 45f32.sqrt()).abs() < 1e-5, "{columns:?}");
        for (n_norms, dim) in [(1, 0), (2, 0), (4, 0), (0, 0), (3, 1), (1, 1)] {
            is_refused(normed(method, n_norms, dim), "are not those of weights");
        }
    }
}

#[test]
fn scales_are_those_of_the_sizes() {
    let module = Guarded::new();
    for method in ["smooth", "cubic", "nearest", "linear", "bytes"] {
        // With none, or none above zero, libtorch takes the scale of the sizes; those that fit give the same numbers.
        let plain = floats_of(module.resized(method, 8, None).unwrap());
        for scale in [2., 0., -1., f64::NAN] {
            let scaled = floats_of(module.resized(method, 8, Some(scale)).unwrap());
            assert_eq!(scaled, plain, "{method} {scale}");
        }
        for scale in [1e-30, 1e-18, 1e-5, 1e-3, 1.5, 3., 1e30, f64::INFINITY] {
            is_refused(module.resized(method, 8, Some(scale)), "does not make 8 of 4");
        }
    }
}

#[test]
fn a_scale_that_sizes_are_made_of_fits_them() {
    let module = Guarded::new();
    for size in 1..40 {
        for scale in [0.1, 0.3, 1. / 3., 0.5, 0.7, 0.999, 1., 1.1, 1.5, 1.999, 2., 2.25, 7.3] {
            let made = (size as f64 * scale).floor();
            let image = counted(&[1, 1, size, size + 3]);
            let outcome = module.0.run("scaled", &[image, IValue::Float(scale)]);
            assert_eq!(outcome.is_ok(), made >= 1., "{size} {scale}: {outcome:?}");
        }
    }
}

#[test]
fn windows_have_sizes_that_can_be_counted() {
    let module = Guarded::new();
    let folded = |numbers: &[i64]| module.counted("folded", &[1, 4, 16], numbers);
    assert_eq!(floats_of(folded(&[5, 1, 0, 1]).unwrap()).len(), 25);
    let unfolded = |numbers: &[i64]| module.counted("unfolded", &[1, 1, 5, 5], numbers);
    assert_eq!(floats_of(unfolded(&[2, 1, 0, 1]).unwrap()).len(), 64);
    for large in [1 << 25, 1 << 31, 1 << 32, 1 << 62, i64::MAX, i64::MIN] {
        for place in 0..4 {
            let mut numbers = [5, 1, 0, 1];
            numbers[place] = large;
            is_refused(folded(&numbers), "a window's sizes");
            numbers[0] = if place == 0 { large } else { 2 };
            is_refused(unfolded(&numbers), "a window's sizes");
        }
        let pooled = |method: &str, kernel: i64, pad: i64| {
            module.counted(method, &[1, 2, 9], &[kernel, pad])
        };
        for method in ["pooled", "pooled_in_two"] {
            is_refused(pooled(method, large, 0), "a window's sizes");
            is_refused(pooled(method, large, large / 2), "a window's sizes");
        }
        is_refused(module.counted("pooled_to", &[1, 2, 5, 5], &[large]), "a window's sizes");
    }
    let pooled = module.counted("pooled", &[1, 1, 5], &[3, 1]).unwrap();
    assert_eq!(floats_of(pooled), [2., 3., 4., 5., 5.]);
    let pooled = module.counted("pooled_in_two", &[1, 2, 3], &[2, 0]).unwrap();
    assert_eq!(floats_of(pooled), [5., 6.]);
}

#[test]
fn other_forms_of_a_model_are_guarded() {
    let source = "def forward(self, x, g):\n    y = torch._weight_norm(x, g, 0)\n    \
        return torch.pad(torch.unsqueeze(y, 0), [-3, 2], \"circular\")\n";
    let file = ScratchFile::new("forms.pt");
    Module::define(source).unwrap().save(&file.0).unwrap();
    let module = Module::load_path(&file.0, TorchDevice::Cpu).unwrap();
    let frozen = module.freeze(&[]).unwrap();
    let optimized = module.optimize_for_inference(&[]).unwrap();
    for form in [&module, &frozen, &optimized] {
        // Often enough for libtorch to compile what it has seen.
        for _ in 0..4 {
            let run = |width, n_norms: i64| {
                let norms = floats(&vec![1.; n_norms.try_into().unwrap()], &[n_norms]).into();
                form.run("forward", &[counted(&[2, width]), norms])
            };
            assert_eq!(floats_of(run(5, 2).unwrap()).len(), 8);
            is_refused(run(5, 1), "are not those of weights");
            is_refused(run(4, 2), "repeat more than is left");
        }
    }
}
