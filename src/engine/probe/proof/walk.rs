//! The walk over the code: each node once, both sides of a branch that is not decided, loops (`loops`) until nothing changes.
//!
//! What cannot be followed ends the walk with a reason. What is followed but lets rows meet becomes a value of which
//! nothing is promised, and that only counts where it reaches an output, a branch or something that is written in place.

mod loops;

use super::graph::{Block, Graph, Literal, Node, ValueId};
use super::heap::Heap;
use super::number::{Known, Number, join_numbers};
use super::reason::{Doubt, Reason};
use super::rules::{self, Call};
use super::size::{Size, Symbols};
use super::value::{Elements, Object, State, Tensor, Value, join_tensors};
use std::collections::HashMap;
use std::sync::Arc;

/// Most nodes that are visited, those of loops each time.
const MAX_STEPS: usize = 200_000;

/// Whether control comes to the end of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Goes,
    Raises,
}

/// The state of a walk.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) symbols: Symbols,
    pub(super) heap: Heap,
    /// Whether one scale over all rows is accepted.
    pub(super) accepts_scales: bool,
    /// Whether a tensor that is the same for every batch was written in place: it may have held a number.
    pub(super) are_numbers_stale: bool,
    /// The first place where values of rows decide a number or a shape.
    pub(super) values_seen: Option<Reason>,
    /// The first value that hangs on other rows, on their number or on chance, whatever becomes of it.
    pub(super) meeting_seen: Option<Reason>,
    known: HashMap<ValueId, Value>,
    /// Values that are another one under a further name.
    origins: HashMap<ValueId, ValueId>,
    steps: usize,
}

impl Walk {
    pub(super) fn new(accepts_scales: bool) -> Self {
        Self {
            symbols: Symbols::default(),
            heap: Heap::default(),
            accepts_scales,
            values_seen: None,
            meeting_seen: None,
            are_numbers_stale: false,
            known: HashMap::new(),
            origins: HashMap::new(),
            steps: 0,
        }
    }

    /// Walks over the code with these arguments and gives what it returns.
    pub(super) fn run(&mut self, graph: &Graph, arguments: Vec<Value>) -> Result<Value, Reason> {
        self.known.extend(graph.inputs.iter().map(|input| input.id).zip(arguments));
        if self.block(&graph.body)? == Flow::Raises {
            return Err(Reason::unknown("the code always raises"));
        }
        let mut outputs = graph.body.outputs.iter().map(|&id| self.value(id));
        match (outputs.next(), outputs.next()) {
            (Some(output), None) => output,
            _ => Err(Reason::unknown("the code does not return one value")),
        }
    }

    fn value(&self, id: ValueId) -> Result<Value, Reason> {
        let missing = || Reason::unknown(format!("value {id} of the code is not known"));
        let value = self.known.get(&id).cloned().ok_or_else(missing)?;
        Ok(if self.are_numbers_stale { rules::without_number(value) } else { value })
    }

    /// The value that this one is, by its first name.
    pub(super) fn origin(&self, id: ValueId) -> ValueId {
        self.origins.get(&id).copied().unwrap_or(id)
    }

    /// The values have further names.
    fn rename(&mut self, from: &[ValueId], to: &[ValueId]) {
        for (&from, &to) in from.iter().zip(to) {
            let origin = self.origin(from);
            self.origins.insert(to, origin);
        }
    }

    fn values(&self, ids: &[ValueId]) -> Result<Vec<Value>, Reason> {
        ids.iter().map(|&id| self.value(id)).collect()
    }

    fn bind(&mut self, ids: &[ValueId], values: Vec<Value>) {
        self.known.extend(ids.iter().copied().zip(values));
    }

