//! Schema, operators, state, weights.

use tch::Kind;
use torch_shim::{IValue, Module, Slot, Type};

use crate::{floats, floats_of};

#[test]
fn methods_tell_names_types_and_defaults() {
    let module = Module::define(
        "def forward(self, image, scale: float = 2.5, tags: Optional[List[str]] = None, \
         d: Dict[str, Tuple[int, bool]] = {}):\n    return (image, {\"a\": image})\n\
         def other(self, n: int) -> List[float]:\n    return [1.0]\n",
    );
    // A dictionary has no literal that may stand as a default.
    assert!(module.is_err());
    let module = Module::define(
        "def forward(self, image, d: Dict[str, Tuple[int, bool]], scale: float = 2.5, \
         tags: Optional[List[str]] = None):\n    return (image, {\"a\": image})\n\
         def other(self, n: int) -> List[float]:\n    return [1.0]\n",
    )
    .unwrap();
    let methods = module.methods().unwrap();
    assert_eq!(
        methods.iter().map(|method| method.name.as_str()).collect::<Vec<_>>(),
        ["forward", "other"]
    );
    let forward = &methods[0].arguments;
    let names: Vec<_> =
        forward.iter().map(|argument| (argument.name.as_str(), argument.optional)).collect();
    assert_eq!(names, [("image", false), ("d", false), ("scale", true), ("tags", true)]);
    assert_eq!(forward[0].ty, Type::Tensor);
    let pair = Type::Tuple(vec![Type::Int, Type::Bool]);
    assert_eq!(forward[1].ty, Type::Dict(Box::new(Type::Str), Box::new(pair)));
    assert!(matches!(forward[2].default, Some(IValue::Float(scale)) if scale == 2.5));
    assert_eq!(forward[3].ty, Type::Optional(Box::new(Type::List(Box::new(Type::Str)))));
    assert!(matches!(forward[3].default, Some(IValue::None)));
    let named = Type::Dict(Box::new(Type::Str), Box::new(Type::Tensor));
    assert_eq!(methods[0].returns, [Type::Tuple(vec![Type::Tensor, named])]);
    assert_eq!(methods[1].returns, [Type::List(Box::new(Type::Float))]);
}

#[test]
fn operators_are_found_in_functions_branches_and_forks() {
    let module = Module::define_with(
        "def reads(name: str):\n    return torch.from_file(name, False, 4)\n",
        "def forward(self, x):\n    if bool(x.sum() > 0):\n        x = torch.relu(x)\n    return x\n\
         def hidden(self, name: str):\n    return reads(name)\n",
        vec![],
    )
    .unwrap();
    let operators = module.operators().unwrap();
    for expected in ["aten::from_file", "aten::relu", "prim::If", "aten::sum"] {
        assert!(
            operators.iter().any(|name| name == expected),
            "{expected} must be among {operators:?}"
        );
    }
    assert!(
        operators.is_sorted() && operators.windows(2).all(|pair| pair[0] != pair[1]),
        "sorted, each once"
    );
}

#[test]
fn state_that_is_set_is_seen() {
    let weight = || floats(&[1.], &[1]);
    let pure = Module::define_with(
        "",
        "def forward(self, x):\n    return x * self.w\n",
        vec![("w", Slot::Parameter(weight()))],
    );
    assert!(!pure.unwrap().mutates_state().unwrap());
    let direct = "def forward(self, x):\n    self.w = self.w + x\n    return self.w\n";
    let direct = Module::define_with("", direct, vec![("w", Slot::Buffer(weight()))]).unwrap();
    assert!(direct.mutates_state().unwrap());
    let called = "def forward(self, x):\n    return self.step(x)\ndef step(self, x):\n    self.n = self.n + 1\n    return x * self.n\n";
    let called =
        Module::define_with("", called, vec![("n", Slot::Attribute(IValue::Int(0)))]).unwrap();
    assert!(called.mutates_state().unwrap());
    let answers: Vec<_> =
        (0..2).map(|_| floats_of(called.run("forward", &[weight().into()]).unwrap())).collect();
    assert_eq!(answers, [[1.], [2.]], "state must live from call to call");
    let restored = "def forward(self, x):\n    return x\ndef __setstate__(self, n: int):\n    self.n = n\n    return None\n";
    let restored =
        Module::define_with("", restored, vec![("n", Slot::Attribute(IValue::Int(0)))]).unwrap();
    assert!(!restored.mutates_state().unwrap(), "what restores a module is no state of its runs");
}

#[test]
fn writes_into_inputs_are_seen() {
    let module = Module::define(
        "def forward(self, x):\n    return torch.relu(x)\ndef direct(self, x):\n    return torch.relu_(x)\n\
         def view(self, x):\n    y = x[0]\n    y.add_(1)\n    return y\n",
    )
    .unwrap();
    assert!(!module.mutates_inputs("forward").unwrap());
    assert!(module.mutates_inputs("direct").unwrap());
    assert!(module.mutates_inputs("view").unwrap());
}

