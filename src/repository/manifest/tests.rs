use super::*;
use crate::engine::{Device, Precision};
use crate::inference::Version;
use crate::repository::policy::VersionPolicy;
use crate::settings::{ByteSize, page};
use crate::tensor::{DataType, ShapePattern};
use crate::transform::Activation;
use crate::transform::{Channels, Filter, ImageSize, Pool};
use std::time::Duration;

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let error = Manifest::parse("m/model.toml", text).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines, expected, "for {text:?}");
}

#[test]
fn an_empty_file_leaves_everything_to_the_server() {
    assert_eq!(Manifest::parse("m/model.toml", "").unwrap(), Manifest::default());
}

#[test]
fn every_key_is_read() {
    let text = r#"
        description = "digits"
        required = false
        versions = [1, 3]
        device = "cuda:1"
        optimize = "off"
        precision = "bf16"
        max_difference = 2e-2
        instances = 2
        intra_op_threads = 4
        labels = ["a", "b"]
        activation = "softmax"
        top = 3
        threshold = 0.25
        [[inputs]]
        name = "x"
        datatype = "FP32"
        shape = [-1, -1]
        pad = 0.5
        [[inputs]]
        name = "sr"
        datatype = "INT64"
        shape = []
        optional = true
        [[outputs]]
        name = "y"
        datatype = "FP32"
        shape = [-1, 10]
        [batching]
        enabled = "trust"
        max_difference = 0.05
        max_batch_size = 64
        max_queue_delay = "2ms"
        max_queue_wait = "500ms"
        queue_capacity = 7
        pad_buckets = [16, 64]
        [postprocess]
        pool = "first"
        normalize = true
        [limits]
        max_rows = 128
        max_body_bytes = "1MiB"
        timeout = "5s"
        [rollout]
        strategy = "canary"
        steps = ["1% for 1m", "12.5% for 90s"]
        decide = "automatic"
        min_requests = 50
        max_error_increase = 0.02
        max_accuracy_drop = 0.1
        max_latency_ratio = 2
        min_agreement = 0.9
        hysteresis = 5
        [evaluation]
        accuracy = 0.93
        log_loss = 2.5
    "#;
    let tensor = |name: &str, datatype, shape: &[i64], optional| TensorSpec {
        name: name.into(),
        datatype,
        shape: ShapePattern::from_wire(shape).unwrap(),
        optional,
        declared: true,
    };
    let expected = Manifest {
        description: Some("digits".into()),
        required: Some(false),
        versions: VersionPolicy::Specific(vec![Version(1), Version(3)]),
        device: Some(DeviceChoice::Only(Device::Cuda(1))),
        optimize: Some(Optimize::Off),
        precision: Precision::Bf16,
        max_difference: Some(0.02),
        instances: Some(2),
        intra_op_threads: Some(4),
        labels: Some(LabelSource::Listed(vec!["a".into(), "b".into()])),
        labels_file: None,
        activation: Activation::Softmax,
        top: Some(3),
        threshold: Some(0.25),
        columns: vec![],
        inputs: vec![
            tensor("x", DataType::Fp32, &[-1, -1], false),
            tensor("sr", DataType::Int64, &[], true),
        ],
        pads: vec![Pad {
            input: "x".into(),
            padding: InputPadding { axis: 1, element: 0.5f32.to_le_bytes().into() },
        }],
        outputs: vec![tensor("y", DataType::Fp32, &[-1, 10], false)],
        batching: BatchingKeys {
            enabled: Some(Sharing::Trust),
            max_difference: Some(0.05),
            max_batch_size: Some(64),
            max_queue_delay: Some(Duration::from_millis(2)),
            max_queue_wait: Some(QueueWait::AtMost(Duration::from_millis(500))),
            queue_capacity: Some(7),
            pad_buckets: Some(vec![16, 64]),
        },
        limits: LimitKeys {
            max_rows: Some(128),
            max_body_bytes: Some(ByteSize(1 << 20)),
            timeout: Some(Duration::from_secs(5)),
        },
        rollout: RolloutKeys {
            strategy: Strategy::Canary,
            steps: Some(RolloutSteps(vec![
                RolloutStep { weight: 0.01, lasts: Duration::from_secs(60) },
                RolloutStep { weight: 0.125, lasts: Duration::from_secs(90) },
            ])),
            decide: Decider::Rules,
            min_requests: Some(50),
            max_error_increase: Some(0.02),
            max_accuracy_drop: Some(0.1),
            max_latency_ratio: Some(2.0),
            min_agreement: Some(0.9),
            hysteresis: Some(5),
        },
        evaluation: EvaluationKeys {
            accuracy: Some(0.93),
            log_loss: Some(2.5),
            ..EvaluationKeys::default()
        },
        text: TextKeys::default(),
        image: ImageKeys::default(),
        postprocess: PostprocessKeys { pool: Some(Pool::First), normalize: true },
    };
    assert_eq!(Manifest::parse("m/model.toml", text).unwrap(), expected);
}

