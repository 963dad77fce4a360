//! One keep-alive connection: at most one request under way, written and read as the socket allows.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::answer::{Answer, Parsed, parse};

/// No model under test answers more.
const MAX_ANSWER_BYTES: usize = 64 << 20;
const CHUNK_BYTES: usize = 64 << 10;

/// A request that was begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) body: usize,
    /// When it was due, in nanoseconds of the run's clock; for the closed loop when it was begun.
    pub(crate) due: u64,
    /// Whether it falls into the measured part of the run.
    pub(crate) counted: bool,
}

pub(crate) struct Connection {
    socket: TcpStream,
    key: u64,
    pub(crate) pending: Option<Pending>,
    written: usize,
    waits_for_room: bool,
    buffer: Vec<u8>,
    filled: usize,
    /// Length of the answer that is arriving, once its head was read.
    whole: usize,
}

/// What an event brought about.
pub(crate) enum Progress {
    Waiting,
    Answered(Answer),
}

impl Connection {
    pub(crate) fn open(
        target: SocketAddr,
        key: u64,
        poll: &rustix::fd::OwnedFd,
    ) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&target, Duration::from_secs(5))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        epoll::add(poll, &socket, EventData::new_u64(key), EventFlags::IN)?;
        Ok(Self {
            socket,
            key,
            pending: None,
            written: 0,
            waits_for_room: false,
            buffer: vec![0; CHUNK_BYTES],
            filled: 0,
            whole: 0,
        })
    }

    /// Begins a request on a connection that has none under way.
    pub(crate) fn send(
        &mut self,
        pending: Pending,
        request: &[u8],
        poll: &rustix::fd::OwnedFd,
    ) -> io::Result<()> {
        self.pending = Some(pending);
        self.written = 0;
        self.filled = 0;
        self.whole = 0;
        self.write(request, poll)
    }

    fn write(&mut self, request: &[u8], poll: &rustix::fd::OwnedFd) -> io::Result<()> {
        while self.written < request.len() {
            match self.socket.write(&request[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let blocked = self.written < request.len();
        if blocked != self.waits_for_room {
            self.waits_for_room = blocked;
            let flags = if blocked { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(poll, &self.socket, EventData::new_u64(self.key), flags)?;
        }
        Ok(())
    }

    /// Writes and reads what the socket is ready for. `request` is that of `pending`.
    pub(crate) fn advance(
        &mut self,
        request: &[u8],
        poll: &rustix::fd::OwnedFd,
    ) -> io::Result<Progress> {
        if self.waits_for_room {
            self.write(request, poll)?;
        }
        loop {
            if self.filled == self.buffer.len() {
                let room = self.whole.max(self.filled + CHUNK_BYTES);
                if room > MAX_ANSWER_BYTES {
                    return Err(malformed("an answer over 64 MiB"));
                }
                self.buffer.resize(room, 0);
            }
            let space = self.buffer.len() - self.filled;
            match self.socket.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.filled += count;
                    if self.filled >= self.whole {
                        match parse(&self.buffer[..self.filled]) {
                            Parsed::Whole(answer) => return Ok(Progress::Answered(answer)),
                            Parsed::Partial(whole) => self.whole = whole.unwrap_or(0),
                            Parsed::Malformed(why) => return Err(malformed(why)),
                        }
                    }
                    // Less than there was room for: nothing is left to read now.
                    if count < space {
                        return Ok(Progress::Waiting);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Progress::Waiting);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The answer's bytes, head and body.
    pub(crate) fn received(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}
