//! The emitter as a process of the suite: `serve`, and a line on standard output once it listens.

/// As the services have it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    e2e::serve::emitter().await
}