    fn block(&mut self, block: &Block) -> Result<Flow, Reason> {
        for node in &block.nodes {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(Reason::unknown("the code is too long to be followed"));
            }
            if self.node(node)? == Flow::Raises {
                return Ok(Flow::Raises);
            }
        }
        Ok(Flow::Goes)
    }

    fn node(&mut self, node: &Node) -> Result<Flow, Reason> {
        match node.kind.as_str() {
            "prim::RaiseException" => return Ok(Flow::Raises),
            "prim::If" => return self.branch(node),
            "prim::Loop" => return self.repeat(node),
            "prim::Constant" | "prim::Attribute" => {
                let value = self.literal(&node.literal, node);
                self.bind(&node.outputs, vec![value]);
                return Ok(Flow::Goes);
            }
            _ => {}
        }
        let arguments = self.values(&node.inputs)?;
        let outputs = if rules::writes_tensor(node, &arguments) {
            vec![self.write(node, arguments)?]
        } else {
            let mut call = Call::new(node, arguments, self);
            match rules::apply(&mut call) {
                Ok(outputs) => outputs,
                Err(reason) if rules::may_change(node) => return Err(reason),
                Err(reason) => vec![Value::Mixed(reason); node.outputs.len()],
            }
        };
        if outputs.len() != node.outputs.len() {
            let text = format!("{} gives another number of values than expected", node.kind);
            return Err(Reason::unknown(text));
        }
        let meets = |reason: &&Reason| reason.doubt.is_of_rows();
        if let Some(reason) = outputs.iter().filter_map(Value::mixed).find(meets) {
            self.meeting_seen.get_or_insert_with(|| reason.clone());
        }
        self.bind(&node.outputs, outputs);
        if matches!(&*node.kind, "prim::unchecked_cast" | "prim::unchecked_unwrap_optional") {
            self.rename(&node.inputs, &node.outputs);
        }
        Ok(Flow::Goes)
    }

    fn literal(&mut self, literal: &Literal, node: &Node) -> Value {
        // Not known before the code runs, but the same for every batch.
        let site = node.outputs.first().copied().unwrap_or_default();
        Value::literal(literal, &mut |object| self.heap.make(site, object))
    }

    /// An operator that writes into a tensor: rows must stay as they are, since others may look at the same memory.
    fn write(&mut self, node: &Node, arguments: Vec<Value>) -> Result<Value, Reason> {
        let target = match node.writes[..] {
            [place] => arguments.get(place).cloned(),
            _ => None,
        };
        if let Some(Value::Mixed(reason)) = target {
            return Err(reason);
        }
        let Some(Value::Tensor(target)) = target else {
            return Err(Reason::unknown(format!("{} writes into several things", node.kind)));
        };
        let mut call = Call::new(node, arguments, self);
        let outcome = rules::apply(&mut call)?;
        let Some(Value::Tensor(result)) = outcome.first() else {
            return Err(Reason::unknown(format!("{} writes no tensor", node.kind)));
        };
        if target.is_expanded {
            // Its rows may be one and the same memory.
            return Err(Reason::unknown(format!("{} writes into what was expanded", node.kind)));
        }
        let keeps_rows = match (&target.state, &result.state) {
            (_, State::Mixed(reason)) | (State::Mixed(reason), _) => return Err(reason.clone()),
            (State::Rows(target), State::Rows(result)) => target.same(result),
            (State::Rows(_) | State::Free, State::Free) => true,
            (State::Rows(_) | State::Number(_) | State::Free, State::Number(_)) => result.is_free(),
            (State::Number(_), State::Free) => true,
            _ => false,
        };
        self.are_numbers_stale |= target.is_free() || matches!(target.state, State::Number(_));
        let keeps_size = match (&target.dims, &result.dims) {
            (Some(target), Some(result)) => result_fits(target, result),
            _ => target.is_free() && result.is_free(),
        };
        if !(keeps_rows && keeps_size) {
            let text = format!("{} writes what hangs on rows where none were", node.kind);
            return Err(Reason::unknown(text));
        }
        Ok(Value::Tensor(target))
    }

    fn branch(&mut self, node: &Node) -> Result<Flow, Reason> {
        let [then, otherwise] = &node.blocks[..] else {
            return Err(Reason::unknown("a branch without two sides"));
        };
        let condition = match self.values(&node.inputs)?.pop() {
            Some(Value::Number(number)) => number,
            Some(Value::Tensor(Tensor { state: State::Number(number), .. })) => number,
            Some(other) => match other.mixed() {
                Some(reason) => Number::tainted(reason.clone()),
                None => Number::unknown(),
            },
            None => return Err(Reason::unknown("a branch without a condition")),
        };
        let hangs = condition.hangs();
        if let (Some(truth), None) = (condition.as_truth(), &hangs) {
            let side = if truth { then } else { otherwise };
            if self.block(side)? == Flow::Raises {
                return Ok(Flow::Raises);
            }
            let outputs = self.values(&side.outputs)?;
            self.bind(&node.outputs, outputs);
            self.rename(&side.outputs, &node.outputs);
            return Ok(Flow::Goes);
        }
        let mut before = self.heap.clone();
        self.steps += self.heap.len();
        let first = self.side(then)?;
        before.count_behind(&self.heap);
        let after_first = std::mem::replace(&mut self.heap, before);
        let second = self.side(otherwise)?;
        // A batch that raises is run again request by request, so what only decides whether to raise changes no answer.
        self.origins.retain(|output, _| !node.outputs.contains(output));
        let outputs = match (first, second) {
            (None, None) => return Ok(Flow::Raises),
            (Some(outputs), None) => {
                self.heap = after_first;
                self.rename(&then.outputs, &node.outputs);
                outputs
            }
            (None, Some(outputs)) => {
                self.rename(&otherwise.outputs, &node.outputs);
                outputs
            }
            (Some(first), Some(second)) => {
                if let Some(reason) = hangs {
                    return Err(decided(&reason));
                }
                self.heap.join(after_first)?;
                let sides = then.outputs.iter().zip(&otherwise.outputs);
                for ((&a, &b), &output) in sides.zip(&node.outputs) {
                    let origin = self.origin(a);
                    if origin == self.origin(b) {
                        self.origins.insert(output, origin);
                    }
                }
                let pairs = first.into_iter().zip(second);
                pairs.map(|(a, b)| self.join(a, b)).collect::<Result<_, _>>()?
            }
        };
        self.bind(&node.outputs, outputs);
        Ok(Flow::Goes)
    }

    /// What one side of a branch gives; `None` where it raises.
    fn side(&mut self, block: &Block) -> Result<Option<Vec<Value>>, Reason> {
        match self.block(block)? {
            Flow::Raises => Ok(None),
            Flow::Goes => self.values(&block.outputs).map(Some),
        }
    }

    /// What is known where one of two values stands.
    fn join(&mut self, a: Value, b: Value) -> Result<Value, Reason> {
        if a == b {
            return Ok(a);
        }
        if let Some(reason) = a.mixed().or_else(|| b.mixed()) {
            return Ok(Value::Mixed(reason.clone()));
        }
        Ok(match (a, b) {
            (Value::Never, other) | (other, Value::Never) => other,
            (Value::Tensor(a), Value::Tensor(b)) => Value::Tensor(join_tensors(&a, &b)),
            (Value::Number(a), Value::Number(b)) => Value::Number(join_numbers(&a, &b)),
            (Value::Text(_), Value::Text(_)) => Value::Text(None),
            (Value::Tuple(a), Value::Tuple(b)) if a.len() == b.len() => {
                let pairs = a.into_iter().zip(b);
                Value::Tuple(pairs.map(|(a, b)| self.join(a, b)).collect::<Result<_, _>>()?)
            }
            (Value::List(a), Value::List(b)) => Value::List(self.heap.one_of(a, b)?),
            _ => Value::Mixed(Reason::unknown("a value has two forms, by what the code decides")),
        })
    }
}

