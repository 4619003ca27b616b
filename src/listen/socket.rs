//! A datagram socket as a worker uses it: a batch a call, no call that would only say that nothing is there, and one pass
//! through the kernel for datagrams that look alike.
//!
//! A batch that is not full has emptied the queue, so the call after it would say no more than that: [`DatagramSocket::receive`]
//! says it in the kernel's place. That is safe because tokio forgets that a socket is readable only as long as nothing was
//! reported since: epoll is edge-triggered and each report moves a tick, which `async_io` looks at before it calls and when
//! it is told that nothing is there. Between the short batch and that second look the task does not give up the thread, and
//! it is the thread that polls epoll: a datagram that came meanwhile is a report that epoll still holds. If the runtime does
//! intervene later (its task budget), the tick has moved, forgetting does nothing, and what is asked again is the kernel:
//! the mark is good for one.
//!
//! On a connected socket a batch may also end at an error that ICMP reported while it was being taken. The kernel keeps it
//! for the next call, and has reported it as it does a datagram.

use crate::sys::readable::watch_for_reading;
use crate::sys::{BATCH, Outgoing, Receiver, Sender, can_send_groups, is_no_way_for_groups};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind::WouldBlock};
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// So often in a row, with nothing sent between, may groups be refused until there are none for a while. Not the first time:
/// what one client's address brings about is not to slow the answers of all.
const REFUSALS_MAX: u8 = 8;

/// For so many calls datagrams go one by one then: routes change, and what is refused today may pass tomorrow.
const CALLS_ALONE: u16 = 1_000;

/// A socket and what is known about it.
#[derive(Debug)]
pub(super) struct DatagramSocket {
    socket: AsyncFd<UdpSocket>,
    /// Its queue was empty when it was last looked at.
    emptied: Cell<bool>,
    /// The system knows groups.
    knows_groups: bool,
    /// How often in a row groups were refused.
    refusals: Cell<u8>,
    /// Calls that are left without groups.
    alone: Cell<u16>,
}

impl DatagramSocket {
    /// Hands the socket to the runtime of the calling thread.
    pub(super) fn open(socket: UdpSocket) -> io::Result<Self> {
        Ok(Self {
            knows_groups: can_send_groups(socket.as_fd()),
            socket: watch_for_reading(socket)?,
            emptied: Cell::new(false),
            refusals: Cell::new(0),
            alone: Cell::new(0),
        })
    }

    /// Waits for datagrams and takes them, at most [`BATCH`].
    ///
    /// # Errors
    /// What befell the socket, and on a connected one what ICMP said.
    pub(super) async fn receive(&self, buffers: &RefCell<Receiver>) -> io::Result<usize> {
        // An ICMP error alone makes a socket erroneous, not readable.
        let interest = Interest::READABLE | Interest::ERROR;
        let received = self.socket.async_io(interest, |socket| {
            if self.emptied.take() {
                return Err(WouldBlock.into());
            }
            buffers.borrow_mut().receive(socket.as_fd())
        });
        let count = received.await?;
        self.emptied.set(count < BATCH);
        Ok(count)
    }

    /// Makes the next [`DatagramSocket::receive`] look before it waits: time has passed since the last one.
    pub(super) fn look_again(&self) {
        self.emptied.set(false);
    }

    /// Whether it pays to line datagrams up for [`DatagramSocket::send`]: by address, and the longest first.
    pub(super) fn sends_groups(&self) -> bool {
        self.knows_groups && self.alone.get() == 0
    }

