//! The proof over code: small pieces by hand, models that couple rows and such that do not, and real networks. The
//! codes are fixtures; `tests/fixtures/graphs` says what made them.

use super::*;
use crate::tensor::ShapePattern;
use std::io::Read;

const COUPLED: &[u8] = include_bytes!("../../../../tests/fixtures/graphs/coupled.gz");
const APART: &[u8] = include_bytes!("../../../../tests/fixtures/graphs/apart.gz");
const REAL: &[u8] = include_bytes!("../../../../tests/fixtures/graphs/real.gz");
/// What came out for the real networks, a line each.
const OUTCOMES: &str = include_str!("../../../../tests/fixtures/graphs/real.txt");

struct Model {
    name: String,
    specs: Vec<TensorSpec>,
    /// Whether it writes to what it holds, which keeps it apart whatever its rows do.
    has_state: bool,
    code: String,
}

impl Model {
    fn prove(&self) -> Result<Proof, Reason> {
        let given: Vec<_> = self
            .specs
            .iter()
            .map(|spec| ProofInput { name: &spec.name, spec: Some(spec) })
            .collect();
        prove(&self.code, &given, false)
    }
}

fn models(packed: &[u8]) -> Vec<Model> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let models = text.split("=== ").filter(|it| !it.is_empty());
    models
        .map(|model| {
            let (head, code) = model.split_once('\n').unwrap();
            let [name, spec, state] = head.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{head:?}")
            };
            let arguments = code.lines().filter_map(|line| line.strip_prefix("input\t"));
            let names = arguments.map(|line| line.split('\t').nth(1).unwrap());
            let specs = spec.split(';').zip(names).map(|(spec, name)| {
                let (datatype, dims) = spec.split_once(':').unwrap();
                let dims: Vec<i64> = dims.split(',').map(|dim| dim.parse().unwrap()).collect();
                TensorSpec {
                    name: name.into(),
                    datatype: datatype.parse().unwrap(),
                    shape: ShapePattern::from_wire(&dims).unwrap(),
                    optional: false,
                    declared: true,
                }
            });
            let specs = specs.collect();
            let (name, code) = (name.to_owned(), code.trim_end_matches('\n').to_owned());
            Model { name, specs, has_state: state == "state", code }
        })
        .collect()
}

#[test]
fn no_model_that_couples_rows_is_proved() {
    let models = models(COUPLED);
    assert!(models.len() >= 50, "{} models", models.len());
    let proved = models.iter().filter(|model| !model.has_state && model.prove().is_ok());
    assert_eq!(proved.map(|model| &*model.name).collect::<Vec<_>>(), [""; 0]);
}

/// Ways around the rules: numbers that count the rows in odd places, writes through what was expanded, metadata changed in
/// place, numbers in tensors of other datatypes, lists of lists made in loops, containers that hold themselves.
#[test]
fn no_way_around_the_rules_is_proved() {
    let harmless =
        ["pool_stride", "ceil_unknown", "pool_stride2", "cumprod_dtype", "renorm_alias", "str_pad"];
    let models = models(include_bytes!("../../../../tests/fixtures/graphs/devious.gz"));
    assert!(models.len() >= 80, "{} models", models.len());
    let proved = models.iter().filter(|model| !model.has_state && model.prove().is_ok());
    assert_eq!(proved.map(|model| &*model.name).collect::<Vec<_>>(), harmless);
}

/// More of them: texts, numbers that overflow or have few bits, datatypes, ranks and sizes that are other than they seem,
/// side effects that no schema tells, aliases of what the module holds.
#[test]
fn what_evades_the_rules_is_not_proved() {
    // The ends of vectors, where libtorch's own kernels compute otherwise, whatever stands before them.
    // And what libtorch itself leaves out or makes one of two zeros.
    let harmless = ["rem_edge", "cosh_edge", "gelu_inf2", "set_alias", "neg_zero2", "neg_zero3"];
    let models = models(include_bytes!("../../../../tests/fixtures/graphs/evasive.gz"));
    assert!(models.len() >= 350, "{} models", models.len());
    let proved = models.iter().filter(|model| !model.has_state && model.prove().is_ok());
    assert_eq!(proved.map(|model| &*model.name).collect::<Vec<_>>(), harmless);
}

#[test]
fn models_that_keep_rows_apart_are_proved() {
    let models = models(APART);
    assert!(models.len() >= 40, "{} models", models.len());
    for model in &models {
        let proof = model.prove();
        let holds = proof.as_ref().is_ok_and(Proof::has_row_axis) && !model.has_state;
        assert!(holds, "{}: {proof:?}", model.name);
    }
}

