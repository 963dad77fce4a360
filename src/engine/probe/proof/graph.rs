//! A model's code as data: nodes, the blocks in them, and what is known of the module's attributes.
//!
//! The text comes from the shim, one line a node, its fields parted by tabs (`%XX` stands for other characters):
//!
//! | line | fields |
//! |---|---|
//! | `input` | an argument, `id=type`; its name; its default, a literal, where it has one |
//! | `node` | operator; inputs; outputs, `id=type`; names of its arguments; which of them it writes; a literal |
//! | `block` | inputs of a block of the node before; its lines follow up to its `end` |
//! | `end` | what the block, or the whole, gives |
//!
//! A literal is `n` (None), `i` and a whole number, `f` and a number, `b` and 0 or 1, `s` and a text, `t` with a
//! datatype, the number of dimensions, each size, and its value or `-` (a tensor; only a single whole number has one), `(` … `)`,
//! `<` … `>` and `{` … `}` with literals, or `o`, a thing that has no form here.

use std::sync::Arc;

/// Deepest nesting of blocks and literals.
const MAX_DEPTH: usize = 80;

/// What lets the values of a tensor decide a number, a shape or a branch.
pub(in crate::engine::probe) const BY_VALUES: &[&str] = &[
    "aten::item",
    "aten::Int",
    "aten::Float",
    "aten::Bool",
    "aten::ScalarImplicit",
    "aten::IntImplicit",
    "aten::FloatImplicit",
    "aten::is_nonzero",
    "aten::nonzero",
    "aten::nonzero_numpy",
    "aten::argwhere",
    "aten::masked_select",
    "aten::unique_consecutive",
    "aten::unique_dim",
    "aten::_unique",
    "aten::_unique2",
    "aten::bincount",
    "aten::repeat_interleave",
    "aten::tolist",
    "aten::equal",
    "aten::allclose",
];

/// Names a value of the code.
pub(super) type ValueId = u64;

/// The code of a method with its calls inlined.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) inputs: Vec<Argument>,
    pub(super) body: Block,
}

/// An argument of the method.
#[derive(Debug, PartialEq)]
pub(super) struct Argument {
    pub(super) id: ValueId,
    pub(super) ty: String,
    pub(super) name: String,
    pub(super) default: Option<Literal>,
}

/// Nodes in their order.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) inputs: Vec<ValueId>,
    pub(super) nodes: Vec<Node>,
    pub(super) outputs: Vec<ValueId>,
}

/// One operation.
#[derive(Debug)]
pub(super) struct Node {
    /// The operator, such as `aten::linear`.
    pub(super) kind: String,
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<ValueId>,
    /// The type of each output.
    pub(super) types: Vec<String>,
    /// The name of each input in the operator's schema, where it has one.
    pub(super) arguments: Vec<String>,
    /// Places of the inputs that it writes into.
    pub(super) writes: Vec<usize>,
    pub(super) literal: Literal,
    pub(super) blocks: Vec<Block>,
}

/// A value that is known before the code runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    None,
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(Arc<str>),
    Tensor {
        datatype: String,
        dims: Vec<i64>,
        value: Option<i64>,
    },
    List(Vec<Literal>),
    Tuple(Vec<Literal>),
    /// Keys and values in turn.
    Dict(Vec<Literal>),
    Other,
}

impl Graph {
    /// Reads the text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().peekable();
        let mut inputs = Vec::new();
        while let Some(line) = lines.peek().and_then(|line| line.strip_prefix("input\t")) {
            inputs.push(argument(line)?);
            lines.next();
        }
        let body = block(&mut lines, Vec::new(), 0)?;
        if lines.next().is_some() {
            return Err("the code goes on behind its end".to_owned());
        }
        Ok(Self { inputs, body })
    }

    /// Whether any operator can let the values of a tensor decide a shape or a branch, wherever it stands.
    pub(super) fn may_hang_on_values(&self) -> bool {
        self.body.may_hang_on_values()
    }
}

impl Block {
    fn may_hang_on_values(&self) -> bool {
        self.nodes.iter().any(|node| {
            BY_VALUES.contains(&node.kind.as_str())
                || node.blocks.iter().any(Self::may_hang_on_values)
        })
    }
}

