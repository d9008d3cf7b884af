//! Alerts from outside: rules over a journal in memory, real programs, a real server on a loopback port.

mod commands;
mod rules;
mod support;
mod webhooks;
