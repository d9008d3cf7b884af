//! The lock and the condition variable of [`crate::Pending`]: the standard ones, or loom's when it explores
//! every order of threads. Nothing else of the crate is explored.

#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
