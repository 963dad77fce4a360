//! The caller's trace, as the `traceparent` header of W3C Trace Context names it.

/// The ids of a `traceparent` header (Trace Context, level 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    /// 32 lowercase hexadecimal digits.
    pub trace_id: String,
    /// 16 lowercase hexadecimal digits.
    pub parent_id: String,
    /// Whether the caller records this trace.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads the header's value. What is not one is `None` and treated as absent, as the standard
    /// wants it: a broken trace is no reason to refuse a request.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        // The four fields have fixed lengths: 2, 32, 16 and 2 digits. A later version of the
        // standard may append more of them, and is then read as far as it is known.
        let (known, more) = header.split_at_checked(55)?;
        let mut fields = known.split('-');
        let [version, trace_id, parent_id, flags] =
            [(); 4].map(|()| fields.next().unwrap_or_default());
        let lengths = [version, trace_id, parent_id, flags].map(str::len);
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
        let is_well_formed = lengths == [2, 32, 16, 2] && known.bytes().all(is_hex);
        let may_be_longer = version != "00" && more.starts_with('-');
        let is_zero = |id: &str| id.bytes().all(|digit| digit == b'0');
        let is_valid = is_well_formed
            && version != "ff"
            && (more.is_empty() || may_be_longer)
            && !is_zero(trace_id)
            && !is_zero(parent_id);
        let flags = u8::from_str_radix(flags, 16).ok().filter(|_| is_valid)?;
        let (trace_id, parent_id) = (trace_id.to_owned(), parent_id.to_owned());
        Some(Self { trace_id, parent_id, sampled: flags & 1 == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[track_caller]
    fn check(header: &str, expected: Option<bool>) {
        let trace = TraceParent::parse(header);
        assert_eq!(trace.as_ref().map(|trace| trace.sampled), expected, "{header:?}");
        if let Some(trace) = trace {
            assert_eq!((&*trace.trace_id, &*trace.parent_id), (TRACE, PARENT));
        }
    }

    #[test]
    fn headers_are_read_as_the_standard_says() {
        check(&format!("00-{TRACE}-{PARENT}-01"), Some(true));
        check(&format!("00-{TRACE}-{PARENT}-00"), Some(false));
        check(&format!("00-{TRACE}-{PARENT}-fe"), Some(false));
        check(&format!("01-{TRACE}-{PARENT}-03"), Some(true));
        check(&format!("cc-{TRACE}-{PARENT}-01-what-comes-later"), Some(true));
    }

    #[test]
    fn what_is_no_header_is_none() {
        check("", None);
        check(&format!("00-{TRACE}-{PARENT}"), None);
        check(&format!("00-{TRACE}-{PARENT}-01-more"), None);
        check(&format!("00-{TRACE}-{PARENT}-01 "), None);
        check(&format!("cc-{TRACE}-{PARENT}-01more"), None);
        check(&format!("ff-{TRACE}-{PARENT}-01"), None);
        check(&format!("00-{}-{PARENT}-01", TRACE.to_uppercase()), None);
        check(&format!("00-{}-{PARENT}-01", "0".repeat(32)), None);
        check(&format!("00-{TRACE}-{}-01", "0".repeat(16)), None);
        check(&format!("00-{TRACE}-{PARENT}-0x"), None);
        check(&format!("00_{TRACE}-{PARENT}-01"), None);
        check(&format!("0-0{TRACE}-{PARENT}-01"), None);
        check(&"é".repeat(40), None);
        check(&"-".repeat(55), None);
    }
}