fn linear() -> Module {
    Module::define_with(
        "",
        "def forward(self, x):\n    return torch.linear(x, self.weight, self.bias) + self.offset\n\
         def extra(self, x):\n    return x * self.offset\n",
        vec![
            ("weight", Slot::Parameter(floats(&[1., 2., 3., 4.], &[2, 2]))),
            ("bias", Slot::Parameter(floats(&[0.5, 0.25], &[2]))),
            ("offset", Slot::Buffer(floats(&[1.], &[1]))),
            ("positions", Slot::Buffer(floats(&[1., 2.], &[2]).f_to_kind(Kind::Int64).unwrap())),
        ],
    )
    .unwrap()
}

#[test]
fn parameters_tell_name_shape_and_size() {
    let module = linear();
    let parameters = module.parameters().unwrap();
    let told: Vec<_> = parameters
        .iter()
        .map(|p| (p.name.as_str(), p.shape.clone(), p.datatype, p.bytes, p.is_buffer))
        .collect();
    assert_eq!(
        told,
        [
            ("weight", vec![2, 2], Some(Kind::Float), 16, false),
            ("bias", vec![2], Some(Kind::Float), 8, false),
            ("offset", vec![1], Some(Kind::Float), 4, true),
            ("positions", vec![2], Some(Kind::Int64), 16, true),
        ]
    );
    assert_eq!(module.byte_size().unwrap(), 44);
}

#[test]
fn other_forms_keep_the_answers() {
    let module = linear();
    let x = || IValue::Tensor(floats(&[1., 1.], &[1, 2]));
    let run = |module: &Module| floats_of(module.run("forward", &[x()]).unwrap());
    assert_eq!(run(&module), [4.5, 8.25]);
    let frozen = module.freeze(&["extra"]).unwrap();
    assert_eq!(run(&frozen), [4.5, 8.25]);
    assert_eq!(floats_of(frozen.run("extra", &[x()]).unwrap()), [1., 1.]);
    assert!(
        frozen.byte_size().unwrap() >= 28,
        "frozen weights must still count: {}",
        frozen.byte_size().unwrap()
    );
    assert!(
        module.freeze(&[]).unwrap().run("extra", &[x()]).is_err(),
        "what is not preserved is gone"
    );
    for names in [&["extra"][..], &[]] {
        let optimized = module.optimize_for_inference(names).unwrap();
        for _ in 0..3 {
            assert_eq!(run(&optimized), [4.5, 8.25]);
        }
    }
    assert_eq!(run(&module.deep_copy().unwrap()), [4.5, 8.25]);
    assert_eq!(run(&module), [4.5, 8.25], "the first module must be as it was");
    // Weights, bias and offset, and no second copy in the layout that the optimizer chose.
    let optimized = module.optimize_for_inference(&[]).unwrap();
    assert!(
        optimized.byte_size().unwrap() <= 28,
        "dead weights must go: {}",
        optimized.byte_size().unwrap()
    );
    assert_eq!(module.byte_size().unwrap(), 44, "other forms must not count for the first module");
    assert!(module.freeze(&["missing"]).unwrap_err().message.contains("missing"));
}

#[test]
fn a_copy_has_state_of_its_own() {
    let source = "def forward(self, x):\n    self.n += 1\n    return x * self.n\n";
    let first =
        Module::define_with("", source, vec![("n", Slot::Attribute(IValue::Int(0)))]).unwrap();
    let second = first.deep_copy().unwrap();
    let run =
        |module: &Module| floats_of(module.run("forward", &[floats(&[1.], &[1]).into()]).unwrap());
    assert_eq!((run(&first), run(&first), run(&second)), (vec![1.], vec![2.], vec![1.]));
}

#[test]
fn reduced_precision_leaves_integers_alone() {
    let module = linear();
    let half = module.to_kind(Kind::BFloat16).unwrap();
    let kinds: Vec<_> =
        half.parameters().unwrap().into_iter().map(|parameter| parameter.datatype).collect();
    assert_eq!(
        kinds,
        [Some(Kind::BFloat16), Some(Kind::BFloat16), Some(Kind::BFloat16), Some(Kind::Int64)]
    );
    assert_eq!(
        module.parameters().unwrap()[0].datatype,
        Some(Kind::Float),
        "the first module must be as it was"
    );
    let x = floats(&[1., 1.], &[1, 2]).f_to_kind(Kind::BFloat16).unwrap();
    let IValue::Tensor(answer) = half.run("forward", &[x.into()]).unwrap() else {
        panic!("must be a tensor")
    };
    assert_eq!(floats_of(answer.f_to_kind(Kind::Float).unwrap().into()), [4.5, 8.25]);
}

