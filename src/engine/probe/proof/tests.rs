//! The proof over small pieces of code.