#[test]
fn steps_are_read_and_belong_to_the_key_that_makes_them() {
    let text = "[preprocess.text]\ntokenizer = \"tokenizer.json\"\nmax_tokens = 256\n\
        too_long = \"truncate\"\nmax_bytes = \"1MiB\"\npairs = true\n";
    let expected = TextKeys {
        tokenizer: Some(FolderFile("tokenizer.json".into())),
        max_tokens: Some(256),
        too_long: TooLong::Truncate,
        max_bytes: Some(ByteSize(1 << 20)),
        pairs: true,
    };
    assert_eq!(Manifest::parse("m/model.toml", text).unwrap().text, expected);
    let image = "[preprocess.image]\nresize = 256\nfilter = \"bicubic\"\ncrop = [224, 192]\n\
        channels = \"bgr\"\ndivide_by = 1.0\nmean = 127\nstd = [1, 2, 3.5]\nmax_pixels = 10\n";
    let expected = ImageKeys {
        resize: Some(ImageSize::ShortSide(256)),
        filter: Filter::Bicubic,
        crop: Some(Sides([224, 192])),
        channels: Channels::Bgr,
        divide_by: Some(1.0),
        mean: Some(Numbers(vec![127.0])),
        std: Some(Numbers(vec![1.0, 2.0, 3.5])),
        max_pixels: Some(10),
    };
    assert_eq!(Manifest::parse("m/model.toml", image).unwrap().image, expected);
    let exact = Manifest::parse("m/model.toml", "[preprocess.image]\nresize = [8, 9]\n").unwrap();
    assert_eq!(exact.image.resize, Some(ImageSize::Exact([8, 9])));
    refused(
        "[preprocess.text]\nmax_tokens = 8\n[preprocess.image]\ncrop = 8\n",
        &[
            "m/model.toml:2: preprocess.text.max_tokens: it says nothing without preprocess.text.tokenizer",
            "m/model.toml:4: preprocess.image.crop: it says nothing without preprocess.image.resize",
        ],
    );
    refused(
        "[preprocess.text]\ntokenizer = \"../t.json\"\n[preprocess.image]\nresize = 0\nmean = []\n",
        &[
            "m/model.toml:2: preprocess.text.tokenizer: expected a path inside the model's folder, got \"../t.json\"",
            "m/model.toml:4: preprocess.image.resize: expected a number from 1 to 16384, or [height, width], got 0",
            "m/model.toml:5: preprocess.image.mean: expected a number, or a list of one for each channel, got a list of 0",
        ],
    );
    refused(
        "[preprocess.text]\ntokenizer = \"t.json\"\n[preprocess.image]\nresize = 8\n",
        &[
            "m/model.toml:2: preprocess.text.tokenizer: it needs preprocess.text.max_tokens beside it",
            "m/model.toml:4: preprocess.image.resize: the model has a tokenizer already, expected one of both",
        ],
    );
}

#[test]
fn everything_wrong_is_reported_at_once_with_line_and_key() {
    refused(
        "instances = 0\ndevice = \"gpu\"\n\n[batching]\nmax_queue_delay = 5\nsize = 1\n[[inputs]]\nname = \"x y\"\nshape = [0]\n",
        &[
            "m/model.toml:1: instances: expected a whole number from 1 to 1024, got 0",
            "m/model.toml:2: device: expected \"auto\", \"cpu\" or \"cuda:N\", got \"gpu\"",
            "m/model.toml:5: batching.max_queue_delay: expected a duration with its unit, like \"30s\" or \"250ms\", from \"0s\" to \"10s\", got 5",
            "m/model.toml:6: batching.size: unknown key, docs/models.md lists every one",
            "m/model.toml:7: inputs[0].datatype: missing, expected a datatype like \"FP32\" or \"INT64\"",
            "m/model.toml:8: inputs[0].name: expected 1 to 128 visible ASCII characters, got \"x y\"",
            "m/model.toml:9: inputs[0].shape: expected a list of sizes, where -1 means any and the first counts rows, of at most 67108864 elements a row, got a list of 1",
        ],
    );
}