#[test]
fn packed_weights_count() {
    let fixture = "../../tests/fixtures/models/quantized/1/model.pt";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture);
    let module = Module::load_path(path, torch_shim::TorchDevice::Cpu).unwrap();
    // Two layers of 4 x 64 weights of one byte, and their 64 and 4 biases of four.
    let expected = 2 * 4 * 64 + 4 * (64 + 4);
    assert_eq!(module.byte_size().unwrap(), expected);
    assert_eq!(module.freeze(&[]).unwrap().byte_size().unwrap(), expected, "frozen as well");
    assert_eq!(module.deep_copy().unwrap().byte_size().unwrap(), expected);
}

fn operators(source: &str) -> Vec<String> {
    Module::define(source).unwrap_or_else(|error| panic!("{source}: {error}")).operators().unwrap()
}

/// Of an order that is none, libtorch's sort leaves the list.
#[test]
fn lists_without_an_order_are_told_when_they_are_sorted() {
    let sorts = |element: &str, how: &str| {
        let source = format!("def forward(self, l: List[{element}]):\n    {how}\n    return l\n");
        operators(&source).iter().any(|name| name == "sconce::unordered_sort")
    };
    for element in ["Tensor", "float", "Tuple[float, int]"] {
        for how in ["l.sort()", "l.sort(reverse=True)", "m = sorted(l)\n    l = m"] {
            let has_reverse = how.contains("reverse") && element.contains("Tuple");
            assert!(has_reverse || sorts(element, how), "{element} {how}");
        }
    }
    for element in ["int", "bool", "str"] {
        assert!(!sorts(element, "l.sort()"), "{element}");
    }
    let of_a_tensor = "def forward(self, x):\n    return torch.sort(x, 0, True)\n";
    assert!(!operators(of_a_tensor).iter().any(|name| name == "sconce::unordered_sort"));
}

/// An object that is taken for one of a larger class is read beyond its end.
#[test]
fn casts_that_nothing_vouches_for_are_told() {
    let casts = |body: &str| {
        let source = format!(
            "def forward(self, a: Any, u: Union[int, str, List[int]], o: Optional[List[int]]):\n{body}\n    return 0\n"
        );
        operators(&source).iter().any(|name| name == "sconce::foreign_cast")
    };
    for honest in [
        "    if isinstance(a, int):\n        return a + 1",
        "    if isinstance(a, List[int]):\n        return len(a)",
        "    assert isinstance(a, str)\n    return len(a)",
        "    if isinstance(u, int):\n        return u + 1\n    elif isinstance(u, str):\n        return len(u)\n    else:\n        return len(u)",
        "    if o is not None:\n        return len(o)",
        "    assert o is not None\n    return len(o)",
    ] {
        assert!(!casts(honest), "{honest}");
    }
}

/// Freeing what is nested half a million deep would take more stack than any thread has.
#[test]
fn values_that_nest_as_deep_as_a_number_says_are_told() {
    let nests = |source: &str| {
        let module = Module::define(source).unwrap();
        module.operators().unwrap().iter().any(|name| name == "sconce::unbounded_nesting")
    };
    let listed = "def forward(self, x, n: int):\n    held: List[Any] = []\n    \
        for _ in range(n):\n        more: List[Any] = [held]\n        held = more\n    return x\n";
    let keyed = "def forward(self, x, n: int):\n    held: Dict[str, Any] = {}\n    \
        for _ in range(n):\n        more: Dict[str, Any] = {}\n        more[\"in\"] = held\n        \
        held = more\n    return x\n";
    for source in [listed, keyed] {
        assert!(nests(source), "{source}");
    }
    let flat = "def forward(self, x, n: int):\n    held: List[Tuple[int, Tensor]] = []\n    \
        for i in range(n):\n        held.append((i, x))\n    return x\n";
    let once =
        "def forward(self, x, n: int):\n    held: List[Any] = [x, n]\n    return x, len(held)\n";
    for source in [flat, once] {
        assert!(!nests(source), "{source}");
    }
}

