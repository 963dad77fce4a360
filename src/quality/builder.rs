//! Makes the features of a reference out of rows, one after the other.

use super::reference::{Feature, LABELS, MAX_FEATURES, MAX_NAME, Of};
use super::values::{Descriptor, Rows};
use crate::inference::TensorSpec;
use crate::tensor::{Dim, Tensor};
use std::collections::BTreeSet;

/// Collects a column for each feature.
#[derive(Debug, Default)]
pub struct Builder {
    n_rows: u64,
    columns: Vec<Column>,
    /// What the numbers of the one input are called.
    names: Option<Vec<String>>,
}

#[derive(Debug)]
struct Column {
    place: usize,
    input: String,
    /// Numbers of a row of that input.
    width: usize,
    of: Of,
    name: String,
    values: Vec<f32>,
}

impl Builder {
    /// Nothing yet. `names` are those of the numbers of the one input, where it has names.
    #[must_use]
    pub fn new(names: Option<Vec<String>>) -> Self {
        Self { names, ..Self::default() }
    }

    /// How many rows there were.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Adds a request of one row.
    pub fn add(&mut self, specs: &[TensorSpec], inputs: &[Option<Tensor>]) {
        if self.n_rows == 0 {
            self.begin(specs, inputs);
        }
        self.n_rows += 1;
        let rows = |place: usize, width: usize| {
            let rows = Rows::new(inputs.get(place)?.as_ref()?, 1)?;
            (rows.width == width).then_some(rows)
        };
        // An input whose sizes differ from row to row is described, or not watched.
        self.columns.retain(|column| match column.of {
            Of::Element(_) => rows(column.place, column.width).is_some(),
            Of::Descriptor(_) => true,
        });
        for column in &mut self.columns {
            let found = inputs.get(column.place).and_then(Option::as_ref);
            let Some(rows) = found.and_then(|tensor| Rows::new(tensor, 1)) else {
                column.values.push(f32::NAN);
                continue;
            };
            match column.of {
                Of::Element(element) => {
                    rows.column(element, &[0], |value| column.values.push(value))
                }
                Of::Descriptor(it) => column.values.push(rows.describe(0).get(it)),
            }
        }
    }

    /// Up to 500 numbers are watched each; of more, and of texts, what describes them.
    fn begin(&mut self, specs: &[TensorSpec], inputs: &[Option<Tensor>]) {
        let given = specs.iter().zip(inputs).enumerate();
        let known: Vec<_> = given
            .filter_map(|(place, (spec, tensor))| {
                let rows = Rows::new(tensor.as_ref()?, 1)?;
                let is_each = !rows.are_texts() && is_fixed(spec);
                let of_all = if rows.are_texts() {
                    &Descriptor::OF_TEXTS[..]
                } else {
                    &Descriptor::OF_NUMBERS
                };
                Some((place, spec.name.to_string(), rows.width, is_each, of_all))
            })
            .collect();
        let total: usize = known.iter().map(|(_, _, width, ..)| *width).sum();
        let names = self
            .names
            .take()
            .filter(|names| known.len() == 1 && names.len() == total && are_names(names));
        for (place, input, width, is_each, of_all) in known {
            let each = total <= MAX_FEATURES && is_each;
            let elements = (0..width).filter(|_| each).map(Of::Element);
            let descriptors = of_all.iter().filter(|_| !each).map(|it| Of::Descriptor(*it));
            for of in elements.chain(descriptors) {
                let name = match (of, &names) {
                    (Of::Element(element), Some(names)) => names[element].clone(),
                    (Of::Element(_), None) if width == 1 => input.clone(),
                    (Of::Element(element), None) => format!("{input}[{element}]"),
                    (Of::Descriptor(it), _) => format!("{input}.{}", it.as_str()),
                };
                let input = input.clone();
                self.columns.push(Column { place, input, width, of, name, values: Vec::new() });
            }
        }
        self.columns.truncate(MAX_FEATURES);
    }

    /// The features.
    ///
    /// # Errors
    ///
    /// One has no finite value.
    pub fn finish(self) -> Result<Vec<Feature>, String> {
        let columns = self.columns.into_iter();
        columns.map(|it| Feature::of(&it.name, &it.input, it.of, &it.values)).collect()
    }
}

/// Whether every row has as many numbers, as far as that is declared.
fn is_fixed(spec: &TensorSpec) -> bool {
    let sizes = spec.shape.dims().and_then(|dims| dims.get(1..));
    sizes.is_none_or(|sizes| sizes.iter().all(|size| matches!(size, Dim::Fixed(_))))
}

/// Whether they can name features: all of them different, none empty, long or that of the labels.
fn are_names(names: &[String]) -> bool {
    let different: BTreeSet<_> = names.iter().collect();
    different.len() == names.len()
        && names.iter().all(|it| (1..=MAX_NAME).contains(&it.len()) && *it != LABELS)
}