#[test]
fn a_pad_is_a_number_of_its_input_and_has_one_place_to_go() {
    let input = |datatype: &str, shape: &str, pad: &str| {
        format!(
            "[[inputs]]\nname = \"x\"\ndatatype = \"{datatype}\"\nshape = {shape}\npad = {pad}\n"
        )
    };
    let element = |text: &str| Manifest::parse("m", text).unwrap().pads[0].padding.element.to_vec();
    assert_eq!(element(&input("INT64", "[-1, -1]", "-1")), [0xff; 8]);
    assert_eq!(element(&input("BOOL", "[-1, 2, -1]", "true")), [1]);
    assert_eq!(element(&input("FP16", "[-1, -1]", "1")), [0x00, 0x3c]);
    assert_eq!(element(&input("FP64", "[-1, -1]", "-inf")), f64::NEG_INFINITY.to_le_bytes());
    let number = "expected a number that the input's datatype holds";
    for (datatype, pad) in [("UINT8", "256"), ("INT64", "0.5"), ("BOOL", "2"), ("FP32", "\"0\"")] {
        let got = if pad == "\"0\"" { "\"0\"" } else { pad };
        let expected = format!("m/model.toml:5: inputs[0].pad: {number}, got {got}");
        refused(&input(datatype, "[-1, -1]", pad), &[&expected]);
    }
    for shape in ["[-1, 3]", "[-1]", "[-1, -1, -1]"] {
        let expected = format!(
            "m/model.toml:5: inputs[0].pad: expected a shape with one -1 behind the rows, got {shape}"
        );
        refused(&input("FP32", shape, "0"), &[&expected]);
    }
    refused(
        &input("BYTES", "[-1, -1]", "0"),
        &["m/model.toml:5: inputs[0].pad: texts cannot be padded"],
    );
    for sizes in ["[]", "[8, 8]", "[16, 8]", "[0, 8]"] {
        let error = Manifest::parse("m", &format!("[batching]\npad_buckets = {sizes}"));
        assert!(error.unwrap_err().to_string().contains("a list of 1 to 256 rising sizes"));
    }
}

#[test]
fn forms_and_precisions_are_words_and_the_difference_a_part_of_one() {
    refused(
        "optimize = true\nprecision = \"int8\"\nmax_difference = 0\n",
        &[
            "m/model.toml:1: optimize: expected \"auto\" or \"off\", got true",
            "m/model.toml:2: precision: expected \"fp32\", \"bf16\" or \"fp16\", got \"int8\"",
            "m/model.toml:3: max_difference: expected a number above 0, at most 1, got 0",
        ],
    );
    assert_eq!(
        Manifest::parse("m/model.toml", "max_difference = 1").unwrap().max_difference,
        Some(1.0)
    );
}

#[test]
fn steps_of_a_roll_out_rise_and_a_canary_gets_less_than_all() {
    let expected = "expected a list of 1 to 16 texts like \"5% for 10m\" with rising parts";
    refused(
        "[rollout]\nsteps = [\"5% for 1m\", \"5% for 1m\"]\ndecide = true\n",
        &[
            &format!("m/model.toml:2: rollout.steps: {expected}, got a list of 2"),
            "m/model.toml:3: rollout.decide: expected \"advise\" or \"automatic\", got true",
        ],
    );
    let all = |strategy: &str| {
        format!("[rollout]\nstrategy = {strategy:?}\nsteps = [\"5% for 1m\", \"100% for 1m\"]")
    };
    let reason = "a canary gets less than 100%: behind its last step the new version serves";
    refused(&all("canary"), &[&format!("m/model.toml:3: rollout.steps: {reason}")]);
    assert!(Manifest::parse("m/model.toml", &all("shadow")).is_ok());
}

#[test]
fn a_folder_cannot_vouch_for_itself() {
    refused(
        "isolation = \"none\"\n",
        &[
            "m/model.toml:1: isolation: only the server's configuration sets this, a model's folder cannot",
        ],
    );
}

