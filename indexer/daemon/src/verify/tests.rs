//! verify tests
