//! Spans of runs that several requests shared, each with a link to those of its requests that are traced.
//!
//! A link is given when a span is made, since what chooses spans elsewhere sees no later ones. The requests of one run end
//! within moments of each other, on tasks of their own, so that the span of a run is made a little later, of all that came.

use super::span::{Member, Span};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a run is waited for, from the first of its requests that ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Runs that are waited for.
const MAX_RUNS: usize = 1024;
/// Links of a span, as OpenTelemetry bounds them.
const MAX_LINKS: usize = 128;

/// Runs that are waited for.
#[derive(Debug, Default)]
pub(super) struct Runs {
    by_number: BTreeMap<u64, Span>,
    /// In the order in which they end.
    due: VecDeque<(Instant, u64)>,
}

impl Runs {
    /// Adds a request to its run.
    pub(super) fn add(&mut self, member: Member, now: Instant) {
        let Member { run, of_run, span, start, end, mut attributes } = member;
        let waiting = self.by_number.entry(run.number).or_insert_with(|| {
            self.due.push_back((now + PATIENCE, run.number));
            attributes.push(("sconce.batch.rows", run.n_rows.into()));
            Span {
                ids: of_run,
                parent: None,
                name: "batch".into(),
                is_server: false,
                start,
                end,
                attributes,
                links: Vec::new(),
                state: None,
                is_error: false,
            }
        });
        waiting.start = waiting.start.min(start);
        waiting.end = waiting.end.max(end);
        if waiting.links.len() < MAX_LINKS {
            waiting.links.push(span);
        }
    }

    /// The spans of runs that are not waited for any longer.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Span> {
        let mut spans = Vec::new();
        while let Some(&(due, number)) = self.due.front()
            && (due <= now || self.due.len() > MAX_RUNS)
        {
            self.due.pop_front();
            spans.extend(self.by_number.remove(&number));
        }
        spans
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// All of them, at the end.
    pub(super) fn take_all(&mut self) -> Vec<Span> {
        self.due.clear();
        std::mem::take(&mut self.by_number).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ids::{Ids, SpanIds};
    use super::super::span::Value;
    use super::*;
    use crate::inference::RunId;
    use std::time::SystemTime;

    fn member(ids: &Ids, number: u64, ms: u64) -> Member {
        let start = SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        Member {
            run: RunId { number, n_rows: 3 },
            of_run: ids.of_run(number),
            span: SpanIds { trace: ids.trace(), span: ids.span() },
            start,
            end: start + Duration::from_millis(5),
            attributes: vec![("sconce.model", "digits".into())],
        }
    }

    #[test]
    fn a_run_has_a_link_to_each_of_its_requests() {
        let (ids, mut runs, now) = (Ids::default(), Runs::default(), Instant::now());
        let members = [member(&ids, 7, 10), member(&ids, 7, 9), member(&ids, 8, 10)];
        let links = [members[0].span, members[1].span];
        for member in members {
            runs.add(member, now);
        }
        assert_eq!(runs.take(now), []);
        let spans = runs.take(now + PATIENCE);
        assert_eq!(spans.len(), 2);
        let span = &spans[0];
        assert_eq!((span.ids, span.parent, &*span.name), (ids.of_run(7), None, "batch"));
        assert_eq!(span.links, links);
        let since = |moment: SystemTime| moment.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since(span.start), Duration::from_millis(9));
        assert_eq!(since(span.end), Duration::from_millis(15));
        assert!(span.attributes.contains(&("sconce.batch.rows", Value::Number(3))));
        assert_eq!(runs.take_all(), []);
    }

    #[test]
    fn runs_and_links_are_bounded() {
        let (ids, mut runs, now) = (Ids::default(), Runs::default(), Instant::now());
        (0..200).for_each(|_| runs.add(member(&ids, 0, 0), now));
        (1..=MAX_RUNS as u64).for_each(|number| runs.add(member(&ids, number, 0), now));
        let spans = runs.take(now);
        assert_eq!(spans.len(), 1, "the oldest makes room");
        assert_eq!(spans[0].links.len(), MAX_LINKS);
        assert_eq!(runs.take_all().len(), MAX_RUNS);
    }
}
