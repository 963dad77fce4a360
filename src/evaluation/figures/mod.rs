//! Figures of answers against labels, by scikit-learn's definitions. Pure.
//!
//! Everything is computed with a weight for each row, which is how often the row counts: once for the figures
//! themselves, as often as it was drawn for a resample. So both are the same code.

mod calibration;
mod classification;
mod measure;
mod ranking;
mod regression;
mod resample;
#[cfg(test)]
mod tests;

pub(super) use calibration::Bin;
pub(super) use classification::{ClassFigures, Classification};
pub(super) use measure::{Figure, Measure, Measured};
pub(super) use ranking::Curve;
pub(super) use regression::Regression;
pub(super) use resample::{CONFIDENCE, Interval, N_RESAMPLES, SEED, intervals};
