//! The one place that reads the system's randomness and its clock.
//!
//! Everything else takes an [`Entropy`], an [`Ids`] or a [`Clock`] as a parameter, so that a test can seed the one and
//! move the other by hand. clippy's `disallowed-methods` keeps it so.

use contract::{Clock, Entropy, Ids, UnixMillis};
use std::{
    cell::RefCell,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Bytes that a thread draws from the operating system at a time: a call for each id and salt would cost a microsecond.
const DRAWN_LEN: usize = 1024;

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

/// Random bytes that a thread has drawn and not used. Each byte is used once and then erased here.
struct Drawn {
    bytes: [u8; DRAWN_LEN],
    given: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; DRAWN_LEN], given: DRAWN_LEN }) };
}

impl Drawn {
    fn give(&mut self, wanted: &mut [u8]) {
        if wanted.len() > DRAWN_LEN - self.given {
            draw(&mut self.bytes);
            self.given = 0;
        }
        let end = self.given + wanted.len();
        let given = &mut self.bytes[self.given..end];
        wanted.copy_from_slice(given);
        given.fill(0);
        self.given = end;
    }
}

fn draw(bytes: &mut [u8]) {
    #[expect(clippy::disallowed_methods, reason = "the one place of randomness")]
    getrandom::fill(bytes).expect("the operating system gives randomness");
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > DRAWN_LEN {
            draw(bytes);
        } else {
            DRAWN.with_borrow_mut(|drawn| drawn.give(bytes));
        }
    }
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the system's clock"
        )]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The clock and randomness of a service; tests pass their own.
#[derive(Clone)]
pub struct Runtime {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Runtime {
    /// The system's clock and randomness.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// Ids from this clock and this randomness.
    pub fn ids(&self) -> Ids {
        Ids::new(Arc::clone(&self.clock), Arc::clone(&self.entropy))
    }
}
