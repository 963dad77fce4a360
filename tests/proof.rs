//! The proof over rows beside libtorch: random pieces of code from operators that keep rows apart answer the same in a
//! batch as alone, and are proved; with one that lets rows meet planted in them, none is.

use sconce::engine::probe::proof::{ProofInput, prove};
use sconce::inference::TensorSpec;
use sconce::tensor::{DataType, ShapePattern};
use tch::{Kind, Tensor};
use torch_shim::{IValue, Module};

/// Each makes `y` [N, 4] of `a` and `b`, which are [N, 4].
const APART: &[&str] = &[
    "y = torch.relu(a) - b",
    "y = torch.tanh(a * 0.5) + torch.sigmoid(b)",
    "y = torch.where(a > b, a, b * 0.25)",
    "y = torch.softmax(a, 1) * b",
    "y = a - torch.mean(b, [1], True)",
    "y = torch.cat([a[:, 2:], b[:, :2]], 1)",
    "y = torch.stack([a[:, 0], b[:, 1], a[:, 2], b[:, 3]], 1)",
    "y = torch.sort(a, 1)[0] + torch.flip(b, [1])",
    "y = torch.cumsum(a, 1) * 0.25 + b",
    "y = torch.bmm(a.view(-1, 2, 2), b.view(-1, 2, 2)).view(-1, 4)",
    "y = torch.matmul(a.unsqueeze(1), b.unsqueeze(2)).squeeze(2).expand(-1, 4)",
    "y = torch.einsum(\"ni,nj->nij\", [a, b]).sum(2)",
    "y = torch.linear(a, torch.ones([4, 4]) * 0.1, None) + b",
    "y = torch.layer_norm(a + b, [4], None, None, 1e-5, True)",
    "y = a.view(-1, 2, 2).transpose(1, 2).reshape(-1, 4) + b",
    "y = a.reshape(-1, 2).mul(2.0).view(-1, 4) - b",
    "y = torch.gather(a, 1, torch.argsort(b, 1))",
    "y = a.clone()\n    y[:, 1] = b[:, 2]",
    "y = b.clone()\n    y.add_(a)\n    y.clamp_(-3.0, 3.0)",
    "y = torch.max(a, 1, True)[0] + b",
    "y = torch.zeros([a.size(0), 4])\n    for i in range(3):\n        y = torch.tanh(y + a)\n    y = y * b",
    "l = torch.unbind(a, 1)\n    y = torch.stack([l[3], l[2], l[1], l[0]], 1) * b",
    "y = a.t().mul(2.0).t() + b",
    "y = torch.conv1d(a.unsqueeze(1), torch.ones([1, 1, 3]), None, [1], [1], [1], 1).squeeze(1) + b",
    "y = a[torch.arange(a.size(0)).unsqueeze(1), torch.argsort(b, 1)]",
    "if a.size(1) > 3:\n        y = a * 2.0\n    else:\n        y = b",
    "y = torch.constant_pad_nd(a[:, :3], [1, 0], 0.5) + b",
    "y = torch.masked_fill(a, b > 0.5, 0.0)",
];

/// The same, but rows meet.
const COUPLED: &[&str] = &[
    "y = a - torch.mean(b, [0], True)",
    "y = torch.softmax(a, 0) * b",
    "y = torch.cumsum(a, 0) + b",
    "y = torch.sort(a, 0)[0] + b",
    "y = a + torch.flip(b, [0])",
    "y = torch.matmul(torch.matmul(a, b.t()), a)",
    "y = a.t().reshape(-1, 4) + b",
    "y = a / (b.abs().max() + 1.0)",
    "y = a + b[0]",
    "y = a * float(a.size(0))",
    "y = torch.roll(a, [1], [0]) + b",
    "y = a.clone()\n    y[0] = b[0] * 2.0",
    "y = a.clone()\n    z = y.view(-1)\n    z[1] = 5.0\n    y = y + b",
    "y = torch.zeros_like(a)\n    y[1:] = b[:-1]",
    "if bool(a.max() > 0.7):\n        y = a * 0.01\n    else:\n        y = b",
    "y = torch.einsum(\"ni,mi->nm\", [a, b]).sum(1, True).expand(-1, 4)",
    "y = a + torch.arange(a.size(0)).unsqueeze(1)",
    "y = torch.cat([a, b], 0)[:a.size(0)] + torch.cat([b, a], 0)[a.size(0):]",
    "y = a + torch.bernoulli(torch.sigmoid(b))",
    "y = torch.layer_norm(a.t(), [a.size(0)], None, None, 1e-5, True).t() + b",
    "y = torch.gather(a, 0, torch.argsort(b, 0))",
    "y = a[torch.argsort(b[:, 0])]",
];

