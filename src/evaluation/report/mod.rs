//! What was found: a table for people, JSON for programs, a page with plots.

mod charts;
mod html;
mod json;
mod page;
mod svg;
mod table;
mod words;

pub use html::html;
pub use json::json;
pub use page::Page;
pub use table::table;
