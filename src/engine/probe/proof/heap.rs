//! Lists and dictionaries of the code, which may change after they are made.
//!
//! Inside a loop of unknown length a node makes the same place each time, which then holds what any turn put there.

use super::graph::ValueId;
use super::number::join_numbers;
use super::reason::Reason;
use super::value::{Elements, Object, Place, Value, join_tensors};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Places from here on belong to a node inside a loop.
const IN_LOOPS: Place = 1 << 62;
/// Most elements of a list that are told apart.
const MAX_ELEMENTS: usize = 4096;
/// Deepest nesting of lists in lists that is joined.
const MAX_DEPTH: usize = 16;

/// What lies where.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Heap {
    objects: BTreeMap<Place, Object>,
    /// Places that stand for one of two others.
    pairs: BTreeMap<(Place, Place), Place>,
    /// Places with more than one name, which may not change any more.
    shared: BTreeSet<Place>,
    next: Place,
    loops: usize,
}

impl Heap {
    /// A new place, made at a node.
    pub(super) fn make(&mut self, site: ValueId, object: Object) -> Place {
        if self.loops == 0 {
            self.next += 1;
            self.objects.insert(self.next, object);
            return self.next;
        }
        let place = IN_LOOPS | site;
        let object = match self.objects.remove(&place) {
            Some(earlier) => self.either(earlier, object, 0),
            None => object,
        };
        self.objects.insert(place, object);
        place
    }

    /// About how much there is to copy and to compare.
    pub(super) fn len(&self) -> usize {
        let size = |object: &Object| match object {
            Object::List(Elements::Known(values)) => values.len(),
            Object::List(Elements::Any(_)) => 1,
            Object::Dict(entries) => entries.len(),
        };
        self.objects.values().map(size).sum()
    }

    pub(super) fn enter_loop(&mut self) {
        self.loops += 1;
    }

    pub(super) fn leave_loop(&mut self) {
        self.loops = self.loops.saturating_sub(1);
    }

    /// The elements of a list.
    pub(super) fn list(&self, place: Place) -> Result<&Elements, Reason> {
        match self.objects.get(&place) {
            Some(Object::List(elements)) => Ok(elements),
            _ => Err(Reason::unknown("a list of which nothing is known")),
        }
    }

    /// The entries of a dictionary.
    pub(super) fn dict(&self, place: Place) -> Result<&[(Arc<str>, Value)], Reason> {
        match self.objects.get(&place) {
            Some(Object::Dict(entries)) => Ok(entries),
            _ => Err(Reason::unknown("a dictionary of which nothing is known")),
        }
    }

    /// Goes on counting places behind another heap, so that no two get the same.
    pub(super) fn count_behind(&mut self, other: &Self) {
        self.next = self.next.max(other.next);
    }

    /// Whether a list is too long to be followed.
    pub(super) fn is_too_long(n_elements: usize) -> bool {
        n_elements > MAX_ELEMENTS
    }

    /// Changes what lies at a place. In a loop what was there before may still be there.
    pub(super) fn set(&mut self, place: Place, object: Object) -> Result<(), Reason> {
        self.check_own(place)?;
        let object = match self.objects.remove(&place) {
            Some(earlier) if self.is_any(place) => self.either(earlier, object, 0),
            _ => object,
        };
        self.objects.insert(place, object);
        Ok(())
    }

    /// Whether a place may stand for several lists, so that what was there may be there still.
    fn is_any(&self, place: Place) -> bool {
        self.loops > 0 || place & IN_LOOPS != 0
    }

    fn check_own(&self, place: Place) -> Result<(), Reason> {
        if self.shared.contains(&place) {
            return Err(Reason::unknown("a list that has two names is changed"));
        }
        Ok(())
    }

    /// What is known where this or the other heap holds.
    pub(super) fn join(&mut self, other: Self) -> Result<(), Reason> {
        self.count_behind(&other);
        self.shared.extend(other.shared.iter().copied());
        self.pairs.extend(other.pairs.iter().map(|(pair, place)| (*pair, *place)));
        for (place, theirs) in other.objects {
            let joined = match self.objects.remove(&place) {
                Some(ours) => self.either(ours, theirs, 0),
                None => theirs,
            };
            self.objects.insert(place, joined);
        }
        Ok(())
    }

