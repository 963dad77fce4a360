//! Files that travel over the child's socket beside its bytes, as descriptors (`SCM_RIGHTS` of unix(7)).

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

/// Files that go with one message at most.
const MAX_FILES: usize = 2;

/// Sends bytes, at least one, and files with the first of them.
pub(super) fn send(
    socket: &UnixStream,
    bytes: &[u8],
    files: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::other("more descriptors than fit beside the message"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// The files that came and were not taken, the last of them.
#[derive(Debug, Clone, Default)]
pub(super) struct ReceivedFiles(Rc<RefCell<VecDeque<File>>>);

impl ReceivedFiles {
    /// One that has come already.
    #[cfg(test)]
    pub(super) fn of(file: File) -> Self {
        Self(Rc::new(RefCell::new([file].into())))
    }

    /// The one that came first.
    pub(super) fn take(&self) -> Option<File> {
        self.0.borrow_mut().pop_front()
    }

    fn put(&self, file: File) {
        let mut files = self.0.borrow_mut();
        if files.len() >= MAX_FILES {
            files.pop_front();
        }
        files.push_back(file);
    }
}

/// Reads a socket, and keeps the files that came with the bytes.
#[derive(Debug)]
pub(super) struct Inbox {
    socket: UnixStream,
    received: ReceivedFiles,
}

impl Inbox {
    pub(super) fn new(socket: UnixStream, received: ReceivedFiles) -> Self {
        Self { socket, received }
    }
}

impl Read for Inbox {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(buffer)];
        let got = recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                files.for_each(|file| self.received.put(File::from(file)));
            }
        }
        Ok(got.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Write};
    use std::os::fd::AsFd;

    #[test]
    fn a_file_comes_with_its_bytes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let received = ReceivedFiles::default();
        let mut inbox = BufReader::new(Inbox::new(theirs, received.clone()));
        (&ours).write_all(b"abc").unwrap();
        assert_eq!(send(&ours, b"defg", &[file.as_fd()]).unwrap(), 4);
        drop(ours);
        let mut text = String::new();
        inbox.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcdefg");
        let taken = received.take().expect("a file must have come");
        assert_eq!(taken.metadata().unwrap().len(), file.metadata().unwrap().len());
        assert!(received.take().is_none(), "only one came");
    }
}
