//! sconce.
