//! Every program that a case starts as a process, in one file: the name that it is called by says which.

use harness::program::called_by;
use std::process::ExitCode;

/// As the services have it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match called_by().as_deref() {
        Some("demo") => demo::main_of_demo(),
        // Either service, or the bare endpoint.
        _ => load::main_of_load(),
    }
}
