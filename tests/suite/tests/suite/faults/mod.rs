//! The faults that must be survived, row by row: a case's name begins with the rows that it proves.
//!
//! Here stand the cases that go through a whole service. What concerns one part alone stands with that part's cases,
//! under its rows' names; `docs/faults.md` lists both, and `architecture/` holds it to the names.

mod broken_disks;
mod clients;
mod clocks;
mod commits;
mod disk;
mod endpoints;
mod migrations;
mod outages;
mod overload;
pub(crate) mod processes;
mod queries;
mod server_disk;
mod steps;
mod write_lock;

use db::{Db, DbSettings};
use harness::server::Server;
use kit::random::SystemEntropy;
use mysql_async::{Conn, Opts, prelude::Queryable};
use std::sync::Arc;

use crate::case::{Case, Ctx};

pub fn cases() -> Vec<Case> {
    let modules = [
        clients::cases(),
        clocks::cases(),
        commits::cases(),
        disk::cases(),
        endpoints::cases(),
        migrations::cases(),
        outages::cases(),
        overload::cases(),
        queries::cases(),
        server_disk::cases(),
        steps::cases(),
    ];
    modules.into_iter().flatten().collect()
}

/// A database server of the case's own after these statements, to be killed or set as the case needs it. None, and said
/// so, where there is only a given one.
pub(crate) async fn own_server(ctx: &Ctx, statements: &[&str]) -> Option<Server> {
    let Some(server) = ctx.servers.own_server().unwrap() else {
        eprintln!("skipped: a given server is left as it is");
        return None;
    };
    admin(&server, statements).await;
    Some(server)
}

/// Carries statements out as the user who may do anything.
pub(crate) async fn admin(server: &Server, statements: &[&str]) {
    let opts = Opts::from_url(&server.url("mysql")).unwrap();
    let mut conn = Conn::new(opts).await.unwrap();
    for statement in statements {
        conn.query_drop(*statement).await.unwrap();
    }
    conn.disconnect().await.unwrap();
}

/// A second look at a service's database.
async fn open(url: &str) -> Db {
    let settings = DbSettings {
        exclusive: false,
        ..DbSettings::default()
    };
    Db::open(&url.parse().unwrap(), &settings, Arc::new(SystemEntropy))
        .await
        .unwrap()
}