    /// A list that is one of two.
    pub(super) fn one_of(&mut self, a: Place, b: Place) -> Result<Place, Reason> {
        let [first, second] = [self.list(a)?.clone(), self.list(b)?.clone()].map(Object::List);
        let joined = self.either(first, second, 0);
        let place = match self.pairs.get(&(a, b)) {
            Some(place) => *place,
            None => {
                self.next += 1;
                self.pairs.insert((a, b), self.next);
                self.next
            }
        };
        self.objects.insert(place, joined);
        // This is one of the two: what changed there would have to change here.
        self.shared.extend([a, b, place]);
        Ok(place)
    }

    fn either(&mut self, a: Object, b: Object, depth: usize) -> Object {
        if a == b {
            return a;
        }
        match (a, b) {
            (Object::List(a), Object::List(b)) => Object::List(self.elements(a, b, depth)),
            // Which keys there are, and in which order, is told as well.
            (Object::Dict(a), Object::Dict(b))
                if a.iter().map(|(key, _)| key).eq(b.iter().map(|(key, _)| key)) =>
            {
                let pairs = a.into_iter().zip(b);
                let join = |((key, a), (_, b)): ((Arc<str>, Value), (_, Value))| {
                    (key, self.value(a, b, depth))
                };
                Object::Dict(pairs.map(join).collect())
            }
            _ => Object::List(Elements::Any(Some(Box::new(two_forms())))),
        }
    }

    fn elements(&mut self, a: Elements, b: Elements, depth: usize) -> Elements {
        match (a, b) {
            (Elements::Known(a), Elements::Known(b)) if a.len() == b.len() => {
                let pairs = a.into_iter().zip(b);
                Elements::Known(pairs.map(|(a, b)| self.value(a, b, depth)).collect())
            }
            (a, b) => {
                let all = [a, b].into_iter().flat_map(|elements| match elements {
                    Elements::Known(values) => values,
                    Elements::Any(value) => value.map(|it| *it).into_iter().collect(),
                });
                let mut any: Option<Value> = None;
                for value in all.collect::<Vec<_>>() {
                    any = Some(match any {
                        Some(known) => self.value(known, value, depth),
                        None => value,
                    });
                }
                Elements::Any(any.map(Box::new))
            }
        }
    }

    fn value(&mut self, a: Value, b: Value, depth: usize) -> Value {
        if a == b {
            return a;
        }
        if let Some(reason) = a.mixed().or_else(|| b.mixed()) {
            return Value::Mixed(reason.clone());
        }
        match (a, b) {
            (Value::Never, other) | (other, Value::Never) => other,
            (Value::Tensor(a), Value::Tensor(b)) => Value::Tensor(join_tensors(&a, &b)),
            (Value::Number(a), Value::Number(b)) => Value::Number(join_numbers(&a, &b)),
            (Value::Text(_), Value::Text(_)) => Value::Text(None),
            (Value::Tuple(a), Value::Tuple(b)) if a.len() == b.len() && depth < MAX_DEPTH => {
                let pairs = a.into_iter().zip(b);
                Value::Tuple(pairs.map(|(a, b)| self.value(a, b, depth + 1)).collect())
            }
            _ => two_forms(),
        }
    }

    /// Adds an element at the end.
    pub(super) fn append(&mut self, place: Place, value: Value) -> Result<(), Reason> {
        self.check_own(place)?;
        let elements = match (self.list(place)?.clone(), self.is_any(place)) {
            (Elements::Known(mut values), false) if values.len() < MAX_ELEMENTS => {
                values.push(value);
                Elements::Known(values)
            }
            (elements, _) => {
                let one = Elements::Any(Some(Box::new(value)));
                self.elements(elements, one, 0)
            }
        };
        self.objects.insert(place, Object::List(elements));
        Ok(())
    }
}

fn two_forms() -> Value {
    Value::Mixed(Reason::unknown("a list holds values of several forms"))
}
