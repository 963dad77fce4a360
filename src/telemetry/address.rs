//! Addresses that things are sent to, as people may see them.

/// An address without what may be secret in it: user, password, query and fragment.
#[must_use]
pub fn without_secrets(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_left_out_and_the_rest_stays() {
        let check = |address, expected| assert_eq!(without_secrets(address), expected);
        check("http://u:secret@b:4317?token=secret", "http://b:4317");
        check("https://b/x/y@z?token=secret#f", "https://b/x/y@z");
        check("https://b/#secret", "https://b/");
        check("u@b:4317", "http://b:4317");
    }
}
