//! The sources together: precedence, faults with their places, and printing.

use super::*;
use crate::settings::ByteSize;
use crate::telemetry::logging::LogFormat;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) fn host() -> Host {
    Host { cpus: 2, memory: 8 << 30, state_dir: "/var/state".into(), is_terminal: false }
}

pub(super) fn inputs() -> ConfigSources {
    ConfigSources { file: None, variables: Vec::new(), flags: Vec::new(), host: host() }
}

fn with(variables: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> ConfigSources {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let flag = |(flag, key, value): &(&str, &str, &str)| FlagValue {
        flag: (*flag).into(),
        key: (*key).into(),
        value: (*value).into(),
    };
    ConfigSources { variables, flags: flags.iter().map(flag).collect(), ..inputs() }
}

fn resolve(text: &str, inputs: &ConfigSources) -> Result<Loaded, SettingErrors> {
    Loaded::resolve(Some((Path::new("config/sconce.toml"), text)), inputs)
}

#[track_caller]
fn check_errors(text: &str, inputs: &ConfigSources, expected: &[&str]) {
    let errors = resolve(text, inputs).unwrap_err().to_string();
    assert_eq!(errors.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn defaults_are_complete_and_valid() {
    let Loaded { config, sources } = Loaded::resolve(None, &inputs()).unwrap();
    assert_eq!(config.http.listen, SocketAddr::from(([127, 0, 0, 1], 8080)));
    assert_eq!(config.http.max_body_bytes, ByteSize(16 << 20));
    assert_eq!(config.requests.timeout, Duration::from_secs(30));
    assert_eq!(config.limits.inflight_bytes, ByteSize((8 << 30) / 20 * 19 / 4));
    assert_eq!(config.limits.memory_bytes, ByteSize((8 << 30) / 20 * 19));
    assert_eq!(config.threads.instances, 2);
    assert_eq!(config.general.default_model, None);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(sources.len(), Config::keys().count());
}

#[test]
fn auto_follows_the_quota_that_was_written() {
    let loaded = resolve("threads.cpu_quota = 7", &inputs()).unwrap();
    assert_eq!(loaded.config.threads.instances, 7);
    assert_eq!(loaded.config.threads.http_threads, 7);
}

#[test]
fn the_stronger_source_wins() {
    let file = "[requests]\ntimeout = \"1s\"\nmax_rows = 1\n[batching]\nmax_batch_size = 1";
    let variables = [("SCONCE_REQUESTS__MAX_ROWS", "2"), ("SCONCE_BATCHING__MAX_BATCH_SIZE", "2")];
    let flags = [
        ("--set batching.max_batch_size", "batching.max_batch_size", "3"),
        ("--set batching.max_batch_size", "batching.max_batch_size", "4"),
    ];
    let Loaded { config, sources } = resolve(file, &with(&variables, &flags)).unwrap();
    assert_eq!(config.requests.timeout, Duration::from_secs(1));
    assert_eq!(config.requests.max_rows, 2);
    assert_eq!(config.batching.max_batch_size, 4);
    let origin = |key| sources[key].origin.to_string();
    assert_eq!(origin("requests.timeout"), "config/sconce.toml:2");
    assert_eq!(origin("requests.max_rows"), "SCONCE_REQUESTS__MAX_ROWS");
    assert_eq!(origin("batching.max_batch_size"), "--set batching.max_batch_size");
    assert_eq!(origin("log.level"), "default");
}

#[test]
fn every_fault_is_reported_with_its_place() {
    let file = "\
modles = \"m\"
http = { listen = \"localhost\" }

[requests]
max_rows = 0
timeout = 30

[htpp]
listen = \"x\"
metrics = 1
";
    let variables = [
        ("SCONCE_HTTP_LISTEN", "127.0.0.1:1"),
        ("SCONCE_LOG__FORMAT", "xml"),
        ("SCONCE_WORKERS", "3"),
        ("SCONCE_PORT", "tcp://10.0.0.1:80"),
        ("PATH", "/bin"),
    ];
    let flags = [("--listen", "http.listen", ":80"), ("--set a.b", "a.b", "1")];
    check_errors(
        file,
        &with(&variables, &flags),
        &[
            "config/sconce.toml:1: modles: unknown key, did you mean models?",
            "config/sconce.toml:2: http.listen: expected an IP address and port like \
             \"127.0.0.1:8080\" or \"[::]:8080\", got \"localhost\"",
            "config/sconce.toml:5: requests.max_rows: expected a whole number from 1 to 1000000, \
             got 0",
            "config/sconce.toml:6: requests.timeout: expected a duration with its unit, like \
             \"30s\" or \"250ms\", from \"1ms\" to \"24h\", got 30",
            "config/sconce.toml:8: htpp: unknown key, did you mean http?",
            "SCONCE_HTTP_LISTEN: unknown variable, did you mean SCONCE_HTTP__LISTEN?",
            "SCONCE_WORKERS: unknown variable, docs/configuration.md lists every one",
            "SCONCE_LOG__FORMAT: log.format: expected \"human\" or \"json\" or \"auto\", got \
             \"xml\"",
            "--set a.b: unknown key, docs/configuration.md lists every one",
            "--listen: http.listen: expected an IP address and port like \
             \"127.0.0.1:8080\" or \"[::]:8080\", got \":80\"",
        ],
    );
}

#[test]
fn a_faulty_value_counts_even_when_it_is_overridden() {
    let flags = [("--set http.metrics", "http.metrics", "true")];
    check_errors(
        "[http]\nmetrics = \"yes\"",
        &with(&[], &flags),
        &["config/sconce.toml:2: http.metrics: expected true or false, got \"yes\""],
    );
}

#[test]
fn syntax_errors_have_their_line() {
    check_errors(
        "models = \"m\"\n[http]\nlisten = \nmetrics = true\n",
        &inputs(),
        &[
            "config/sconce.toml:3: not valid TOML: string values must be quoted, expected literal string",
        ],
    );
    let double = resolve("models = \"a\"\nmodels = \"b\"", &inputs()).unwrap_err().to_string();
    assert!(double.starts_with("config/sconce.toml:2: not valid TOML: duplicate key"), "{double}");
}

#[test]
fn a_section_is_no_value_and_a_value_no_section() {
    check_errors(
        "http = 3\nmodels = { a = 1 }\n[[log]]\n",
        &inputs(),
        &[
            "config/sconce.toml:1: http: expected a [http] table, got 3",
            "config/sconce.toml:2: models: expected a path, got a table",
            "config/sconce.toml:3: log: expected a [log] table, got a list of 1",
        ],
    );
}

#[test]
fn contradictions_are_found() {
    check_errors(
        "[management]\nlisten = \"0.0.0.0:8081\"",
        &inputs(),
        &[
            "config/sconce.toml:2: management.listen: 0.0.0.0:8081 is no address of this machine alone, and \
           whoever reaches it can change state: expected a loopback address, or management.insecure = true",
        ],
    );
    check_errors(
        "[management]\ninsecure = true\nlisten = \"0.0.0.0:8080\"",
        &inputs(),
        &["config/sconce.toml:3: management.listen: both listeners would take 0.0.0.0:8080, \
           expected http.listen and management.listen to differ"],
    );
    check_errors(
        "[http]\nbody_idle_timeout = \"61s\"\nmax_body_bytes = \"4GiB\"",
        &inputs(),
        &[
            "config/sconce.toml:2: http.body_idle_timeout: expected at most http.body_timeout \
             (60s), got 61s",
            "config/sconce.toml:3: http.max_body_bytes: a body of http.max_body_bytes (4GiB) \
             would never fit into limits.inflight_bytes (2040109462B)",
        ],
    );
    check_errors(
        "[limits]\ninflight_bytes = \"1GiB\"\nmemory_bytes = \"1GiB\"",
        &inputs(),
        &[
            "config/sconce.toml:2: limits.inflight_bytes: requests could take all that the process may: \
             limits.inflight_bytes is 1GiB, limits.memory_bytes 1GiB",
        ],
    );
    let same_free_port = "http.listen = \"127.0.0.1:0\"\nmanagement.listen = \"127.0.0.1:0\"";
    assert!(resolve(same_free_port, &inputs()).is_ok(), "port 0 is a different one each time");
}

#[test]
fn what_a_huge_machine_gives_can_be_written() {
    let huge = Host { cpus: 4096, memory: 1 << 50, ..host() };
    let loaded = Loaded::resolve(None, &ConfigSources { host: huge, ..inputs() }).unwrap();
    assert_eq!(loaded.config.threads.instances, 1024);
    assert_eq!(resolve(&loaded.to_toml(), &inputs()).unwrap().config, loaded.config);
}

#[test]
fn a_small_machine_runs_with_the_defaults() {
    let small = ConfigSources { host: Host { memory: 32 << 20, ..host() }, ..inputs() };
    assert!(Loaded::resolve(None, &small).is_ok());
}

#[test]
fn what_is_printed_reads_back_as_the_same() {
    let file = "\
models = 'a \"b\"'
default_model = \"digits\"
model_folders = [\"m=/mnt/a,b\", \"n=x\"]
trusted_models = [\"a@sha256:0000000000000000000000000000000000000000000000000000000000000001\"]
http.max_body_bytes = 12345
batching.max_queue_delay = \"1500us\"
threads.cpu_quota = \"auto\"
";
    let loaded = resolve(file, &with(&[("SCONCE_LOG__LEVEL", "warn,hyper=off")], &[])).unwrap();
    let printed = loaded.to_toml();
    let again = resolve(&printed, &inputs()).unwrap();
    assert_eq!(again.config, loaded.config, "{printed}");
    assert!(printed.contains("default_model = \"digits\"  # config/sconce.toml:2\n"), "{printed}");
    assert!(printed.contains("cpu_quota = 2  # config/sconce.toml:7, auto\n"), "{printed}");
    assert!(printed.contains("level = \"warn,hyper=off\"  # SCONCE_LOG__LEVEL\n"), "{printed}");
}

#[test]
fn a_file_is_read_only_when_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sconce.toml");
    std::fs::write(&path, "models = \"elsewhere\"").unwrap();
    let named = ConfigSources { file: Some(path.clone()), ..inputs() };
    assert_eq!(Loaded::load(&named).unwrap().config.general.models, Path::new("elsewhere"));
    let variables = vec![("SCONCE_CONFIG".into(), path.clone().into())];
    let by_variable = ConfigSources { variables, ..inputs() };
    assert_eq!(Loaded::load(&by_variable).unwrap().config.general.models, Path::new("elsewhere"));
    std::fs::write(&path, "\u{feff}models = \"marked\"").unwrap();
    let marked = Loaded::load(&named).unwrap().config;
    assert_eq!(marked.general.models, Path::new("marked"), "a byte-order mark must be skipped");
    let missing = ConfigSources { file: Some(folder.path().join("none.toml")), ..inputs() };
    let error = Loaded::load(&missing).unwrap_err().to_string();
    assert!(error.contains("none.toml: the configuration file cannot be read"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn a_missing_folder_of_models_is_one_clear_line() {
    let flags = [("--models", "models", "no/such/folder")];
    let loaded = Loaded::resolve(None, &with(&[], &flags)).unwrap();
    let error = loaded.check_folders().unwrap_err().to_string();
    assert!(
        error.starts_with("--models: expected a folder of models, \"no/such/folder\""),
        "{error}"
    );
}

#[test]
fn models_in_a_store_lie_in_the_folder_of_state() {
    let store = |models: &str, flags: &[(&str, &str, &str)]| {
        let flags = [&[("--models", "models", models)], flags].concat();
        Loaded::resolve(None, &with(&[], &flags)).map_err(|errors| errors.to_string())
    };
    let loaded = store("s3://bucket/prefix", &[]).unwrap();
    loaded.check_folders().unwrap();
    let folder = loaded.config.models_folder();
    assert!(folder.starts_with("/var/state/store") && folder.ends_with("models"), "{folder:?}");
    let elsewhere = [("--set", "store.cache_dir", "/cache")];
    let config = store("s3://bucket/prefix", &elsewhere).unwrap().config;
    assert!(config.models_folder().starts_with("/cache"));
    let error = store("https://user:geheim@host/models", &[]).unwrap_err();
    assert!(error.starts_with("--models: this is no address of a store"), "{error}");
    assert!(!error.contains("geheim"), "{error}");
    assert_eq!(store("models", &[]).unwrap().config.mirror_options(), None);
}

#[test]
fn a_folder_of_models_is_needed_unless_single_ones_are_named() {
    let check = |flags: &[(&str, &str, &str)]| {
        let mut loaded = Loaded::resolve(None, &with(&[], flags)).unwrap();
        if flags.iter().all(|(flag, ..)| *flag != "--models") {
            // As the default is where nothing lies in the working folder.
            loaded.config.general.models = "no/such/folder".into();
        }
        loaded.check_folders().map_err(|errors| errors.to_string())
    };
    let model = ("--model", "model_folders", "m=also/missing");
    assert_eq!(check(&[model]), Ok(()), "a folder that is to come must not end the program");
    assert!(check(&[]).unwrap_err().starts_with("default: models: expected a folder of models"));
    let models = ("--models", "models", "no/such/folder");
    assert!(check(&[model, models]).is_err(), "a folder that was written must be there");
}

#[test]
fn one_model_has_one_folder() {
    check_errors(
        "model_folders = [\"m=a\", \"n=b\", \"m=c\"]",
        &inputs(),
        &["config/sconce.toml:1: model_folders: model \"m\" has two folders, expected one"],
    );
}
