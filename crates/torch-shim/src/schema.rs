//! What a module's methods take and return, read from its TorchScript schema.

use crate::error::Error;
use crate::value::{IValue, Reader};

/// A type of TorchScript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// A tensor; TorchScript declares neither its shape nor its datatype.
    Tensor,
    /// `int`.
    Int,
    /// `float`.
    Float,
    /// `bool`.
    Bool,
    /// `str`.
    Str,
    /// The type of `None` alone, what a method without a `return` returns.
    None,
    /// `List[…]`.
    List(Box<Type>),
    /// `Tuple[…]`.
    Tuple(Vec<Type>),
    /// A `NamedTuple`: its fields in order. Its values travel as [`IValue::Tuple`].
    NamedTuple(Vec<(String, Type)>),
    /// `Dict[…, …]`.
    Dict(Box<Type>, Box<Type>),
    /// `Optional[…]`.
    Optional(Box<Type>),
    /// Anything else, as TorchScript writes it.
    Other(String),
}

/// The type of an argument; the same as any type.
pub type ArgumentType = Type;

/// One argument of a method.
#[derive(Debug)]
pub struct SchemaArgument {
    /// Its name in the model's source.
    pub name: String,
    /// Its declared type.
    pub ty: ArgumentType,
    /// The value that is taken when it is left out. None also where the default cannot be shown (a device, say).
    pub default: Option<IValue>,
    /// Whether it may be left out.
    pub optional: bool,
}

/// One method of a module.
#[derive(Debug)]
pub struct Method {
    /// Its name; `forward` is the usual one.
    pub name: String,
    /// Its arguments, `self` left out.
    pub arguments: Vec<SchemaArgument>,
    /// What it returns: one type, a tuple where there are several values.
    pub returns: Vec<Type>,
}

pub(crate) fn read_method(reader: &mut Reader<'_>) -> Result<Method, Error> {
    reader.enter()?;
    let name = reader.text()?;
    let arguments = reader.each(read_argument)?;
    let returns = reader.each(read_type)?;
    Ok(Method { name, arguments, returns })
}

fn read_argument(reader: &mut Reader<'_>) -> Result<SchemaArgument, Error> {
    reader.enter()?;
    let name = reader.text()?;
    let ty = read_type(reader)?;
    let optional = reader.truth()?;
    let shown = reader.truth()?;
    let default = reader.value(0)?;
    Ok(SchemaArgument { name, ty, default: shown.then_some(default), optional })
}

fn read_type(reader: &mut Reader<'_>) -> Result<Type, Error> {
    reader.enter()?;
    let word = reader.text()?;
    let text = reader.text()?;
    let mut children = reader.each(read_type)?;
    let fields = reader.each(Reader::text)?;
    let last = children.pop().map(Box::new);
    Ok(match (word.as_str(), last) {
        ("Tensor", _) => Type::Tensor,
        ("int", _) => Type::Int,
        ("float", _) => Type::Float,
        ("bool", _) => Type::Bool,
        ("str", _) => Type::Str,
        ("None", _) => Type::None,
        ("List", Some(element)) => Type::List(element),
        ("Optional", Some(element)) => Type::Optional(element),
        ("Dict", Some(value)) => match children.pop() {
            Some(key) => Type::Dict(Box::new(key), value),
            None => Type::Other(text),
        },
        ("Tuple", last) => {
            children.extend(last.map(|element| *element));
            if fields.is_empty() || fields.len() != children.len() {
                Type::Tuple(children)
            } else {
                Type::NamedTuple(fields.into_iter().zip(children).collect())
            }
        }
        _ => Type::Other(text),
    })
}
