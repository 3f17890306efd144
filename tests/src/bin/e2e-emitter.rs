//! The emitter as a process of the suite: `serve`, and a line on standard output once it listens.

use e2e::process::READY;
use kit::lifecycle::Lifecycle;
use pms_emitter::app::{App, Runtime};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (_, config, log) = pms_emitter::config::read_or_exit();
    kit::telemetry::init(&log)?;
    let app = App::build(config, Runtime::system()).await?;
    println!("{READY}{}", app.address());
    let lifecycle = Lifecycle::new();
    lifecycle.stop_on_signals()?;
    app.run_until_stopped(lifecycle).await;
    Ok(())
}