#[test]
fn real_networks_come_out_as_the_list_says() {
    let mut outcomes = String::new();
    for model in models(REAL) {
        let outcome = match model.prove() {
            _ if model.has_state => "state".to_owned(),
            Ok(proof) if proof.has_row_axis() => "proved".to_owned(),
            Ok(proof) => format!("apart, rows elsewhere: {:?}", proof.outputs),
            Err(reason) => format!("{:?}: {}", reason.doubt, reason.text),
        };
        outcomes += &format!("{}: {outcome}\n", model.name);
    }
    assert!(outcomes == OUTCOMES, "tests/fixtures/graphs/real.txt must be\n{outcomes}");
    let proved = outcomes.lines().filter(|line| line.ends_with(": proved")).count();
    assert!(proved >= 90, "{proved} are proved");
}

/// What `x` takes: FP32 [N, 4].
fn x_spec() -> TensorSpec {
    TensorSpec {
        name: "x".into(),
        datatype: DataType::Fp32,
        shape: ShapePattern::from_wire(&[-1, 4]).unwrap(),
        optional: false,
        declared: true,
    }
}

/// Nodes over `x` [N, 4], which is value 1; the last value is what comes out.
#[track_caller]
fn check(nodes: &[&str], last: u64, expected: Result<OutputRows, Doubt>) {
    let nodes: String = nodes.iter().map(|node| format!("node\t{node}\n")).collect();
    let code = format!("input\t1=Tensor \tx\t\n{nodes}end\t{last} \n");
    let spec = x_spec();
    let proof = prove(&code, &[ProofInput { name: "x", spec: Some(&spec) }], false);
    let found = proof.map(|proof| proof.outputs[0]).map_err(|reason| reason.doubt);
    assert_eq!(found, expected);
}

#[test]
fn rows_are_followed_through_shapes() {
    let int = |id: u64, value: i64| format!("prim::Constant\t\t{id}=int \t\t\ti {value} ");
    let rows = "aten::size\t1 9 \t2=int \tself dim \t\t".to_owned();
    let list = |id: u64, of: &str| format!("prim::ListConstruct\t{of}\t{id}=List%5bint%5d \t\t\t");
    let view = |list: u64| format!("aten::view\t1 {list} \t20=Tensor \tself size \t\t");
    let case = |sizes: &str, constants: &[(u64, i64)], expected| {
        let mut nodes = vec![int(9, 0), rows.clone()];
        nodes.extend(constants.iter().map(|(id, value)| int(*id, *value)));
        nodes.extend([list(10, sizes), view(10)]);
        let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
        check(&nodes, 20, expected);
    };
    case("2 3 4 ", &[(3, 2), (4, 2)], Ok(OutputRows::Axis(0)));
    case("2 3 ", &[(3, -1)], Ok(OutputRows::Axis(0)));
    case("3 4 ", &[(3, -1), (4, 4)], Ok(OutputRows::Axis(0)));
    // Two rows of two of each: an output with parts of rows in one dimension is none with rows.
    case("3 4 ", &[(3, -1), (4, 2)], Err(Doubt::Unknown));
    case("3 2 ", &[(3, 4)], Err(Doubt::Coupled));
    case("3 4 ", &[(3, 1), (4, 4)], Err(Doubt::Counted));
    case("3 4 ", &[(3, -1), (4, 3)], Err(Doubt::Unknown));
}

#[test]
fn what_is_written_in_place_must_keep_its_rows() {
    let relu = "aten::relu_\t1 \t2=Tensor \tself \t0 \t";
    check(&[relu], 2, Ok(OutputRows::Axis(0)));
    let unknown = "aten::no_such_\t1 \t2=Tensor \tself \t0 \t";
    check(&[unknown], 1, Err(Doubt::Unknown));
    // What an operator does that is not known matters only where it comes out.
    check(&["aten::no_such\t1 \t2=Tensor \tself \t\t"], 1, Ok(OutputRows::Axis(0)));
    check(&["mine::op\t1 \t2=Tensor \tself \t\t"], 2, Err(Doubt::Unknown));
    let mine = "aten::no_such\t1 \t2=Tensor \tself \t\t";
    check(&[mine], 2, Err(Doubt::Unknown));
    // What is not known settles nothing about rows that meet beside it, whichever comes first.
    let (all, sum) = ("aten::sum\t1 \t3=Tensor \tself \t\t", |a: u64, b: u64| {
        format!("aten::add\t{a} {b} \t4=Tensor \tself other \t\t")
    });
    check(&[all], 3, Err(Doubt::Coupled));
    for nodes in [[mine, all, &sum(2, 3)], [mine, all, &sum(3, 2)], [all, mine, &sum(2, 3)]] {
        check(&nodes, 4, Err(Doubt::Coupled));
    }
}

