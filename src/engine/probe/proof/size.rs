//! Sizes as the proof knows them: products of a number and of symbols, one of which counts the rows.
//!
//! A sum or another function of symbols gets a symbol of its own, the same for the same arguments; a function of the
//! number of rows gets none, since nothing may hang on that number. What is not known is [`UNKNOWN`], which equals
//! nothing, itself included.

use std::collections::HashMap;

/// Stands for a size.
pub(super) type Symbol = u32;

/// The number of rows of the batch, at least one.
pub(super) const ROWS: Symbol = 0;
/// A size that is the same for every batch and of which nothing else is known.
const UNKNOWN: Symbol = 1;
/// A size that hangs on the number of rows in a way that is not followed.
const LOST: Symbol = Symbol::MAX;
/// Symbols from here on are dimensions of inputs.
const INPUTS: Symbol = 2;
/// Symbols from here on stand for what a function gives.
const FUNCTIONS: Symbol = 1 << 16;

/// Most symbols of a product: more is not followed.
const MAX_SYMBOLS: usize = 8;
/// Largest number in a product: with one beyond, and sizes of a machine, libtorch's own numbers could overflow.
const MAX_FACTOR: i64 = 1 << 40;

/// A number times symbols.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Size {
    factor: i64,
    /// Sorted; one that counts twice stands there twice.
    symbols: Vec<Symbol>,
}

impl Size {
    pub(super) fn of(value: i64) -> Self {
        Self { factor: value, symbols: Vec::new() }
    }

    pub(super) fn rows() -> Self {
        Self { factor: 1, symbols: vec![ROWS] }
    }

    pub(super) fn unknown() -> Self {
        Self { factor: 1, symbols: vec![UNKNOWN] }
    }

    /// What is left where a product is not followed any more: not known, and hanging on the rows where its parts did.
    fn lost(parts: [&Self; 2]) -> Self {
        let symbol = if parts.iter().any(|size| size.has_rows()) { LOST } else { UNKNOWN };
        Self { factor: 1, symbols: vec![symbol] }
    }

    fn symbol(symbol: Symbol) -> Self {
        Self { factor: 1, symbols: vec![symbol] }
    }

    /// Its value, where that is a plain number.
    pub(super) fn value(&self) -> Option<i64> {
        (self.symbols.is_empty() || self.factor == 0).then_some(self.factor)
    }

    /// Its least value, where all its symbols are at least one.
    pub(super) fn minimum(&self) -> i64 {
        self.factor
    }

    pub(super) fn is(&self, value: i64) -> bool {
        self.value() == Some(value)
    }

    pub(super) fn is_known(&self) -> bool {
        !self.symbols.contains(&UNKNOWN) && !self.symbols.contains(&LOST)
    }

    pub(super) fn has_rows(&self) -> bool {
        self.symbols.contains(&ROWS) || self.symbols.contains(&LOST)
    }

    /// What each row has of it, where that hangs on no number of rows.
    pub(super) fn per_row(&self) -> Option<Self> {
        self.over(&Self::rows()).filter(|rest| !rest.has_rows())
    }

    /// Whether both are the same size for certain.
    pub(super) fn same(&self, other: &Self) -> bool {
        self == other && self.is_known()
    }

    pub(super) fn times(&self, other: &Self) -> Self {
        let factor = self.factor.checked_mul(other.factor).filter(|it| it.abs() <= MAX_FACTOR);
        let Some(factor) = factor else { return Self::lost([self, other]) };
        if self.symbols.len() + other.symbols.len() > MAX_SYMBOLS {
            return Self::lost([self, other]);
        }
        if factor == 0 {
            return Self::of(0);
        }
        let mut symbols = [&self.symbols[..], &other.symbols[..]].concat();
        symbols.sort_unstable();
        if symbols.iter().filter(|it| **it == ROWS).count() > 1 {
            return Self::lost([self, other]);
        }
        Self { factor, symbols }
    }

    /// Whether numbers of this form stay far from where those of 64 bits overflow, for all sizes of a machine.
    pub(super) fn is_small(&self) -> bool {
        self.factor.abs() <= 1 << 16 && self.symbols.len() <= 2
    }

