//! `cargo chaos`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chaos::main_of_chaos()
}
