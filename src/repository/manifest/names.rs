//! Names in lists of tables, of which none stands twice.

use crate::settings::{Reader, Table};
use std::collections::HashSet;
use std::sync::Arc;

/// Reports a name that is there already.
pub(super) fn refuse_twice(
    reader: &mut Reader,
    table: &Table,
    names: &mut HashSet<Arc<str>>,
    name: &Arc<str>,
) {
    if !names.insert(Arc::clone(name)) {
        reader.conflict(&[&table.path("name")], format!("{name:?} is there already"));
    }
}
