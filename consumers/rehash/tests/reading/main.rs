//! Readings of real files: what they give, what they refuse, and what they leave in the page cache.

mod cache;
mod contents;
mod holes;
mod looks;
mod refusals;
mod support;