/// A loop that a number in a request keeps going is one that no deadline ends.
#[test]
fn loops_that_a_value_keeps_going_are_told() {
    let told = |source: &str| operators(source).iter().any(|name| name == "sconce::unbounded_loop");
    let of = |body: &str| {
        format!("def forward(self, x, n: int, l: List[Tensor]):\n    y = x\n{body}\n    return y\n")
    };
    for body in [
        "    for _ in range(3):\n        y = y + 1",
        "    for _ in range(x.size(0)):\n        y = y + 1",
        "    for i in range(x.shape[-2:][0] // 2 + 1):\n        for _ in range(i):\n            y = y + 1",
        "    for _ in range(min(n, 50)):\n        y = y + 1",
        "    for _ in range(int(x.size(1) / 2)):\n        y = y + 1",
        "    for t in l:\n        y = y + t",
        "    for t in x.unbind(0):\n        y = y + t",
        "    for t in x.chunk(4):\n        y = y + t.sum()",
        "    m = x.dim() if x.dim() > 3 else 7\n    for _ in range(m):\n        y = y + 1",
        "    z = torch.zeros([x.size(0), 4])\n    for i in range(z.size(0)):\n        y = y + i",
        "    o: List[Tensor] = []\n    for t in range(x.size(1)):\n        y = torch.tanh(y + x[:, t])\n        o.append(y)\n    y = torch.stack(o, 1)",
        "    h = torch.zeros([x.size(0), 4], dtype=x.dtype)\n    for t in range(x.size(1)):\n        y = y + h.sum()",
        "    h = torch.full([x.size(0), 1], float(\"-inf\"))\n    for t in range(x.size(1)):\n        y = y + h.sum()",
        "    i = 0\n    while i < 5:\n        y = y + 1\n        i = i + 1",
        "    i = 0\n    while i < x.size(1) and bool((y > 0).any()):\n        y = y - 1\n        i += 1",
        "    for i in range(20):\n        y = y - 1\n        if bool((y < 0).all()):\n            break",
        "    for i in range(20):\n        if bool((y < 0).all()):\n            continue\n        y = y - 1",
    ] {
        assert!(!told(&of(body)), "{body}");
    }
    for body in [
        "    while bool((y > 0).any()):\n        y = y - 1",
        "    for _ in range(n):\n        y = y + 1",
        "    for _ in range(int(x[0])):\n        y = y + 1",
        "    for _ in range(int(x.sum().item()) * 2):\n        y = y + 1",
        "    for i in range(3):\n        for _ in range(int(x[i])):\n            y = y + 1",
        "    for _ in range(100000):\n        for _ in range(100000):\n            y = y + 1",
        "    m = 3\n    for _ in range(4):\n        m = m * m\n    for _ in range(m):\n        y = y + 1",
        "    m = 3 if x.dim() > 3 else n\n    for _ in range(m):\n        y = y + 1",
        "    for _ in range(x.expand([n, 4]).size(0)):\n        y = y + 1",
        "    for _ in range(len([0] * n)):\n        y = y + 1",
        "    for _ in range(torch.bincount(x).size(0)):\n        y = y + 1",
        "    k = [1]\n    k[0] = n\n    for _ in range(k[0]):\n        y = y + 1",
        "    k = [1]\n    k.extend(k)\n    for _ in range(len(k)):\n        y = y + 1",
        "    for _ in range(-min(-n, 1)):\n        y = y + 1",
        "    for _ in range(abs(min(-n, 0))):\n        y = y + 1",
        "    for _ in range(min(-n, 0), 0):\n        y = y + 1",
        "    for _ in range(int(1 / (float(bool((x > 0).any())) + 1e-12))):\n        y = y + 1",
        "    for _ in range(torch.adaptive_avg_pool1d(x, n).size(-1)):\n        y = y + 1",
        "    for _ in range(torch.hann_window(n).size(0)):\n        y = y + 1",
        "    for _ in range(torch.arange(float(x[0])).size(0)):\n        y = y + 1",
        "    for _ in range(17):\n        y = torch.cat([y, y])\n    for _ in range(y.size(0)):\n        x = x + 1",
        "    s = \"ab\"\n    for _ in range(9):\n        s = s.replace(\"a\", \"aaaa\")\n    for _ in range(len(s)):\n        y = y + 1",
        "    y = torch.ones(1).expand(n).sum()",
        "    i = 0\n    while i < n:\n        y = y + 1\n        i = i + 1",
        "    i = 0\n    while i < 5:\n        y = y + 1\n        i = i - 1",
        "    i = 0\n    while i < 5 or bool((y > 0).any()):\n        y = y + 1\n        i = i + 1",
    ] {
        assert!(told(&of(body)), "{body}");
    }
    let held = |rounds| {
        let source = "def forward(self, x):\n    for _ in range(self.rounds):\n        x = x + 1\n    return x\n";
        let slots = vec![("rounds", Slot::Attribute(IValue::Int(rounds)))];
        let module = Module::define_with("", source, slots).unwrap();
        module.operators().unwrap().iter().any(|name| name == "sconce::unbounded_loop")
    };
    assert!(!held(512) && held(1_000_000));
    let called = |count: &str| {
        format!(
            "def forward(self, x, n: int):\n    return self.times(x, {count})\n\
             def times(self, x, n: int):\n    for _ in range(n):\n        x = x + 1\n    return x\n"
        )
    };
    assert!(told(&called("n")));
    assert!(!told(&called("3")), "`forward` alone is served");
}
