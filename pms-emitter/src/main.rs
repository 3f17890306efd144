//! The program `pms-emitter`.

use std::process::ExitCode;

/// A webhook takes some 200 allocations on its way, many of about a kilobyte, at which the C library's own allocator is slow:
/// docs/performance.md has the figures. SQLite's C uses it too.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    pms_emitter::main_of_emitter()
}