    /// Sends `count` datagrams, at most [`BATCH`]; those that look alike as one, where there is a way for that.
    ///
    /// # Errors
    /// Those of [`Sender::send`].
    pub(super) fn send<'b>(
        &self,
        sender: &mut Sender,
        count: usize,
        item: &mut dyn FnMut(usize) -> Outgoing<'b>,
    ) -> io::Result<usize> {
        if !self.sends_groups() {
            self.alone.set(self.alone.get().saturating_sub(1));
            return sender.send(self.as_fd(), count, item);
        }
        let mut sent = sender.send_grouped(self.as_fd(), count, item);
        let (refused, group) = (sent.as_ref().err().is_some_and(is_no_way_for_groups), sender.first_group());
        if refused && group > 1 {
            // What follows the group may go in groups.
            sent = sender.send(self.as_fd(), group, item);
            if sent.is_ok() {
                self.note_refusal();
            }
        } else if sent.is_ok() {
            self.refusals.set(0);
        }
        sent
    }

    /// A group was refused whose datagrams go one by one.
    fn note_refusal(&self) {
        self.refusals.set(self.refusals.get() + 1);
        if self.refusals.get() == REFUSALS_MAX {
            self.refusals.set(0);
            self.alone.set(CALLS_ALONE);
        }
    }

    pub(super) fn socket(&self) -> &UdpSocket {
        self.socket.get_ref()
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::leave_checksums_out;
    use std::time::Duration;

    fn pair() -> (DatagramSocket, UdpSocket) {
        let (near, far) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        near.connect(far.local_addr().unwrap()).unwrap();
        far.connect(near.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        (DatagramSocket::open(near).unwrap(), far)
    }

    fn run(test: impl AsyncFnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), test()).await });
        ended.expect("what came is reported");
    }

    #[test]
    fn what_comes_after_a_short_batch_is_not_overlooked() {
        run(async || {
            let (socket, far) = pair();
            let buffers = RefCell::new(Receiver::unnamed());
            for round in 1..200 {
                let mut due = round;
                (0..round).for_each(|_| assert_eq!(far.send(b"one").unwrap(), 3));
                while due > 0 {
                    let came = socket.receive(&buffers).await.unwrap();
                    due -= came;
                    // After the batch was taken and before it is known that nothing is left.
                    if came < BATCH && round % 2 == 0 && due == 0 {
                        far.send(b"another").unwrap();
                        assert_eq!(socket.receive(&buffers).await.unwrap(), 1);
                    }
                }
            }
        });
    }

    #[test]
    fn an_error_after_a_short_batch_is_told() {
        run(async || {
            for _ in 0..50 {
                let (socket, far) = pair();
                let buffers = RefCell::new(Receiver::unnamed());
                far.send(b"one").unwrap();
                assert_eq!(socket.receive(&buffers).await.unwrap(), 1);
                drop(far);
                // Nobody is there any more, and the system says so over ICMP.
                socket.socket().send(b"anybody?").unwrap();
                let told = socket.receive(&buffers).await.unwrap_err();
                assert_eq!(told.kind(), io::ErrorKind::ConnectionRefused);
            }
        });
    }

    #[test]
    fn where_groups_are_refused_datagrams_go_one_by_one() {
        run(async || {
            let (socket, far) = pair();
            leave_checksums_out(socket.as_fd()).unwrap();
            let (mut sender, buffers) = (Sender::new(), RefCell::new(Receiver::unnamed()));
            let mut send_ten = || {
                let item = &mut |_| Outgoing { bytes: b"query", to: None, from: None };
                assert_eq!(socket.send(&mut sender, 10, item).unwrap(), 10);
                assert_eq!(buffers.borrow_mut().receive(far.as_fd()).unwrap(), 10);
            };
            for round in 1..=u32::from(REFUSALS_MAX) + u32::from(CALLS_ALONE) {
                assert_eq!(socket.sends_groups(), round <= u32::from(REFUSALS_MAX), "{round}");
                send_ten();
            }
            assert!(socket.sends_groups(), "after a while it is tried again");
            send_ten();
        });
    }

    #[test]
    fn an_address_that_takes_nothing_is_no_refusal_of_groups() {
        run(async || {
            let near = UdpSocket::bind("127.0.0.1:0").unwrap();
            near.set_nonblocking(true).unwrap();
            let (socket, mut sender) = (DatagramSocket::open(near).unwrap(), Sender::new());
            let nowhere = "127.0.0.1:0".parse().unwrap();
            for count in [1, 10].into_iter().cycle().take(10 * usize::from(REFUSALS_MAX)) {
                let item = &mut |_| Outgoing { bytes: b"reply", to: Some(nowhere), from: None };
                assert_eq!(socket.send(&mut sender, count, item).unwrap_err().raw_os_error(), Some(libc::EINVAL));
                assert!(socket.sends_groups());
            }
        });
    }

    #[test]
    fn what_follows_a_refused_group_is_sent_by_the_next_call() {
        run(async || {
            let (socket, far) = pair();
            leave_checksums_out(socket.as_fd()).unwrap();
            let (mut sender, buffers) = (Sender::new(), RefCell::new(Receiver::unnamed()));
            let lens = [5, 5, 5, 9, 9];
            let mut from = |at: usize| {
                let item = &mut |i| Outgoing { bytes: &[0; 9][..lens[at + i]], to: None, from: None };
                socket.send(&mut sender, lens.len() - at, item).unwrap()
            };
            assert_eq!((from(0), from(3)), (3, 2));
            assert_eq!(buffers.borrow_mut().receive(far.as_fd()).unwrap(), lens.len());
        });
    }

    #[test]
    fn what_is_looked_for_again_is_found() {
        run(async || {
            let (socket, far) = pair();
            let buffers = RefCell::new(Receiver::unnamed());
            far.send(b"one").unwrap();
            assert_eq!(socket.receive(&buffers).await.unwrap(), 1);
            far.send(b"another").unwrap();
            socket.look_again();
            assert_eq!(socket.receive(&buffers).await.unwrap(), 1);
            assert_eq!(buffers.borrow().datagram(0).bytes, b"another");
        });
    }
}
