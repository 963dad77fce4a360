//! The names of environment variables: which one sets a key, and which are not meant for us.

use std::ffi::OsStr;

/// What every variable of ours begins with.
pub(super) const PREFIX: &str = "SCONCE_";

/// Names the configuration file.
pub const CONFIG_FILE: &str = "SCONCE_CONFIG";

/// Variables of the project's scripts, of no meaning to the program.
const OF_SCRIPTS: [&str; 1] = ["SCONCE_CACHE"];

/// The variable that sets a key: `http.listen` is set by `SCONCE_HTTP__LISTEN`.
pub(super) fn name(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// Whether a variable that sets no key may stand in the environment all the same.
pub(super) fn is_tolerated(name: &str, value: &OsStr) -> bool {
    name == CONFIG_FILE || OF_SCRIPTS.contains(&name) || is_service_link(name, value)
}

/// Whether Kubernetes sets this variable for a Service whose name begins with `sconce`.
///
/// Every pod of a namespace gets such variables for every Service, so that a Service named after
/// the program must not keep it from starting.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let protocols = ["tcp", "udp", "sctp"];
    let is_link = || {
        let value = value.to_string_lossy();
        protocols.iter().any(|protocol| value.starts_with(&format!("{protocol}://")))
    };
    // SCONCE_PORT_8080_TCP_PORT has "_PORT_" but once: the word at its end has nothing after it.
    let is_part_of_link = || name.rsplit_once("_PORT_").is_some_and(|(_, rest)| is_port(rest));
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_link())
        || is_part_of_link()
}

/// Whether this is what stands after `_PORT_`: `8080_TCP`, `8080_TCP_ADDR` and their like.
fn is_port(text: &str) -> bool {
    let mut words = text.split('_');
    let number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
    let protocol = matches!(words.next(), Some("TCP" | "UDP" | "SCTP"));
    let part = matches!(words.next(), None | Some("PROTO" | "PORT" | "ADDR"));
    number && protocol && part && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_keys_are_joined_by_two_underscores() {
        assert_eq!(name("http.listen"), "SCONCE_HTTP__LISTEN");
        assert_eq!(name("default_model"), "SCONCE_DEFAULT_MODEL");
    }

    #[test]
    fn variables_of_a_service_of_our_name_are_tolerated() {
        for (name, value) in [
            ("SCONCE_SERVICE_HOST", "10.0.0.1"),
            ("SCONCE_SERVICE_PORT", "8080"),
            ("SCONCE_SERVICE_PORT_HTTP", "8080"),
            ("SCONCE_PORT", "tcp://10.0.0.1:8080"),
            ("SCONCE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("SCONCE_PORT_8080_TCP_PROTO", "tcp"),
            ("SCONCE_PORT_8080_TCP_PORT", "8080"),
            ("SCONCE_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("SCONCE_MANAGEMENT_SERVICE_HOST", "10.0.0.2"),
            ("SCONCE_MANAGEMENT_PORT_8081_TCP_ADDR", "10.0.0.2"),
        ] {
            assert!(is_tolerated(name, OsStr::new(value)), "{name} must be tolerated");
        }
    }

    #[test]
    fn other_variables_are_not() {
        for (name, value) in [
            ("SCONCE_PORT", "8080"),
            ("SCONCE_HTTP_PORT", "8080"),
            ("SCONCE_PORT_HTTP", "8080"),
            ("SCONCE_PORT_8080", "8080"),
            ("SCONCE_MODEL", "models"),
        ] {
            assert!(!is_tolerated(name, OsStr::new(value)), "{name} must be refused");
        }
    }
}
