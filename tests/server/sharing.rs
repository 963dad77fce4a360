//! Which models share runs, and that no caller ever gets an answer which others had a part in.

use crate::harness::{Models, Server, Settings, get, post};
use serde_json::{Value, json};

/// Name, body of forward, finding.
const MODELS: &[(&str, &str, &str)] = &[
    (
        "branch",
        "if bool(x.max() > 1.0):\n        x = x / 255.0\n    return torch.relu(x)",
        "unproved",
    ),
    ("first", "if bool(x[0, 0] > 100.0):\n        x = x * 2.0\n    return x", "unproved"),
    ("filter", "return x[x[:, 0] > 0.25]", "no_row_axis"),
    ("counted", "return x / float(x.size(0))", "coupled"),
    ("small", "return x - x.mean(0) * 1e-12", "coupled"),
    ("random", "return x + torch.bernoulli(x * 0.0)", "unproved"),
    ("chosen", "return torch.where(x > 1.0, x / 255.0, x)", "proved"),
    (
        "guarded",
        "if bool(x.max() > 1e6):\n        prim.RaiseException(\"too large\", \"builtins.RuntimeError\")\n    return x * 2.0",
        "proved",
    ),
];

/// Rows of two kinds, which branches over values tell apart.
fn body(nth: usize) -> Value {
    let value = [0.5, 200.0][nth % 2];
    json!({"features": [value, 0.25 * value, (nth % 7) as f64 / 8.0, 0.5]})
}

#[test]
fn answers_are_those_alone_whoever_asks_at_the_same_time() {
    let models =
        MODELS.iter().fold(Models::new(), |models, (name, body, _)| models.written(name, body, ""));
    // What a probe sees, no voucher makes up for.
    let models = models.written("vouched", MODELS[0].1, "[batching]\nenabled = \"trust\"\n");
    let server = Settings::new(models).ready();
    let vouched = server.describe("vouched")["versions"][0]["batching"]["finding"].clone();
    assert_eq!(vouched, "coupled");
    for (name, _, finding) in MODELS {
        let batching = server.describe(name)["versions"][0]["batching"].clone();
        assert_eq!(batching["finding"], *finding, "{name}: {batching}");
    }
    let asked: Vec<_> =
        MODELS.iter().filter(|(name, ..)| !matches!(*name, "filter" | "random")).collect();
    for (name, ..) in asked {
        let alone: Vec<Value> = (0..14)
            .map(|nth| server.predict(name, &body(nth)).good()["prediction"].clone())
            .collect();
        std::thread::scope(|scope| {
            for client in 0..8 {
                let (server, alone) = (&server, &alone);
                scope.spawn(move || {
                    for nth in (client..).take(14) {
                        let answer = server.predict(name, &body(nth % 14)).good();
                        let expected = &alone[nth % 14];
                        assert!(
                            agree(&answer["prediction"], expected),
                            "{name}: {answer} {expected}"
                        );
                    }
                });
            }
        });
    }
}

fn agree(a: &Value, b: &Value) -> bool {
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
    };
    numbers(a).iter().zip(numbers(b)).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0))
}

/// A model that model.toml vouches for, wrongly: rows with one rare value change the others.
#[test]
fn the_watch_finds_what_no_probe_has_seen_and_a_restart_does_not_forget() {
    let rare = "if bool((x == 7777.0).any()):\n        x = x + 1.0\n    return x * 2.0";
    let trust = "[batching]\nenabled = \"trust\"\nmax_queue_delay = \"20ms\"\n";
    let models = || Models::new().written("rare", rare, trust);
    let server = Settings::new(models()).set("batching.verify_every=1").ready();
    let batching = |server: &Server| server.describe("rare")["versions"][0]["batching"].clone();
    assert_eq!(batching(&server)["finding"], "trusted", "{}", batching(&server));
    let refuted = || batching(&server)["finding"] == "refuted";
    server.wait("the watch must find the difference", || {
        std::thread::scope(|scope| {
            for value in [1.0, 2.0, 7777.0, 3.0] {
                let body = json!({"features": [value, 0, 0, 0]}).to_string();
                scope.spawn(|| post(server.http, "/predict/rare", body).good());
            }
        });
        refuted()
    });
    assert_eq!(batching(&server)["enabled"], false);
    let health = get(server.http, "/health").good();
    assert_eq!(health["refuted"], json!(["rare/1"]));
    let series = |outcome: &str| {
        format!(
            "sconce_batching_verifications_total{{model=\"rare\",outcome=\"{outcome}\",version=\"1\"}}"
        )
    };
    assert_eq!(server.metric(&series("different")), 1.0);
    let model = "sconce_model_batching{batching=\"refuted\",model=\"rare\",version=\"1\"}";
    assert_eq!(server.metric(model), 1.0);
    let told = |line: &Value| line["level"] == "ERROR" && line.to_string().contains("rare/1");
    assert!(server.log.entries().iter().any(told), "it is an error in the log");
    drop(server);
    let again = Settings::new(models()).ready();
    assert_eq!(batching(&again)["finding"], "refuted", "{}", batching(&again));
    assert_eq!(get(again.http, "/health").good()["refuted"], json!(["rare/1"]));
}
