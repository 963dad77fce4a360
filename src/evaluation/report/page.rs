//! A page that stands alone: no script, no font and no picture from elsewhere. What comes from files is escaped.

use std::fmt::{self, Write as _};

const STYLE: &str = include_str!("style.css");

/// A page that is being written. All that it is given is text, and shown as it is.
#[derive(Debug)]
pub struct Page(String);

impl Page {
    /// One with a title, which is its heading too.
    #[must_use]
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        Self(format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n"
        ))
    }

    /// Adds the heading of a part.
    pub fn heading(&mut self, text: &str) {
        self.element("h2", text);
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.element("p", text);
    }

    /// Adds a table; a row has a cell for each of the head.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let head: String = head.iter().map(|cell| format!("<th>{}</th>", escape(cell))).collect();
        self.markup(format_args!("<table>\n<tr>{head}</tr>"));
        for row in rows {
            let cells: String =
                row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
            self.markup(format_args!("<tr>{cells}</tr>"));
        }
        self.markup(format_args!("</table>"));
    }

    /// The text of the page.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.push_str("</html>\n");
        self.0
    }

    /// Adds a line of HTML as it is.
    pub(super) fn markup(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn element(&mut self, tag: &str, text: &str) {
        self.markup(format_args!("<{tag}>{}</{tag}>", escape(text)));
    }
}

/// Text that a page shows as it is.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other if other.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
