//! Files that travel over the child's socket beside its bytes, as descriptors (`SCM_RIGHTS` of unix(7)).

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

/// Sends bytes, at least one, and a file with the first of them.
pub(super) fn send(socket: &UnixStream, bytes: &[u8], file: &File) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::other("a descriptor does not fit beside the message"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// The file that came last and was not taken.
#[derive(Debug, Clone, Default)]
pub(super) struct ReceivedFile(Rc<RefCell<Option<File>>>);

impl ReceivedFile {
    /// One that has come already.
    #[cfg(test)]
    pub(super) fn of(file: File) -> Self {
        Self(Rc::new(RefCell::new(Some(file))))
    }

    pub(super) fn take(&self) -> Option<File> {
        self.0.borrow_mut().take()
    }
}

/// Reads a socket, and keeps the file that came with the bytes.
#[derive(Debug)]
pub(super) struct Inbox {
    socket: UnixStream,
    received: ReceivedFile,
}

impl Inbox {
    pub(super) fn new(socket: UnixStream, received: ReceivedFile) -> Self {
        Self { socket, received }
    }
}

impl Read for Inbox {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(buffer)];
        let got = recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                for file in files {
                    *self.received.0.borrow_mut() = Some(File::from(file));
                }
            }
        }
        Ok(got.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Write};

    #[test]
    fn a_file_comes_with_its_bytes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let received = ReceivedFile::default();
        let mut inbox = BufReader::new(Inbox::new(theirs, received.clone()));
        (&ours).write_all(b"abc").unwrap();
        assert_eq!(send(&ours, b"defg", &file).unwrap(), 4);
        drop(ours);
        let mut text = String::new();
        inbox.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcdefg");
        let taken = received.take().expect("a file must have come");
        assert_eq!(taken.metadata().unwrap().len(), file.metadata().unwrap().len());
        assert!(received.take().is_none(), "only one came");
    }
}
