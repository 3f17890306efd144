//! The services as processes of a case.

use std::path::Path;

use harness::config::MASTER_KEY;
use harness::process::Process;
use harness::program::Program;

use crate::ingest::SECRET;
use crate::programs;

/// The key of digests, so that none is kept in a folder.
const DIGEST_KEY: &str = "a key of the suite, long enough";

/// An emitter on this database, with these variables besides.
pub async fn emitter(database: &str, folder: &Path, more: &[(&'static str, String)]) -> Process {
    try_emitter(database, folder, more).await.unwrap()
}

/// The same of one that may not come to listen.
pub async fn try_emitter(
    database: &str,
    folder: &Path,
    more: &[(&'static str, String)],
) -> anyhow::Result<Process> {
    let program = programs::emitter();
    let own = [
        ("DOCUMENT_DIGEST_KEY", DIGEST_KEY.to_owned()),
        ("MASTER_KEY", MASTER_KEY.to_owned()),
    ];
    start(&program, database, folder, [&own, more].concat()).await
}

/// A receiver on this database that knows [`SECRET`], with these variables besides.
pub async fn receiver(database: &str, folder: &Path, more: &[(&'static str, String)]) -> Process {
    try_receiver(database, folder, more).await.unwrap()
}

/// The same of one that may not come to listen.
pub async fn try_receiver(
    database: &str,
    folder: &Path,
    more: &[(&'static str, String)],
) -> anyhow::Result<Process> {
    let program = programs::receiver();
    let own = [
        ("WEBHOOK_SHARED_SECRET", SECRET.to_owned()),
        ("MASTER_KEY", MASTER_KEY.to_owned()),
    ];
    start(&program, database, folder, [&own, more].concat()).await
}

async fn start(
    program: &Program,
    database: &str,
    folder: &Path,
    mut variables: Vec<(&'static str, String)>,
) -> anyhow::Result<Process> {
    variables.extend([
        ("DATABASE_URL", database.to_owned()),
        ("APP_PORT", "0".to_owned()),
        ("LOG_LEVEL", "error".to_owned()),
    ]);
    Process::start(program, folder, &variables).await
}
