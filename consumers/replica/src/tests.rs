//! Messages as indexers send them, delivered as brokers do: late, twice, with holes, with replays in between.

mod model;
mod order;
mod rules;
