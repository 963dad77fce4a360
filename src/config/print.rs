//! A configuration as a file: every key with its value, and where the value came from.

use super::{Config, Loaded, Source};

impl Loaded {
    /// The whole configuration as TOML. Read as a file it gives the same settings again.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for (key, value) in Config::keys().zip(self.config.values()) {
            let (prefix, name) = key.path.split_once('.').unwrap_or(("", key.path));
            if prefix != section {
                text += &format!("\n[{prefix}]\n");
                section = prefix;
            }
            let source = self.sources.get(key.path).map(describe).unwrap_or_default();
            text += &format!("{name} = {value}  # {source}\n");
        }
        text
    }
}

fn describe(source: &Source) -> String {
    // A path could hold a line break, which would end the comment.
    let origin = source.origin.to_string().replace(char::is_control, " ");
    if source.is_auto { format!("{origin}, auto") } else { origin }
}
