//! The programs that a case starts as processes: all in one file, which `src/main.rs` is.

use harness::program::{EMITTER, Program, RECEIVER};

/// The file, for anyone who calls it by a name of its own.
pub const FILE: &str = env!("CARGO_BIN_EXE_programs");

/// The emitter.
pub fn emitter() -> Program {
    Program::new(FILE, EMITTER)
}

/// The receiver.
pub fn receiver() -> Program {
    Program::new(FILE, RECEIVER)
}

/// The demo.
pub fn demo() -> Program {
    Program::new(FILE, "demo")
}
