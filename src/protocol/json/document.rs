//! What lies around tensors in an answer: keys, members, lists.

use super::print::write_string;

/// Prints an array, each item by `write`.
pub(crate) fn write_list<I: IntoIterator>(
    out: &mut Vec<u8>,
    items: I,
    write: impl FnMut(&mut Vec<u8>, I::Item),
) {
    write_items(out, [b'[', b']'], items, write);
}

/// Prints an object, each member by `write`.
pub(crate) fn write_object<I: IntoIterator>(
    out: &mut Vec<u8>,
    items: I,
    write: impl FnMut(&mut Vec<u8>, I::Item),
) {
    write_items(out, [b'{', b'}'], items, write);
}

fn write_items<I: IntoIterator>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: I,
    mut write: impl FnMut(&mut Vec<u8>, I::Item),
) {
    out.push(open);
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(close);
}

/// Prints a key and its colon.
pub(crate) fn write_key(out: &mut Vec<u8>, key: &str) {
    write_string(out, key);
    out.push(b':');
}

/// Prints a key behind another member.
pub(crate) fn write_member(out: &mut Vec<u8>, key: &str) {
    out.push(b',');
    write_key(out, key);
}

/// Prints a text behind another member.
pub(crate) fn write_text_member(out: &mut Vec<u8>, key: &str, value: &str) {
    write_member(out, key);
    write_string(out, value);
}
