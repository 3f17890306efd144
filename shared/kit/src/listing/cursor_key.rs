//! The table `cursor_key`: the key of cursors, made at the first start.

use api::list::CursorKey;
use contract::Entropy;
use db::{Db, DbError, params};
use futures::future::BoxFuture;

/// The id of its one row.
const ROW: &str = "cursor";

/// The key of the cursors of this database's lists.
///
/// # Errors
/// The database's.
pub fn cursor_key<'k>(db: &'k Db, entropy: &'k dyn Entropy) -> BoxFuture<'k, Result<CursorKey, DbError>> {
    let mut fresh = [0; 32];
    entropy.fill(&mut fresh);
    Box::pin(async move {
        db.transaction("cursor_key", move |tx| {
            Box::pin(async move {
                let insert = "INSERT INTO cursor_key (id, secret) VALUES (?, ?)";
                let insert = insert.to_owned() + &tx.dialect().skip_existing("id");
                tx.execute(&insert, params![ROW, fresh]).await?;
                let select = "SELECT secret FROM cursor_key WHERE id = ?";
                let row = tx.query_one(select, params![ROW]).await?;
                let unreadable = || DbError::unreadable("secret");
                let secret: Vec<u8> = row.ok_or_else(unreadable)?.get("secret")?;
                let secret = secret.try_into().map_err(|_| unreadable())?;
                Ok(CursorKey::new(&secret))
            })
        })
        .await
    })
}
