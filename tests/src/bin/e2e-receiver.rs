//! The receiver as a process of the suite: `serve`, and a line on standard output once it listens.

use anyhow::bail;
use crm_receiver::app::{App, Runtime};
use crm_receiver::config::Command;
use e2e::process::READY;
use kit::lifecycle::Lifecycle;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (Command::Serve(config), log) = crm_receiver::config::read_or_exit() else {
        bail!("this program only serves");
    };
    kit::telemetry::init(&log)?;
    let app = App::build(config, Runtime::system()).await?;
    println!("{READY}{}", app.address());
    let lifecycle = Lifecycle::new();
    lifecycle.stop_on_signals()?;
    app.run_until_stopped(lifecycle).await;
    Ok(())
}