#[test]
fn labels_stay_in_the_folder_and_come_from_one_place() {
    for bad in ["../labels.txt", "/etc/passwd", "", "a/../../b"] {
        let text = format!("labels_file = {bad:?}");
        let expected = format!(
            "m/model.toml:1: labels_file: expected a path inside the model's folder, got {bad:?}"
        );
        refused(&text, &[&expected]);
    }
    refused(
        "labels = [\"a\", \"a\"]",
        &[
            "m/model.toml:1: labels: expected a list of two or more different texts, got a list of 2",
        ],
    );
    refused(
        "labels = [\"a\", \"b\"]\nlabels_file = \"l.txt\"",
        &["m/model.toml:2: labels_file: labels are listed already, expected one of both"],
    );
}

#[test]
fn broken_toml_is_reported_with_its_line() {
    let error = Manifest::parse("m/model.toml", "top = 1\ntop = = 2\n").unwrap_err().to_string();
    assert!(error.starts_with("m/model.toml:2: not valid TOML: "), "{error}");
    let twice = "[[inputs]]\nname=\"x\"\ndatatype=\"FP32\"\nshape=[-1]\n".repeat(2);
    refused(&twice, &["m/model.toml:6: inputs[1].name: \"x\" is there already"]);
    refused("inputs = 3", &["m/model.toml:1: inputs: expected [[inputs]] tables, got 3"]);
    refused(
        "[outputs]\nname = \"y\"",
        &["m/model.toml:1: outputs: expected [[outputs]] tables, got a table"],
    );
}

#[test]
fn a_misspelled_key_is_known_by_the_one_that_it_is_near_to() {
    refused(
        "instnaces = 2\n[batching]\nmax_batch = 4\n[[inputs]]\nname = \"x\"\ndatatype = \"FP32\"\nshape = [-1]\npads = 0\n[limit]\n",
        &[
            "m/model.toml:1: instnaces: unknown key, did you mean instances?",
            "m/model.toml:3: batching.max_batch: unknown key, docs/models.md lists every one",
            "m/model.toml:8: inputs[0].pads: unknown key, did you mean inputs.pad?",
            "m/model.toml:9: limit: unknown key, did you mean limits?",
        ],
    );
}

#[test]
fn the_page_has_every_key_and_no_other() {
    let row = |key: &Key| {
        let (name, takes) = (key.name(), page::takes(key));
        let is_toml = key.default.starts_with('"');
        let default = if is_toml { format!("`{}`", key.default) } else { key.default.into() };
        format!("| `{name}` | {default} | {takes} | {} |", key.meaning())
    };
    let expected: Vec<_> = Manifest::keys().map(row).collect();
    let rows = page::rows(include_str!("../../../docs/models.md"));
    assert_eq!(rows, expected, "docs/models.md must list the keys:\n{}", expected.join("\n"));
}

#[test]
fn a_row_that_no_memory_holds_is_refused() {
    let parse = |shape: &str| {
        let text = format!("[[inputs]]\nname = \"x\"\ndatatype = \"FP32\"\nshape = {shape}\n");
        Manifest::parse("m", &text)
    };
    assert!(parse("[-1, 64, 1024, 1024]").is_ok());
    for shape in [
        "[-1, 67108865]",
        "[-1, 1000000000000]",
        "[-1, 9223372036854775807]",
        "[-1, 4294967296, 4294967296]",
        "[-1, 2147483648, 2147483648, 4]",
    ] {
        let error = parse(shape).unwrap_err().to_string();
        assert!(error.contains("at most 67108864 elements a row"), "{shape}: {error}");
    }
}

#[test]
fn every_key_of_the_evaluation_is_a_bound() {
    let keys = EvaluationKeys::KEYS.iter().map(|key| key.path.trim_start_matches("evaluation."));
    let text: String = keys.clone().map(|key| format!("{key} = 0.5\n")).collect();
    let manifest = Manifest::parse("m/model.toml", &format!("[evaluation]\n{text}")).unwrap();
    let mut bounds: Vec<_> =
        manifest.evaluation.bounds().into_iter().map(|(name, _)| name).collect();
    let mut keys: Vec<_> = keys.collect();
    bounds.sort_unstable();
    keys.sort_unstable();
    assert_eq!(bounds, keys, "a key that bounds nothing would be passed by every version");
    refused(
        "[evaluation]\naccuracy = 0\nmae = -1",
        &[
            "m/model.toml:2: evaluation.accuracy: expected a number above 0, at most 1, got 0",
            "m/model.toml:3: evaluation.mae: expected a number above 0, got -1",
        ],
    );
}
