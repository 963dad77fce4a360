//! What goes in, what comes out, and what a failure says.

use std::sync::{Arc, Mutex};

use tch::{Kind, Tensor};
use torch_shim::{ErrorClass, HandlerGuard, IValue, MessageHandler, MessageKind, Module};

use crate::{floats, floats_of};

fn define(source: &str) -> Module {
    Module::define(source).expect("the test's source compiles")
}

fn text(value: &str) -> IValue {
    IValue::Str(value.as_bytes().to_owned())
}

#[test]
fn a_tensor_goes_in_and_a_tensor_comes_out() {
    let module = define("def forward(self, x, y):\n    return x * 2 + y\n");
    let answer = module
        .run("forward", &[floats(&[1., 2.], &[2]).into(), floats(&[10., 20.], &[2]).into()])
        .unwrap();
    assert_eq!(floats_of(answer), [12., 24.]);
}

#[test]
fn a_text_is_bytes() {
    let module = define("def forward(self):\n    return [\"\u{fc}\"[0:1]]\n");
    let IValue::List(texts) = module.run("forward", &[]).unwrap() else { panic!("must be a list") };
    assert!(matches!(&texts[..], [IValue::Str(text)] if text == b"\xc3"), "{texts:?}");
}

#[test]
fn what_is_said_is_told_on_the_thread_that_runs_the_model() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<(MessageKind, String)>>);
    impl MessageHandler for Heard {
        fn handle(&self, kind: MessageKind, text: &str) {
            self.0.lock().unwrap().push((kind, text.to_owned()));
        }
    }
    torch_shim::set_default_handler(Box::new(Heard::default()));
    let heard = Arc::new(Heard::default());
    let module = define("def forward(self):\n    print(\"as\", 7)\n    torch.warn(\"told\")\n");
    let guard = HandlerGuard::begin(Arc::clone(&heard) as Arc<dyn MessageHandler>);
    module.run("forward", &[]).unwrap();
    drop(guard);
    module.run("forward", &[]).unwrap();
    let expected =
        [(MessageKind::Printed, "as 7\n".to_owned()), (MessageKind::Warned, "told".to_owned())];
    assert_eq!(*heard.0.lock().unwrap(), expected, "only while there is a handler here");
}

#[test]
fn tuples_lists_and_dictionaries_come_out_whole() {
    let module = define(
        "def forward(self, x):\n    d = {\"sum\": x.sum(), \"twice\": x * 2}\n    \
         return (x, [x + 1, x + 2], d, 3, 2.5, True, \"text\", None)\n",
    );
    let IValue::Tuple(parts) = module.run("forward", &[floats(&[1., 2.], &[2]).into()]).unwrap()
    else {
        panic!("must be a tuple")
    };
    let mut parts = parts.into_iter();
    assert_eq!(floats_of(parts.next().unwrap()), [1., 2.]);
    let Some(IValue::List(list)) = parts.next() else { panic!("must be a list") };
    assert_eq!(list.into_iter().map(floats_of).collect::<Vec<_>>(), [[2., 3.], [3., 4.]]);
    let Some(IValue::Dict(pairs)) = parts.next() else { panic!("must be a dictionary") };
    let named: Vec<_> = pairs
        .into_iter()
        .map(|(key, value)| match key {
            IValue::Str(key) => (key, floats_of(value)),
            other => panic!("a key must be a text, is {other:?}"),
        })
        .collect();
    assert_eq!(named, [(b"sum".to_vec(), vec![3.]), (b"twice".to_vec(), vec![2., 4.])]);
    assert!(matches!(parts.next(), Some(IValue::Int(3))));
    assert!(matches!(parts.next(), Some(IValue::Float(real)) if real == 2.5));
    assert!(matches!(parts.next(), Some(IValue::Bool(true))));
    assert!(matches!(parts.next(), Some(IValue::Str(text)) if text == b"text"));
    assert!(matches!(parts.next(), Some(IValue::None)));
    assert!(parts.next().is_none());
}

