//! `cargo run -p conform -- receiver URL`.

use std::process::ExitCode;

fn main() -> ExitCode {
    conform::main_of_conform()
}
