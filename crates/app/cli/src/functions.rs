//! `pileus invoke`, `pileus ls` and `pileus rm`.

use std::io::{Read, Write};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use comfy_table::{Table, presets};
use http::Method;
use serde_json::{Value, json};

use crate::{
    args,
    cloud::{Cloud, InvokeOptions, segment},
    failure::{Failure, Outcome, io},
    screen::{Screen, size},
};

/// The longest event that is read from standard input: a little more than AWS's limit, so that the server says its error.
const PAYLOAD_BYTES_MAX: u64 = 8 << 20;

/// Invokes; a function error is a failure after its payload was printed.
pub(crate) async fn invoke(cloud: &Cloud, screen: Screen, options: &args::Invoke) -> Outcome<()> {
    let payload = match options.payload.as_deref() {
        None => Bytes::from_static(b"{}"),
        Some("-") => {
            let mut text = Vec::new();
            std::io::stdin()
                .take(PAYLOAD_BYTES_MAX)
                .read_to_end(&mut text)
                .map_err(io("cannot read the event from standard input"))?;
            Bytes::from(text)
        }
        Some(text) => Bytes::copy_from_slice(text.as_bytes()),
    };
    let how = InvokeOptions { qualifier: options.qualifier.as_deref(), event: options.event, tail: options.tail };
    let invocation = cloud
        .invoke(&options.name, payload, &how)
        .await?
        .map_err(|refusal| refusal.failure(format!("cannot invoke `{}`", options.name)))?;
    let tail = invocation.log_tail.as_deref().and_then(|text| BASE64.decode(text).ok());
    let tail = tail.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = String::from_utf8_lossy(&invocation.payload);
    if screen.is_json() {
        // A function may answer what is not JSON: it is then shown as text.
        let payload = serde_json::from_slice(&invocation.payload).unwrap_or_else(|_| json!(text));
        let value = json!({
            "status": invocation.status,
            "function_error": invocation.function_error,
            "executed_version": invocation.executed_version,
            "payload": payload,
            "log": tail,
        });
        anstream::println!("{value}");
    } else {
        if let Some(tail) = &tail {
            anstream::eprint!("{tail}");
        }
        if options.event {
            screen.note("accepted: the function runs in the background");
        } else {
            anstream::println!("{text}");
        }
    }
    match invocation.function_error {
        Some(kind) => Err(Failure::new(format!("`{}` failed ({kind})", options.name))
            .remedy(format!("`pileus logs {}` shows what it said", options.name))),
        None => Ok(()),
    }
}

/// Lists the functions by name.
pub(crate) async fn list(cloud: &Cloud, screen: Screen) -> Outcome<()> {
    let functions = cloud.functions().await?;
    let text = |function: &Value, member: &str| function[member].as_str().unwrap_or("-").to_owned();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["NAME", "RUNTIME", "HANDLER", "MEMORY", "TIMEOUT", "CODE", "MODIFIED"]);
    for function in &functions {
        table.add_row([
            text(function, "FunctionName"),
            text(function, "Runtime"),
            text(function, "Handler"),
            format!("{} MB", function["MemorySize"]),
            format!("{} s", function["Timeout"]),
            size(function["CodeSize"].as_u64().unwrap_or(0)),
            text(function, "LastModified"),
        ]);
    }
    let listing = if functions.is_empty() {
        "no functions yet: `pileus deploy DIR` makes one".to_owned()
    } else {
        table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
    };
    screen.result(&json!({ "functions": functions }), &listing);
    Ok(())
}

/// Deletes functions, and their logs if told. All names are tried; the first failure is reported.
pub(crate) async fn remove(cloud: &Cloud, screen: Screen, options: &args::Rm) -> Outcome<()> {
    let mut failed = None;
    for name in &options.names {
        let target = format!("/2015-03-31/functions/{}", segment(name));
        match cloud.lambda(Method::DELETE, target, None).await? {
            Ok(_) => screen.result(&json!({ "deleted": name }), &format!("deleted {name}")),
            Err(refusal) => {
                let failure = refusal.failure(format!("cannot delete `{name}`"));
                failed.get_or_insert(failure);
                continue;
            }
        }
        if options.logs {
            let group = json!({ "logGroupName": format!("/aws/lambda/{name}") });
            match cloud.logs("DeleteLogGroup", &group).await? {
                Ok(_) => screen.note(&format!("deleted the logs of {name}")),
                Err(refusal) if refusal.is_not_found() => {}
                Err(refusal) => {
                    failed.get_or_insert(refusal.failure(format!("cannot delete the logs of `{name}`")));
                }
            }
        }
    }
    std::io::stdout().flush().map_err(io("cannot write to standard output"))?;
    failed.map_or(Ok(()), Err)
}
