//! `cargo demo`.

use std::process::ExitCode;

/// As the services have it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    demo::main_of_demo()
}
