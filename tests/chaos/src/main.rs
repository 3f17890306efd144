//! `cargo chaos`.

use std::process::ExitCode;

/// As the services have it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    chaos::main_of_chaos()
}