fn argument(line: &str) -> Result<Argument, String> {
    let fields: Vec<_> = line.split('\t').collect();
    let [typed, name, default] = fields[..] else {
        return Err(format!("an argument has {} fields, expected 3", fields.len()));
    };
    let (ids, types) = self::typed(typed)?;
    let (Some(&id), Some(ty)) = (ids.first(), types.into_iter().next()) else {
        return Err("an argument has no type".to_owned());
    };
    let mut words = words(default);
    let default = match words.next() {
        Some(word) => Some(literal(word, &mut words, 0)?),
        None => None,
    };
    Ok(Argument { id, ty, name: plain(name), default })
}

fn block<'t>(
    lines: &mut impl Iterator<Item = &'t str>,
    inputs: Vec<ValueId>,
    depth: usize,
) -> Result<Block, String> {
    if depth > MAX_DEPTH {
        return Err("the code is nested too deep".to_owned());
    }
    let mut block = Block { inputs, ..Block::default() };
    loop {
        let line = lines.next().ok_or("the code has no end")?;
        if let Some(fields) = line.strip_prefix("node\t") {
            block.nodes.push(node(fields)?);
        } else if let Some(inputs) = line.strip_prefix("block\t") {
            let (inputs, _) = typed(inputs)?;
            let inner = self::block(lines, inputs, depth + 1)?;
            let node = block.nodes.last_mut().ok_or("a block belongs to no node")?;
            node.blocks.push(inner);
        } else if let Some(outputs) = line.strip_prefix("end\t") {
            block.outputs = ids(outputs)?;
            return Ok(block);
        } else {
            return Err(format!("the code has an unknown line {line:?}"));
        }
    }
}

