//! One attempt at one message: the log, a program, an address. Blocks for as long as the rule allows; knows no rate and no cursor.

mod command;
mod webhook;

use std::os::fd::BorrowedFd;
use std::time::Duration;

use tracing::warn;

use crate::message::Letter;
use crate::rule::{Rule, To};
use webhook::Agent;

/// Who can send what a rule has to tell.
pub(crate) struct Sender {
    to: To,
    timeout: Duration,
    agent: Option<Agent>,
}

impl Sender {
    /// Makes ready, as far as that can be done before there is a message.
    ///
    /// # Errors
    /// What the rule needs and is not there: a variable, a file, an address that is none.
    pub(crate) fn new(rule: &Rule) -> Result<Sender, String> {
        let agent = match &rule.to {
            To::Webhook(webhook) => Some(Agent::new(webhook, rule.timeout)?),
            To::Log | To::Command(_) => None,
        };
        Ok(Sender { to: rule.to.clone(), timeout: rule.timeout, agent })
    }

    /// Tries once. `stop` becomes readable when nobody wants to wait any longer.
    ///
    /// # Errors
    /// Why it did not arrive, without any secret.
    pub(crate) fn send(&self, letter: &Letter, stop: BorrowedFd<'_>) -> Result<(), String> {
        match (&self.to, &self.agent) {
            (To::Command(command), _) => command::run(command, letter, self.timeout, stop),
            (To::Webhook(webhook), Some(agent)) => agent.post(webhook, letter),
            (To::Webhook(_), None) => Err("there is nothing to send by".to_owned()),
            (To::Log, _) => {
                warn!(rule = %letter.rule, key = %letter.key, "alert: {}", letter.text);
                Ok(())
            }
        }
    }
}
