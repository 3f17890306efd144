//! Places for requests that wait long: so many in a process, and so many of them for one caller, so that the others have one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The places. Clones share them.
#[derive(Clone)]
pub(super) struct CallerPlaces {
    in_all_max: usize,
    of_one_max: usize,
    /// How many each caller has; none has 0.
    taken: Arc<Mutex<HashMap<Arc<str>, usize>>>,
}

/// One of the places, while it is held.
pub(super) struct CallerPlace {
    caller: Arc<str>,
    taken: Arc<Mutex<HashMap<Arc<str>, usize>>>,
}

impl CallerPlaces {
    /// So many places, all free.
    pub(super) fn new(in_all_max: usize, of_one_max: usize) -> Self {
        Self {
            in_all_max,
            of_one_max,
            taken: Arc::default(),
        }
    }

    /// A place for the caller of this id, if there is one.
    pub(super) fn take(&self, caller: &Arc<str>) -> Option<CallerPlace> {
        let mut taken = lock(&self.taken);
        let in_all: usize = taken.values().sum();
        let of_caller = taken.get(caller).copied().unwrap_or_default();
        if in_all >= self.in_all_max || of_caller >= self.of_one_max {
            return None;
        }
        taken.insert(Arc::clone(caller), of_caller + 1);
        drop(taken);
        Some(CallerPlace {
            caller: Arc::clone(caller),
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for CallerPlace {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.caller);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_leaves_places_to_the_others() {
        const OF_ONE: usize = 10;
        let places = CallerPlaces::new(100, OF_ONE);
        let callers: Vec<Arc<str>> = (0..=10).map(|number| format!("key_{number}").into()).collect();
        let mut held = Vec::new();
        for caller in &callers[1..] {
            for _ in 0..OF_ONE {
                held.push(places.take(caller).unwrap());
            }
            assert!(places.take(caller).is_none());
        }
        assert!(places.take(&callers[0]).is_none(), "all are taken");
        drop(held.pop());
        held.push(places.take(&callers[0]).unwrap());
        held.clear();
        assert!(lock(&places.taken).is_empty());
    }
}