#[test]
fn hostile_code_ends() {
    let endless = format!(
        "prim::Constant\t\t2=bool \t\t\tb 1 \nnode\tprim::Constant\t\t3=int \t\t\ti 9223372036854775807 \nnode\tprim::Loop\t3 2 1 \t4=Tensor \t\t\t\nblock\t5=int 6=Tensor \n{}end\t2 6 ",
        "node\taten::relu\t6 \t7=Tensor \tself \t\t\n".repeat(50)
    );
    check(&[&endless], 4, Ok(OutputRows::Axis(0)));
    for code in ["", "end\t1 \n", "node\tprim::If\t1 \t2=a \t\t\t\nend\t2 \n"] {
        assert!(prove(code, &[], false).is_err(), "{code:?}");
    }
}

proptest::proptest! {
    /// Whatever the text, it is refused or judged, and neither panics nor goes on for ever.
    #[test]
    fn any_text_is_judged(lines in proptest::collection::vec(0usize..LINES.len(), 0..40)) {
        let code: String = lines.iter().map(|line| format!("{}\n", LINES[*line])).collect();
        let _ = prove(&code, &[], false);
        let spec = x_spec();
        let _ = prove(&format!("input\t1=Tensor \tx\t\n{code}"), &[ProofInput { name: "x", spec: Some(&spec) }], true);
    }
}

/// Lines that codes are made of, and some that they are not.
const LINES: &[&str] = &[
    "end\t1 ",
    "end\t2 3 ",
    "block\t5=int ",
    "block\t",
    "node\tprim::If\t1 \t2=Tensor \t\t\t",
    "node\tprim::Loop\t3 4 1 \t2=Tensor \t\t\t",
    "node\tprim::Constant\t\t3=int \t\t\ti -1 ",
    "node\tprim::Constant\t\t4=bool \t\t\tb 1 ",
    "node\tprim::Constant\t\t3=List \t\t\t( i 1 t Float 2 0 -1 - ",
    "node\tprim::ListConstruct\t3 3 \t6=List \t\t\t",
    "node\taten::view\t1 6 \t2=Tensor \tself size \t\t",
    "node\taten::select\t1 3 3 \t2=Tensor \tself dim index \t\t",
    "node\taten::slice\t1 3 3 3 3 \t2=Tensor \tself dim start end step \t\t",
    "node\taten::cat\t6 3 \t2=Tensor \ttensors dim \t\t",
    "node\taten::unfold\t1 3 3 3 \t2=Tensor \tself dimension size step \t\t",
    "node\taten::chunk\t1 3 3 \t6=List \tself chunks dim \t\t",
    "node\taten::conv2d\t1 1 1 6 6 6 3 \t2=Tensor \tinput weight bias stride padding dilation groups \t\t",
    "node\taten::max_pool2d\t1 6 6 6 6 4 \t2=Tensor \tself kernel_size stride padding dilation ceil_mode \t\t",
    "node\taten::pixel_shuffle\t1 3 \t2=Tensor \tself upscale_factor \t\t",
    "node\taten::squeeze\t1 \t2=Tensor \tself \t\t",
    "node\taten::add_\t1 1 3 \t2=Tensor \tself other alpha \t0 \t",
    "node\taten::append\t6 1 \t6=List \tself el \t0 \t",
    "node\taten::__getitem__\t6 3 \t2=Tensor \tlist idx \t\t",
    "node\taten::mul\t3 3 \t3=int \ta b \t\t",
    "node\tprim::TupleUnpack\t1 \t2=a 3=b \t\t\t",
    "node\taten::einsum\t1 6 \t2=Tensor \tequation tensors \t\t",
    "nonsense",
];

/// The rows of the page's table of operators.
#[test]
fn the_page_has_every_operator_that_has_a_rule() {
    let page = include_str!("../../../../docs/batching.md");
    for (title, operators) in operators() {
        let names: Vec<_> = operators.iter().map(|name| format!("`{name}`")).collect();
        let row = format!("| {title} | {} |", names.join(", "));
        assert!(page.contains(&row), "docs/batching.md must have this row:\n{row}");
    }
}
