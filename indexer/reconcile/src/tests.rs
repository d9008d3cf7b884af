//! The decision table, case files and properties: reconcile against a model of a disk.

mod cases;
mod disk;
mod memory;
mod model;
mod order;
mod replica;
