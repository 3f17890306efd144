//! `cargo demo`.

use std::process::ExitCode;

fn main() -> ExitCode {
    demo::main_of_demo()
}
