//! An operation without the types of its closure and its answer: what runs it is compiled once, not again for each store
//! method.

use crate::{DbError, Tx};
use futures::future::BoxFuture;
use std::{any::Any, sync::Arc};

/// What an operation answers; [`typed`] gives it its type back.
pub(crate) type Answer = Box<dyn Any + Send>;

/// The closure of one operation. It may run several times, from its start.
pub(crate) type Closure =
    Arc<dyn for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<Answer, DbError>> + Send + Sync>;

/// The closure without its types.
pub(crate) fn erased<T, F>(f: F) -> Closure
where
    T: Send + 'static,
    F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static,
{
    Arc::new(move |tx| {
        let answer = f(tx);
        Box::pin(async move { Ok(Box::new(answer.await?) as Answer) })
    })
}

/// A look-up without its types: its answer is an `Option<Answer>`.
pub(crate) fn erased_look_up<T, F>(find: F) -> Closure
where
    T: Send + 'static,
    F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<Option<T>, DbError>> + Send + Sync + 'static,
{
    erased(move |tx| {
        let found = find(tx);
        Box::pin(async move { Ok(found.await?.map(|found| Box::new(found) as Answer)) })
    })
}

/// The answer with its type, which is that of the closure.
pub(crate) fn typed<T: 'static>(answer: Answer) -> T {
    *answer
        .downcast()
        .expect("an operation answers what its closure answers")
}
