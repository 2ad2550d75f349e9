//! `pileus outbox`: what e-mail and SMS subscribers of topics would have got. Nothing of it was sent.

use http::Method;
use serde_json::Value;

use crate::{
    cloud::{Cloud, refusal},
    failure::{Failure, Outcome},
    screen::Screen,
};

/// Prints the letters, newest first.
pub(crate) async fn run(cloud: &Cloud, screen: Screen) -> Outcome<()> {
    let answer = cloud.own(Method::GET, "outbox").await?;
    if !answer.status.is_success() {
        return Err(refusal(&answer).failure("the server does not show its outbox"));
    }
    let outbox: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::new("the server's answer is not JSON").because(&error))?;
    screen.result(&outbox, &text(&outbox));
    Ok(())
}

fn text(outbox: &Value) -> String {
    let letters: Vec<&Value> = outbox["not_sent"].as_array().into_iter().flatten().collect();
    if letters.is_empty() {
        return "nothing: no e-mail or SMS subscriber would have got anything".to_owned();
    }
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let shown = letters.iter().map(|letter| {
        let subject = letter["subject"].as_str().map(|subject| format!(" · {subject}")).unwrap_or_default();
        let text: Vec<String> = word(&letter["text"]).lines().map(|line| format!("  {line}")).collect();
        let (at, protocol, to) = (word(&letter["at"]), word(&letter["protocol"]), word(&letter["to"]));
        format!("{at} {protocol} to {to}{subject}\n{}", text.join("\n"))
    });
    format!("not sent, kept to be read:\n\n{}", shown.collect::<Vec<_>>().join("\n\n"))
}