#[test]
fn scalars_have_defaults_and_optionals_may_be_none() {
    let module = define(
        "def forward(self, x, scale: float = 2.0, shift: int = 1, mask: Optional[Tensor] = None, name: str = \"a\", \
         flip: bool = False):\n    y = x * scale + shift\n    if mask is not None:\n        y = y * mask\n    \
         if flip:\n        y = -y\n    return y\n",
    );
    let x = || IValue::Tensor(floats(&[1., 2.], &[2]));
    let run = |arguments: &[IValue]| floats_of(module.run("forward", arguments).unwrap());
    assert_eq!(run(&[x()]), [3., 5.], "left-out arguments must take their defaults");
    assert_eq!(run(&[x(), IValue::Float(0.5)]), [1.5, 2.]);
    assert_eq!(
        run(&[x(), IValue::Int(3), IValue::Int(0)]),
        [3., 6.],
        "an int must do where a float is declared"
    );
    let mask = IValue::Tensor(floats(&[0., 1.], &[2]));
    assert_eq!(
        run(&[x(), IValue::Int(1), IValue::Int(0), mask, text("b"), IValue::Bool(true)]),
        [0., -2.]
    );
    assert_eq!(run(&[x(), IValue::Int(1), IValue::Int(0), IValue::None]), [1., 2.]);
}

#[test]
fn containers_go_in_with_the_declared_element_types() {
    let module = define(
        "def forward(self, xs: List[Tensor], ns: List[int], fs: List[float], pair: Tuple[int, str], \
         d: Dict[str, Tensor], maybe: Optional[List[int]]):\n    y = torch.stack(xs).sum() + sum(ns) + sum(fs)\n    \
         if maybe is not None:\n        y = y + sum(maybe)\n    return y + pair[0] + d[pair[1]]\n",
    );
    let one = |value: f32| IValue::Tensor(floats(&[value], &[1]));
    let arguments = |fs: Vec<IValue>, ns: Vec<IValue>| {
        vec![
            IValue::List(vec![one(1.), one(2.)]),
            IValue::List(ns),
            IValue::List(fs),
            IValue::Tuple(vec![IValue::Int(100), text("k")]),
            IValue::Dict(vec![(text("k"), one(1000.))]),
            IValue::List(vec![IValue::Int(7)]),
        ]
    };
    let answer = module.run(
        "forward",
        &arguments(vec![IValue::Int(10), IValue::Float(0.5)], vec![IValue::Int(20)]),
    );
    assert_eq!(floats_of(answer.unwrap()), [1140.5]);
    let answer = module.run("forward", &arguments(vec![], vec![]));
    assert_eq!(floats_of(answer.unwrap()), [1110.], "empty lists must take the declared type");
    let error = module.run("forward", &arguments(vec![], vec![IValue::Float(1.)])).unwrap_err();
    assert_eq!(
        error.class,
        ErrorClass::InvalidArgument,
        "a wrong element must not reach the model: {error}"
    );
}

#[test]
fn wrong_arguments_are_named_and_do_not_run() {
    let module = define("def forward(self, x, n: int):\n    return x + n\n");
    let check = |arguments: &[IValue], expected: &str| {
        let error = module.run("forward", arguments).unwrap_err();
        assert_eq!((error.class, error.message.as_str()), (ErrorClass::InvalidArgument, expected));
    };
    let x = || IValue::Tensor(floats(&[1.], &[1]));
    check(&[x()], "argument \"n\" of method \"forward\" is missing");
    check(&[x(), x()], "argument \"n\" of method \"forward\" expects int, got Tensor");
    check(&[x(), IValue::None], "argument \"n\" of method \"forward\" expects int, got NoneType");
    check(
        &[x(), IValue::Int(1), IValue::Int(2)],
        "method \"forward\" takes at most 2 arguments, got 3",
    );
    let error = module.run("predict", &[]).unwrap_err();
    assert_eq!(
        (error.class, error.message.as_str()),
        (ErrorClass::InvalidArgument, "the model has no method \"predict\"")
    );
}

