//! The operations.

mod definition;
mod groups;
mod schedules;
mod tags;

use std::time::Duration;

use base_types::Fault;
use model_scheduler::Error;
use services_kernel::{Cx, Idempotency, Replay};
use store_api::Tx;

/// How long a client token is remembered.
const TOKEN_KEPT: Duration = Duration::from_secs(600);

/// The answer that this token was given before, if it was.
fn replayed(tx: &Tx, cx: &Cx, operation: &str, token: Option<&str>, request: &str) -> Result<Option<String>, Error> {
    let Some(token) = token else { return Ok(None) };
    match Idempotency::look(tx, cx, operation, token, request.as_bytes())? {
        Replay::New => Ok(None),
        Replay::Same(answer) => Ok(Some(String::from_utf8_lossy(&answer).into_owned())),
        Replay::Other => {
            Err(Error::conflict_exception(format!("The client token {token} was used for another request.")))
        }
    }
}

fn remember(tx: &Tx, cx: &Cx, operation: &str, token: Option<&str>, request: &str, answer: &str) -> Result<(), Fault> {
    match token {
        Some(token) => {
            Idempotency::remember(tx, cx, operation, token, request.as_bytes(), answer.as_bytes(), TOKEN_KEPT)
        }
        None => Ok(()),
    }
}
