//! Helpers of the tests: a small index made by hand.