fn node(line: &str) -> Result<Node, String> {
    let fields: Vec<_> = line.split('\t').collect();
    let [kind, inputs, outputs, arguments, writes, literal] = fields[..] else {
        return Err(format!("a node has {} fields, expected 6", fields.len()));
    };
    let (outputs, types) = typed(outputs)?;
    let writes: Result<_, _> = words(writes).map(str::parse).collect();
    let mut literals = words(literal);
    Ok(Node {
        kind: plain(kind),
        inputs: ids(inputs)?,
        outputs,
        types,
        arguments: words(arguments).map(plain).collect(),
        writes: writes.map_err(|_| "a written argument is no number")?,
        literal: match literals.next() {
            Some(word) => self::literal(word, &mut literals, 0)?,
            None => Literal::Other,
        },
        blocks: Vec::new(),
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

fn ids(text: &str) -> Result<Vec<ValueId>, String> {
    words(text).map(|word| word.parse().map_err(|_| format!("{word:?} is no value"))).collect()
}

fn typed(text: &str) -> Result<(Vec<ValueId>, Vec<String>), String> {
    let pair = |word: &str| {
        let (id, ty) = word.split_once('=').ok_or_else(|| format!("{word:?} has no type"))?;
        let id: ValueId = id.parse().map_err(|_| format!("{id:?} is no value"))?;
        Ok((id, plain(ty)))
    };
    let pairs: Vec<_> = words(text).map(pair).collect::<Result<_, String>>()?;
    Ok(pairs.into_iter().unzip())
}

fn literal<'t>(
    word: &str,
    rest: &mut impl Iterator<Item = &'t str>,
    depth: usize,
) -> Result<Literal, String> {
    if depth > MAX_DEPTH {
        return Err("a literal is nested too deep".to_owned());
    }
    let mut next = || rest.next().ok_or("a literal ends too early");
    let bad = |word: &str| format!("{word:?} is no number");
    Ok(match word {
        "n" => Literal::None,
        "o" => Literal::Other,
        "i" => next().and_then(|it| it.parse().map_err(|_| "no whole number")).map(Literal::Int)?,
        "f" => next().and_then(|it| it.parse().map_err(|_| "no number")).map(Literal::Float)?,
        "b" => Literal::Bool(next()? == "1"),
        // Others of the same kind would look alike.
        "s" => match String::from_utf8(bytes(rest.next().unwrap_or_default())) {
            Ok(text) => Literal::Text(text.into()),
            Err(_) => Literal::Other,
        },
        "t" => {
            let datatype = plain(next()?);
            let rank: usize = next()?.parse().map_err(|_| "a tensor without a rank")?;
            let mut dims = Vec::new();
            for _ in 0..rank {
                let size = next()?;
                dims.push(size.parse().map_err(|_| bad(size))?);
            }
            // A dash where there is no single whole number.
            let value = next()?.parse().ok();
            Literal::Tensor { datatype, dims, value }
        }
        "(" | "<" | "{" => {
            let close = match word {
                "(" => ")",
                "<" => ">",
                _ => "}",
            };
            let mut elements = Vec::new();
            loop {
                let word = rest.next().ok_or("a list has no end")?;
                if word == close {
                    break;
                }
                elements.push(literal(word, rest, depth + 1)?);
            }
            match word {
                "(" => Literal::List(elements),
                "<" => Literal::Tuple(elements),
                _ => Literal::Dict(elements),
            }
        }
        other => return Err(format!("unknown literal {other:?}")),
    })
}

/// A word without its `%XX`; what is no text of Unicode loses what it is by.
fn plain(word: &str) -> String {
    String::from_utf8_lossy(&bytes(word)).into_owned()
}

fn bytes(word: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|it| char::from(it).to_digit(16));
        bytes.push(match byte {
            b'%' => (digit().unwrap_or(0) * 16 + digit().unwrap_or(0)) as u8,
            byte => byte,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_read_with_its_blocks_and_literals() {
        let text = "input\t1=Tensor \tx\t\n\
                    input\t2=Optional%5bint%5d \tk\tn \n\
                    node\tprim::Constant\t\t3=int \t\t\ti -4 \n\
                    node\tprim::Attribute\t\t4=Tensor \t\t\tt Long 0 7 \n\
                    node\tprim::If\t3 \t5=Tensor \t\t\t\n\
                    block\t\n\
                    node\taten::add_\t1 1 3 \t6=Tensor \tself other alpha \t0 \t\n\
                    end\t6 \n\
                    block\t\n\
                    end\t1 \n\
                    end\t5 \n";
        let graph = Graph::parse(text).unwrap();
        let [x, k] = &graph.inputs[..] else { panic!("{graph:?}") };
        assert_eq!((x.id, x.name.as_str(), &x.default), (1, "x", &None));
        assert_eq!((k.ty.as_str(), &k.default), ("Optional[int]", &Some(Literal::None)));
        let [constant, attribute, branch] = &graph.body.nodes[..] else { panic!("{graph:?}") };
        assert_eq!(constant.literal, Literal::Int(-4));
        let tensor = Literal::Tensor { datatype: "Long".into(), dims: vec![], value: Some(7) };
        assert_eq!(attribute.literal, tensor);
        let add = &branch.blocks[0].nodes[0];
        assert_eq!((&add.arguments[2][..], &add.writes[..]), ("alpha", &[0][..]));
        assert_eq!(graph.body.outputs, [5]);
    }

    #[test]
    fn literals_nest() {
        let mut words = words("t Float 2 3 4 - ( i 1 < b 1 s a%20b > ) n )");
        let literal = literal("(", &mut words, 0).unwrap();
        let text = Literal::Text("a b".into());
        let tuple = Literal::Tuple(vec![Literal::Bool(true), text]);
        let inner = Literal::List(vec![Literal::Int(1), tuple]);
        let tensor = Literal::Tensor { datatype: "Float".into(), dims: vec![3, 4], value: None };
        assert_eq!(literal, Literal::List(vec![tensor, inner, Literal::None]));
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let deep = "block\t\n".repeat(1000);
        for text in ["", "input\t\n", "input\tx\t\t\nend\t\n", "node\t\nend\t\n", "end\t\nend\t\n"]
        {
            assert!(Graph::parse(text).is_err(), "{text:?}");
        }
        let deep = format!("node\tprim::If\t\t\t\t\t\n{deep}");
        assert!(Graph::parse(&deep).is_err());
        let deep = "( ".repeat(1000);
        let deep = format!("node\tprim::Constant\t\t1=a \t\t\t{deep}\nend\t\n");
        assert!(Graph::parse(&deep).is_err());
    }
}