#[test]
fn what_a_model_raises_is_told_in_one_line() {
    let module = define(
        "def forward(self, x):\n    assert bool(x.sum() > 0), \"x must be positive\"\n    return x\n\
         def loud(self, x):\n    prim.RaiseException(\"CUDA error: not so\", \"builtins.ValueError\")\n    return x\n\
         def huge(self, x):\n    text = \"y\"\n    for i in range(20):\n        text = text + text\n    prim.RaiseException(text, \"builtins.ValueError\")\n    return x\n\
         def inner(self, x):\n    return torch.mm(x, x)\n",
    );
    let raise = |method: &str| {
        let error = module.run(method, &[floats(&[-1., 0., 0.], &[1, 3]).into()]).unwrap_err();
        assert_eq!(error.class, ErrorClass::Raised, "{method}: {error}");
        for forbidden in
            ["Traceback", "Exception raised from", "frame #", ".cpp", "File \"", "code/__torch__"]
        {
            assert!(
                !error.message.contains(forbidden),
                "{method}: must not tell {forbidden:?}: {error}"
            );
        }
        assert!(
            error.message.len() <= 2048,
            "{method}: must be bounded, has {} bytes",
            error.message.len()
        );
        error.message
    };
    assert_eq!(raise("forward"), "AssertionError: x must be positive");
    assert_eq!(raise("loud"), "ValueError: CUDA error: not so");
    assert!(raise("huge").starts_with("ValueError: yyy"));
    assert!(
        raise("inner").contains("mat1 and mat2 shapes cannot be multiplied (1x3 and 1x3)"),
        "{}",
        raise("inner")
    );
}

#[test]
fn values_without_a_form_are_refused() {
    let module = define(
        "def forward(self, x):\n    return x.device\n\
         def sparse(self, x):\n    return x.to_sparse()\n",
    );
    let error = module.run("forward", &[floats(&[1.], &[1]).into()]).unwrap_err();
    assert_eq!(error.class, ErrorClass::Unsupported, "{error}");
    let IValue::Tensor(sparse) = module.run("sparse", &[floats(&[1.], &[1]).into()]).unwrap()
    else {
        panic!()
    };
    assert_eq!(torch_shim::TensorBytes::new(sparse).unwrap_err().class, ErrorClass::Unsupported);
    let deep = (0..100).fold(IValue::Int(1), |inner, _| IValue::List(vec![inner]));
    assert_eq!(module.run("forward", &[deep]).unwrap_err().class, ErrorClass::Unsupported);
}

#[test]
fn an_allocation_that_cannot_be_had_is_told_from_a_raise() {
    let module = define("def forward(self, n: int):\n    return torch.zeros([n])\n");
    let error = module.run("forward", &[IValue::Int(1 << 52)]).unwrap_err();
    assert_eq!(error.class, ErrorClass::OutOfMemory, "{error}");
}

#[test]
fn undefined_tensors_do_not_panic() {
    let undefined = Tensor::new();
    assert_eq!(torch_shim::tensor_shape(&undefined).unwrap_err().class, ErrorClass::Unsupported);
    assert_eq!(torch_shim::tensor_kind(&undefined).unwrap_err().class, ErrorClass::Unsupported);
    let tensor = floats(&[1., 2.], &[1, 2]);
    assert_eq!(torch_shim::tensor_shape(&tensor).unwrap(), [1, 2]);
    assert_eq!(torch_shim::tensor_kind(&tensor).unwrap(), Kind::Float);
    assert_eq!(torch_shim::tensor_device(&tensor).unwrap(), torch_shim::TorchDevice::Cpu);
}
