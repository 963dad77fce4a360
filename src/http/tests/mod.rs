//! The edge as clients meet it: both services over a repository of scripted models, without sockets
//! and without libtorch. What is answered is kept in `snapshots/`, see [`snapshot`].
//!
//! Only what the room shows to the rest of the program is used here, so that its inside can move.

mod answers;
mod ask;
mod errors;
mod feedback;
mod reads;
mod routes;
mod site;
mod snapshot;
