//! Loops: of few turns one by one, others until nothing changes.

use super::super::graph::{Block, Node};
use super::super::number::{Number, join_numbers};
use super::super::reason::Reason;
use super::super::value::Value;
use super::{Flow, Walk, decided, number};

/// Most turns of a loop of known length that are walked one by one.
const MAX_TURNS: i64 = 64;
/// Most turns until a loop of unknown length must have come to rest.
const MAX_ROUNDS: usize = 12;

/// Where a loop stands before a turn.
struct LoopState {
    /// Whether it goes on.
    goes: Value,
    /// What it hands from turn to turn.
    carried: Vec<Value>,
}

impl Walk {
    /// Any loop.
    pub(super) fn repeat(&mut self, node: &Node) -> Result<Flow, Reason> {
        let [body] = &node.blocks[..] else {
            return Err(Reason::unknown("a loop without a body"));
        };
        let mut inputs = self.values(&node.inputs)?.into_iter();
        let (Some(turns), Some(goes)) = (inputs.next(), inputs.next()) else {
            return Err(Reason::unknown("a loop without an end"));
        };
        let carried: Vec<_> = inputs.collect();
        let turns = number(turns)?;
        if let Some(reason) = turns.hangs() {
            return Err(decided(&reason));
        }
        match turns.as_int() {
            Some(turns) if turns <= MAX_TURNS => {
                self.unroll(node, body, turns, LoopState { goes, carried })
            }
            _ => self.settle(node, body, LoopState { goes, carried }),
        }
    }

    /// A loop of few turns, one by one, for as long as it is known to go on.
    fn unroll(
        &mut self,
        node: &Node,
        body: &Block,
        turns: i64,
        LoopState { goes, mut carried }: LoopState,
    ) -> Result<Flow, Reason> {
        let mut goes = number(goes)?;
        for turn in 0..turns {
            if let Some(reason) = goes.hangs() {
                return Err(decided(&reason));
            }
            match goes.as_truth() {
                Some(true) => {}
                Some(false) => break,
                None => {
                    let goes = Value::Number(goes);
                    return self.settle(node, body, LoopState { goes, carried });
                }
            }
            self.bind(&body.inputs, vec![Value::Number(Number::int(turn))]);
            self.bind(body.inputs.get(1..).unwrap_or_default(), carried);
            if self.block(body)? == Flow::Raises {
                return Ok(Flow::Raises);
            }
            let mut outputs = self.values(&body.outputs)?.into_iter();
            goes = match outputs.next() {
                Some(value) => number(value)?,
                None => return Err(Reason::unknown("a loop without a condition")),
            };
            carried = outputs.collect();
        }
        self.bind(&node.outputs, carried);
        Ok(Flow::Goes)
    }

    /// A loop of unknown length: what it carries is joined with what comes around until nothing changes.
    fn settle(
        &mut self,
        node: &Node,
        body: &Block,
        LoopState { goes, mut carried }: LoopState,
    ) -> Result<Flow, Reason> {
        let mut goes = number(goes)?;
        self.heap.enter_loop();
        for _ in 0..MAX_ROUNDS {
            if let Some(reason) = goes.hangs() {
                return Err(decided(&reason));
            }
            let before = self.heap.clone();
            self.steps += self.heap.len();
            let were_stale = self.are_numbers_stale;
            self.bind(&body.inputs, vec![Value::Number(Number::unknown())]);
            self.bind(body.inputs.get(1..).unwrap_or_default(), carried.clone());
            if self.block(body)? == Flow::Raises {
                break;
            }
            let mut outputs = self.values(&body.outputs)?.into_iter();
            goes = match outputs.next() {
                Some(value) => join_numbers(&goes, &number(value)?),
                None => return Err(Reason::unknown("a loop without a condition")),
            };
            let around: Vec<_> = outputs.collect();
            self.heap.join(before.clone())?;
            let pairs = carried.iter().cloned().zip(around);
            let joined: Vec<_> = pairs.map(|(a, b)| self.join(a, b)).collect::<Result<_, _>>()?;
            let is_settled =
                joined == carried && self.heap == before && were_stale == self.are_numbers_stale;
            if is_settled && goes.hangs().is_none() {
                self.heap.leave_loop();
                self.bind(&node.outputs, carried);
                return Ok(Flow::Goes);
            }
            carried = joined;
        }
        Err(Reason::unknown("a loop whose values take ever new forms"))
    }
}
