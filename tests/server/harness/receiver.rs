//! A server that takes what the program sends by itself, and keeps it.

use super::PATIENCE;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What came in one call.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Answers every call with one status, which can be changed.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    status: Arc<AtomicU16>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (received, status) = (Arc::default(), Arc::new(AtomicU16::new(200)));
        let receiver = Self { address, received, status };
        let accepting = receiver.clone();
        // It ends with the test's process.
        thread::spawn(move || {
            for connection in listener.incoming() {
                let serving = accepting.clone();
                thread::spawn(move || serving.serve(connection.unwrap()));
            }
        });
        receiver
    }

    pub(crate) fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Everything so far that was answered with 200.
    pub(crate) fn taken(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    fn serve(&self, mut connection: TcpStream) -> Option<()> {
        connection.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut reader = BufReader::new(connection.try_clone().ok()?);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let path = line.split(' ').nth(1)?.to_owned();
            let mut headers = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let Some((name, value)) = line.trim_end().split_once(':') else { break };
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            let mut received = Received { path, headers, body: Vec::new() };
            let length = received.header("content-length").parse().ok()?;
            received.body.resize(length, 0);
            reader.read_exact(&mut received.body).ok()?;
            let status = self.status.load(Ordering::Relaxed);
            if status == 200 {
                self.received.lock().unwrap().push(received);
            }
            write!(connection, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").ok()?;
        }
    }
}
