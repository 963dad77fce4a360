//! In whose words a failure is written: those of the protocol whose route was asked for, also where
//! there is no such route or it does not take the method.

use super::route::{Protocol, Route};
use axum::http::Method;
use std::cmp::Reverse;

/// The protocol of a request, by the rows of the listener that was asked.
///
/// It is that of the row which the path agrees with for the longest; where several do, of the one with the fewest placeholders,
/// then of the one that takes the method, otherwise of the last. Where not even the first segment is known, nobody else's clients are
/// meant.
pub(super) fn protocol_of(routes: &[Route], method: &Method, path: &str) -> Protocol {
    let agreeing = routes.iter().filter_map(|route| {
        let Agreement { agree, literal, rest } = agreement(route.path, path);
        let takes = route.operation.methods.take(method);
        (agree > 0).then_some(((agree, Reverse(rest), literal, takes), route.operation.protocol))
    });
    let nearest = agreeing.max_by_key(|(closeness, _)| *closeness);
    nearest.map_or(Protocol::Native, |(_, protocol)| protocol)
}

/// How many leading segments of a row a path has, how many of them are no placeholders, and how many more the row has.
struct Agreement {
    agree: usize,
    literal: usize,
    rest: usize,
}

fn agreement(route: &str, path: &str) -> Agreement {
    let own = route.split('/').skip(1);
    let n_own = own.clone().count();
    let same = |(own, asked): &(&str, &str)| own.starts_with('{') || own == asked;
    let agreeing = own.zip(path.split('/').skip(1)).take_while(same);
    let (mut agree, mut literal) = (0, 0);
    for (own, _) in agreeing {
        agree += 1;
        literal += usize::from(!own.starts_with('{'));
    }
    Agreement { agree, literal, rest: n_own - agree }
}
