//! The parts of libtorch that tch does not bind.