/// Whether sizes are those of what is written into. Of those that are not known the program itself makes sure.
fn result_fits(target: &[Size], result: &[Size]) -> bool {
    let mut pairs = target.iter().zip(result);
    target.len() == result.len()
        && pairs.all(|(a, b)| a.same(b) || (!a.has_rows() && !b.has_rows()))
}

fn number(value: Value) -> Result<Number, Reason> {
    match value {
        Value::Number(number) => Ok(number),
        Value::Tensor(Tensor { state: State::Number(number), .. }) => Ok(number),
        other => match other.mixed() {
            Some(reason) => Ok(Number::tainted(reason.clone())),
            None => Ok(Number::new(Known::Unknown)),
        },
    }
}

/// The reason of control flow that hangs on something.
fn decided(reason: &Reason) -> Reason {
    let doubt = if reason.doubt == Doubt::Counted { Doubt::Counted } else { Doubt::Values };
    let text = match doubt {
        Doubt::Counted => "a branch or loop hangs on the number of rows".to_owned(),
        _ => format!("a branch or loop hangs on values: {}", reason.text),
    };
    Reason::new(doubt, text)
}

/// Elements of a list as one value each, where their number is known.
pub(super) fn known_elements(elements: &Elements) -> Option<&[Value]> {
    if let Elements::Known(values) = elements { Some(values) } else { None }
}

/// A list's place, made at a node.
pub(super) fn list(heap: &mut Heap, node: &Node, values: Vec<Value>) -> Value {
    let site = node.outputs.first().copied().unwrap_or_default();
    Value::List(heap.make(site, Object::List(Elements::Known(values))))
}

/// A name for messages: the operator without its namespace.
pub(super) fn plain_name(kind: &str) -> Arc<str> {
    kind.rsplit("::").next().unwrap_or(kind).into()
}
