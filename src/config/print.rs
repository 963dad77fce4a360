//! A configuration as a file: every key with its value, and where the value came from.

use super::{Config, Loaded};
use crate::settings::Source;

impl Loaded {
    /// The whole configuration as TOML. Read as a file it gives the same settings again.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in Config::keys() {
            let Some(source) = self.sources.get(key.path) else { continue };
            let (prefix, name) = key.path.split_once('.').unwrap_or(("", key.path));
            if prefix != section {
                text += &format!("\n[{prefix}]\n");
                section = prefix;
            }
            text += &format!("{name} = {}  # {}\n", source.value, describe(source));
        }
        text
    }
}

fn describe(source: &Source) -> String {
    // A path could hold a line break, which would end the comment.
    let origin = source.origin.to_string().replace(char::is_control, " ");
    if source.is_auto { format!("{origin}, auto") } else { origin }
}
