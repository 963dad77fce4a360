//! Parameters: texts, numbers and flags by name, beside a request, an input or an output.

use crate::inference::{ErrorCode, InferError};
use crate::protocol::json::{Number, Reader, excerpt};
use std::borrow::Cow;
use std::fmt::Display;

/// One parameter and whose it is.
pub(super) struct Parameter<'p, 'a> {
    owner: &'p dyn Display,
    pub(super) key: &'p str,
    value: Value<'a>,
}

enum Value<'a> {
    Text(Cow<'a, str>),
    Number(Number<'a>),
    Flag(bool),
}

/// Calls `each` for each parameter of the object that comes next; `null` stands for none.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    owner: &dyn Display,
    mut each: impl FnMut(Parameter<'_, 'a>) -> Result<(), InferError>,
) -> Result<(), InferError> {
    if reader.null() {
        return Ok(());
    }
    let is_object = reader.object(|key, reader| {
        let value = if let Some(text) = reader.text()? {
            Value::Text(text)
        } else if let Some(number) = reader.number()? {
            Value::Number(number)
        } else if let Some(flag) = reader.boolean() {
            Value::Flag(flag)
        } else {
            let expected = "a string, a number or a boolean";
            return Err(wrong(owner, &key, expected, reader.kind()?));
        };
        each(Parameter { owner, key: &key, value })
    })?;
    if is_object {
        return Ok(());
    }
    let got = reader.kind()?;
    let message = format!("\"parameters\" of {owner} is {got}, expected an object");
    Err(InferError::new(ErrorCode::InvalidBody, message).with_mismatch("an object", got))
}

impl Parameter<'_, '_> {
    /// Puts the value that is a flag where it belongs.
    pub(super) fn flag(&self, place: &mut Option<bool>) -> Result<(), InferError> {
        match self.value {
            Value::Flag(flag) => self.once(place, flag),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// Puts the value that is an integer from `least` up where it belongs.
    pub(super) fn count(&self, place: &mut Option<u64>, least: u64) -> Result<(), InferError> {
        let count = match &self.value {
            Value::Number(number) => number.to_u64().filter(|count| *count >= least),
            _ => None,
        };
        match count {
            Some(count) => self.once(place, count),
            None => Err(self.wrong(&format!("an integer from {least} up"))),
        }
    }

    /// Puts the value that is a finite number where it belongs.
    pub(super) fn number(&self, place: &mut Option<f64>) -> Result<(), InferError> {
        let number = match &self.value {
            Value::Number(number) => number.text().parse().ok().filter(|it: &f64| it.is_finite()),
            _ => None,
        };
        match number {
            Some(number) => self.once(place, number),
            None => Err(self.wrong("a number")),
        }
    }

    /// The report of a value that is not what was expected.
    pub(super) fn unexpected(&self, expected: &str) -> InferError {
        self.wrong(expected)
    }

    /// Whether the value says that what it names is not wished for: zero, false or no text.
    pub(super) fn is_none(&self) -> bool {
        match &self.value {
            Value::Text(text) => text.is_empty(),
            Value::Number(number) => number.to_u64() == Some(0),
            Value::Flag(flag) => !flag,
        }
    }

    /// The report of a wish that is not fulfilled, and why.
    pub(super) fn unsupported(&self, why: &str) -> InferError {
        let Self { owner, key, .. } = self;
        let message = format!("parameter {key:?} of {owner} is not supported: {why}");
        InferError::new(ErrorCode::Unsupported, message)
    }

    fn once<T>(&self, place: &mut Option<T>, value: T) -> Result<(), InferError> {
        if place.replace(value).is_none() {
            return Ok(());
        }
        let message = format!("parameter {:?} of {} is given twice", self.key, self.owner);
        Err(InferError::new(ErrorCode::InvalidBody, message))
    }

    fn wrong(&self, expected: &str) -> InferError {
        let got = match &self.value {
            Value::Text(_) => "a string".to_owned(),
            Value::Number(number) => excerpt(number.text()),
            Value::Flag(_) => "a boolean".to_owned(),
        };
        wrong(self.owner, self.key, expected, &got)
    }
}

fn wrong(owner: &dyn Display, key: &str, expected: &str, got: &str) -> InferError {
    let key = excerpt(key);
    let message = format!("parameter {key:?} of {owner} is {got}, expected {expected}");
    InferError::new(ErrorCode::InvalidBody, message).with_mismatch(expected, got)
}
