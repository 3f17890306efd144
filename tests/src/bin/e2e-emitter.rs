//! The emitter as a process of the suite: `serve`, and a line on standard output once it listens.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    e2e::serve::emitter().await
}
