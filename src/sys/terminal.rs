//! A terminal that hands over each key at once, for commands that refresh (termios(3)).

use std::io::{self, Stdin};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

/// A terminal without line editing, echo and signal keys: Ctrl-C arrives as byte 3. As it was, once this is dropped.
#[derive(Debug)]
pub struct KeyTerminal {
    input: Stdin,
    before: libc::termios,
}

impl KeyTerminal {
    /// Takes over standard input. A read then returns with the first key, or with nothing after `wait_ds` tenths of a
    /// second.
    ///
    /// # Errors
    /// When standard input is not a terminal, or the system refuses.
    pub fn open(wait_ds: u8) -> io::Result<Self> {
        let input = io::stdin();
        let mut before = MaybeUninit::uninit();
        // SAFETY: the descriptor is open, and `before` has room for a termios, which a return of 0 has filled.
        let before = unsafe {
            if libc::tcgetattr(input.as_raw_fd(), before.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            before.assume_init()
        };
        let mut keys = before;
        keys.c_lflag &= !(libc::ICANON | libc::ECHO | libc::ISIG);
        keys.c_cc[libc::VMIN] = 0;
        keys.c_cc[libc::VTIME] = wait_ds;
        let terminal = Self { input, before };
        terminal.set(&keys)?;
        Ok(terminal)
    }

    /// Waits for a key: `None` when none came in time.
    ///
    /// # Errors
    /// What the system said.
    pub fn key(&mut self) -> io::Result<Option<u8>> {
        let mut byte = 0u8;
        // SAFETY: the descriptor is open and `byte` has room for the one byte asked for. Past the buffer of `Stdin`, which
        // would take the empty read for the end of the input.
        let read = unsafe { libc::read(self.input.as_raw_fd(), (&raw mut byte).cast(), 1) };
        match read {
            1.. => Ok(Some(byte)),
            0 => Ok(None),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn set(&self, to: &libc::termios) -> io::Result<()> {
        // SAFETY: the descriptor is open and `to` is a termios that tcgetattr filled.
        match unsafe { libc::tcsetattr(self.input.as_raw_fd(), libc::TCSANOW, to) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for KeyTerminal {
    fn drop(&mut self) {
        // A terminal that has gone has nothing to be restored.
        let _ = self.set(&self.before);
    }
}
