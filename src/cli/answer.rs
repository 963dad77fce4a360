//! The bytes of an answer that ends with its connection.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Instant;

/// Reads until the other side has closed, or there are more than so many bytes.
pub(super) fn read(
    stream: &mut TcpStream,
    deadline: Instant,
    max_bytes: usize,
) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while answer.len() <= max_bytes {
        // Each read may use only what is left of the whole: a byte a second must not go on forever.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n_bytes) => answer.extend_from_slice(&chunk[..n_bytes]),
            // An expired read timeout has this name on Unix.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}
