//! A way to hold a transaction in its middle, without a sleep.

use std::sync::{Arc, Mutex, mpsc};

use harness::waiting::HANGS_AFTER;

/// A door inside of a transaction: it signals when a transaction stands before it, and holds it until it is opened.
///
/// It blocks its thread: on SQLite that is the writer, on MySQL one of the runtime's two.
pub struct Door {
    arrived: mpsc::SyncSender<()>,
    opened: Mutex<mpsc::Receiver<()>>,
}

/// Who opens the door.
pub struct Doorkeeper {
    arrived: mpsc::Receiver<()>,
    open: mpsc::SyncSender<()>,
}

/// A door and its keeper.
pub fn door() -> (Arc<Door>, Doorkeeper) {
    let ((arrived, arrivals), (open, opened)) = (mpsc::sync_channel(1), mpsc::sync_channel(1));
    let door = Door {
        arrived,
        opened: Mutex::new(opened),
    };
    (
        Arc::new(door),
        Doorkeeper {
            arrived: arrivals,
            open,
        },
    )
}

impl Door {
    /// Blocks until the door is opened.
    pub fn pass(&self) {
        self.arrived.send(()).expect("the keeper waits");
        self.opened.lock().unwrap().recv().expect("the keeper opens");
    }
}

impl Doorkeeper {
    /// Blocks until a transaction stands before the door.
    pub fn wait(&self) {
        self.arrived
            .recv_timeout(HANGS_AFTER)
            .expect("the transaction comes to the door");
    }

    /// Lets it through.
    pub fn open(&self) {
        self.open.send(()).expect("the transaction waits");
    }
}