/// The same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }
}

/// A method of some lines, each over the input or what lines before it made; all of them count in the end.
fn code(numbers: &mut Numbers, planted: Option<&str>) -> String {
    let n_lines = 2 + numbers.below(5);
    let at = numbers.below(n_lines);
    let mut text = "def forward(self, x):\n    v0 = x * 1.0\n".to_owned();
    for line in 0..n_lines {
        let piece = match planted {
            Some(piece) if line == at => piece,
            _ => APART[numbers.below(APART.len())],
        };
        let mut pick = || format!("v{}", numbers.below(line + 1));
        let (a, b) = (pick(), pick());
        text += &format!("    a = {a}\n    b = {b}\n    {piece}\n    v{} = y\n", line + 1);
    }
    let all: Vec<_> = (0..=n_lines).map(|line| format!("v{line}")).collect();
    text + &format!("    return {}\n", all.join(" + "))
}

fn run(module: &Module, x: &Tensor) -> Tensor {
    let value = module.run("forward", &[IValue::Tensor(x.shallow_clone())]);
    let value = value.expect("the code takes rows of four");
    match value {
        IValue::Tensor(tensor) => tensor,
        other => panic!("got {other:?}"),
    }
}

fn is_proved(module: &Module) -> Result<(), String> {
    let spec = TensorSpec {
        name: "x".into(),
        datatype: DataType::Fp32,
        shape: ShapePattern::from_wire(&[-1, 4]).expect("these are sizes"),
        optional: false,
        declared: true,
    };
    let code = module.graph("forward").expect("it has this method");
    let proof = prove(&code, &[ProofInput { name: "x", spec: Some(&spec) }], false);
    proof.map(|_| ()).map_err(|reason| reason.text.to_string())
}

#[test]
fn what_is_proved_answers_the_same_alone_and_in_a_batch() {
    let mut numbers = Numbers(1);
    let x = Tensor::f_from_slice(
        &(0..24).map(|it| ((it * 37 % 23) as f32 - 11.0) / 7.0).collect::<Vec<_>>(),
    );
    let x = x.unwrap().f_reshape([6, 4]).unwrap();
    for round in 0..120 {
        let code = code(&mut numbers, None);
        let module = Module::define(&code).unwrap_or_else(|error| panic!("{error}\n{code}"));
        assert_eq!(is_proved(&module), Ok(()), "round {round}:\n{code}");
        let together = run(&module, &x);
        for row in 0..6 {
            let alone = run(&module, &x.f_narrow(0, row, 1).unwrap());
            let own = together.f_narrow(0, row, 1).unwrap();
            let scale = alone.f_abs().unwrap().f_max().unwrap().f_double_value(&[]).unwrap();
            let difference = (&own - &alone).f_to_kind(Kind::Double).unwrap();
            let difference =
                difference.f_abs().unwrap().f_max().unwrap().f_double_value(&[]).unwrap();
            assert!(difference <= 1e-5 * scale.max(1.0), "row {row}, {difference}:\n{code}");
        }
    }
}

#[test]
fn nothing_is_proved_in_which_rows_meet() {
    let mut numbers = Numbers(2);
    for round in 0..6 {
        for planted in COUPLED {
            let code = code(&mut numbers, Some(planted));
            let module = Module::define(&code).unwrap_or_else(|error| panic!("{error}\n{code}"));
            assert!(is_proved(&module).is_err(), "round {round}, {planted}:\n{code}");
        }
    }
}