    /// The quotient, where the division leaves no rest for certain.
    pub(super) fn over(&self, other: &Self) -> Option<Self> {
        // None of division by zero and of the one quotient that has no number.
        let is_lost = self.symbols.contains(&LOST);
        if self.factor.checked_rem(other.factor) != Some(0) || !other.is_known() || is_lost {
            return None;
        }
        let mut symbols = self.symbols.clone();
        for symbol in &other.symbols {
            let place = symbols.iter().position(|it| it == symbol)?;
            symbols.remove(place);
        }
        Some(Self { factor: self.factor / other.factor, symbols })
    }

    pub(super) fn product<'a>(sizes: impl IntoIterator<Item = &'a Self>) -> Self {
        sizes.into_iter().fold(Self::of(1), |product, size| product.times(size))
    }
}

/// The symbols of one proof.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    known: HashMap<(String, Vec<Size>), Symbol>,
    /// How many dimensions of inputs there are.
    inputs: Symbol,
}

impl Symbols {
    /// The size of a dimension that requests may choose, the same for all in a batch.
    pub(super) fn input(&mut self) -> Size {
        let symbol = INPUTS + self.inputs;
        self.inputs += 1;
        Size::symbol(symbol)
    }

    /// What a function gives for sizes: the same symbol for the same arguments. `None` where it hangs on the number
    /// of rows.
    pub(super) fn function(&mut self, name: &str, arguments: &[Size]) -> Option<Size> {
        if arguments.iter().any(Size::has_rows) {
            return None;
        }
        if !arguments.iter().all(Size::is_known) {
            return Some(Size::unknown());
        }
        let next = FUNCTIONS.checked_add(Symbol::try_from(self.known.len()).ok()?)?;
        let key = (name.to_owned(), arguments.to_vec());
        Some(Size::symbol(*self.known.entry(key).or_insert(next)))
    }

    /// The sum.
    pub(super) fn plus(&mut self, a: &Size, b: &Size) -> Option<Size> {
        if a.is(0) {
            return Some(b.clone());
        }
        if b.is(0) {
            return Some(a.clone());
        }
        if a.symbols == b.symbols && a.is_known() {
            let symbols = a.symbols.clone();
            return Some(
                match a.factor.checked_add(b.factor).filter(|it| it.abs() <= MAX_FACTOR) {
                    Some(0) => Size::of(0),
                    Some(factor) => Size { factor, symbols },
                    None => Size::lost([a, b]),
                },
            );
        }
        let mut terms = [a.clone(), b.clone()];
        terms.sort_by(|a, b| (&a.symbols, a.factor).cmp(&(&b.symbols, b.factor)));
        self.function("sum", &terms)
    }

    /// Whether a size is at least one for certain: those of inputs are, as no input may be empty, and so is
    /// the number of rows.
    pub(super) fn is_positive(&self, size: &Size) -> bool {
        let is_positive =
            |&symbol: &Symbol| symbol == ROWS || (INPUTS..FUNCTIONS).contains(&symbol);
        size.factor > 0 && size.is_small() && size.symbols.iter().all(is_positive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_divide_where_nothing_is_left() {
        let mut symbols = Symbols::default();
        let (s, t) = (symbols.input(), symbols.input());
        let size = Size::rows().times(&Size::of(12)).times(&s);
        assert_eq!(size.over(&Size::of(4).times(&s)), Some(Size::rows().times(&Size::of(3))));
        assert_eq!(size.over(&t), None);
        assert_eq!(size.over(&Size::of(5)), None);
        assert_eq!(size.over(&Size::of(0)), None);
        assert!(size.same(&size.clone()) && !Size::unknown().same(&Size::unknown()));
        assert_eq!(Size::unknown().over(&Size::unknown()), None);
    }

    #[test]
    fn functions_of_the_same_sizes_are_the_same_and_none_takes_the_rows() {
        let mut symbols = Symbols::default();
        let s = symbols.input();
        let sum = symbols.plus(&s, &Size::of(1)).unwrap();
        assert_eq!(symbols.plus(&Size::of(1), &s), Some(sum.clone()));
        assert!(!sum.same(&s));
        assert_eq!(symbols.plus(&s, &s), Some(s.times(&Size::of(2))));
        assert_eq!(symbols.plus(&Size::rows(), &Size::of(1)), None);
        assert_eq!(symbols.plus(&Size::rows(), &Size::of(0)), Some(Size::rows()));
        assert!(symbols.is_positive(&Size::rows()) && symbols.is_positive(&s));
        assert!(!symbols.is_positive(&sum), "of a sum nothing is known");
        assert_eq!(symbols.function("f", &[Size::unknown()]), Some(Size::unknown()));
    }
}
