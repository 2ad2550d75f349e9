//! `pileus deploy DIR`: creates or updates the function in a folder, with the tables that it needs and what starts it, and
//! says what it did.
//!
//! Guarantee: when it returns, the function is active with exactly what the folder says; what was already so is left
//! alone and called unchanged.

mod pack;
mod project;
mod resources;
mod rust;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::Method;
use pack::Archive;
use project::{Language, Project};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    args::Deploy,
    cloud::{Cloud, object, segment},
    failure::{Failure, Outcome},
    screen::{Screen, size},
};

/// What became of a part of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Created,
    Updated,
    Unchanged,
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Runs the command.
pub(crate) async fn run(cloud: &Cloud, screen: Screen, options: &Deploy) -> Outcome<()> {
    let project = Project::read(&options.folder, options.name.as_deref())?;
    let spinner = screen.spinner(format!("packing {}", options.folder.display()));
    let archive = match project.language {
        Language::Rust => {
            spinner.suspend(|| rust::build(&options.folder)).and_then(|binary| pack::bootstrap(&binary))?
        }
        Language::Python | Language::Node | Language::Native => pack::folder(&options.folder)?,
    };
    let mut streams = Vec::new();
    for table in &project.tables {
        spinner.set_message(format!("making the table {}", table.name));
        if let Some(stream) = table.ensure(cloud).await? {
            streams.push((table.name.clone(), stream));
        }
    }
    spinner.set_message(format!("sending {} ({})", project.name, size(archive.bytes.len() as u64)));
    let (code, configuration) = match current(cloud, &project.name).await? {
        None => {
            create(cloud, &project, &archive).await?;
            (Change::Created, Change::Created)
        }
        Some(function) => update(cloud, &project, &archive, &function).await?,
    };
    let url = if project.url || options.url { Some(url(cloud, &project.name).await?) } else { None };
    let function = cloud.until_ready(&project.name).await?;
    for trigger in &project.triggers {
        trigger.ensure(cloud, &project.name, &streams).await?;
    }
    spinner.finish_and_clear();
    report(screen, &archive, (code, configuration), &function, url.as_deref());
    Ok(())
}

fn configuration_path(name: &str) -> String {
    format!("/2015-03-31/functions/{}/configuration", segment(name))
}

async fn current(cloud: &Cloud, name: &str) -> Outcome<Option<Value>> {
    match cloud.lambda(Method::GET, configuration_path(name), None).await? {
        Ok(function) => Ok(Some(function)),
        Err(refusal) if refusal.is_not_found() => Ok(None),
        Err(refusal) => Err(refusal.failure(format!("cannot look for `{name}`"))),
    }
}

async fn create(cloud: &Cloud, project: &Project, archive: &Archive) -> Outcome<()> {
    let runtime = match &project.runtime {
        Some(runtime) => runtime.clone(),
        None => runtime_of(cloud, project.language).await?,
    };
    let role = match &project.role {
        Some(role) => role.clone(),
        None => format!("arn:aws:iam::{}:role/pileus-deploy", cloud.account().await?),
    };
    let body = object(vec![
        ("FunctionName", json!(project.name)),
        ("Runtime", json!(runtime)),
        ("Handler", json!(project.handler)),
        ("Role", json!(role)),
        ("Code", json!({ "ZipFile": BASE64.encode(&archive.bytes) })),
        ("Description", json!(project.description)),
        ("MemorySize", json!(project.memory)),
        ("Timeout", json!(project.timeout)),
        ("Environment", json!({ "Variables": project.environment })),
    ]);
    cloud
        .lambda(Method::POST, "/2015-03-31/functions".to_owned(), Some(body))
        .await?
        .map_err(|refusal| refusal.failure(format!("cannot create `{}`", project.name)))?;
    cloud.until_ready(&project.name).await.map(|_| ())
}

/// Brings code, then configuration, up to date; each waits for the other as AWS demands.
async fn update(cloud: &Cloud, project: &Project, archive: &Archive, function: &Value) -> Outcome<(Change, Change)> {
    let name = &project.name;
    cloud.until_ready(name).await?;
    let digest = BASE64.encode(Sha256::digest(&archive.bytes));
    let code = if function["CodeSha256"] == digest.as_str() {
        Change::Unchanged
    } else {
        let target = format!("/2015-03-31/functions/{}/code", segment(name));
        let body = json!({ "ZipFile": BASE64.encode(&archive.bytes) });
        cloud
            .lambda(Method::PUT, target, Some(body))
            .await?
            .map_err(|refusal| refusal.failure(format!("cannot update the code of `{name}`")))?;
        cloud.until_ready(name).await?;
        Change::Updated
    };
    let wanted = differences(project, function);
    if wanted.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok((code, Change::Unchanged));
    }
    cloud
        .lambda(Method::PUT, configuration_path(name), Some(wanted))
        .await?
        .map_err(|refusal| refusal.failure(format!("cannot update the configuration of `{name}`")))?;
    cloud.until_ready(name).await?;
    Ok((code, Change::Updated))
}

/// The members of an UpdateFunctionConfiguration that would change something. What the folder leaves open stays as it is,
/// but for the environment, which the folder always says in full.
fn differences(project: &Project, function: &Value) -> Value {
    let open = |member: &str, wanted: Value| {
        let same = wanted.is_null() || function.get(member) == Some(&wanted);
        if same { Value::Null } else { wanted }
    };
    let variables = json!(project.environment);
    let held = function.pointer("/Environment/Variables").cloned().unwrap_or_else(|| json!({}));
    let environment = if held == variables { Value::Null } else { json!({ "Variables": variables }) };
    object(vec![
        ("Runtime", open("Runtime", json!(project.runtime))),
        ("Handler", open("Handler", json!(project.handler))),
        ("Role", open("Role", json!(project.role))),
        ("Description", open("Description", json!(project.description))),
        ("MemorySize", open("MemorySize", json!(project.memory))),
        ("Timeout", open("Timeout", json!(project.timeout))),
        ("Environment", environment),
    ])
}

/// The newest runtime of the language that the server's host has.
async fn runtime_of(cloud: &Cloud, language: Language) -> Outcome<String> {
    let prefix = match language {
        Language::Python => "python",
        Language::Node => "nodejs",
        Language::Native | Language::Rust => return Ok("provided.al2023".to_owned()),
    };
    let answer = cloud.own(Method::GET, "runtimes").await?;
    let listing: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let found = listing["installed"].as_array().into_iter().flatten();
    let names = found.filter_map(|runtime| runtime["name"].as_str()).filter(|name| name.starts_with(prefix));
    newest(names).map(str::to_owned).ok_or_else(|| {
        Failure::new(format!("the server's host has no {prefix} runtime"))
            .remedy("`pileus runtimes` lists what it has and how to add one; or say `runtime` in pileus.toml")
    })
}

/// `python3.11` is newer than `python3.9`.
fn newest<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names.max_by_key(|name| {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect::<Vec<u32>>()
    })
}

/// The function's URL, made and opened to everybody if it has none.
async fn url(cloud: &Cloud, name: &str) -> Outcome<String> {
    let target = format!("/2021-10-31/functions/{}/url", segment(name));
    let text = |answer: &Value| answer["FunctionUrl"].as_str().unwrap_or_default().to_owned();
    match cloud.lambda(Method::GET, target.clone(), None).await? {
        Ok(answer) => return Ok(text(&answer)),
        Err(refusal) if refusal.is_not_found() => {}
        Err(refusal) => return Err(refusal.failure(format!("cannot look for the URL of `{name}`"))),
    }
    let answer = cloud
        .lambda(Method::POST, target, Some(json!({ "AuthType": "NONE" })))
        .await?
        .map_err(|refusal| refusal.failure(format!("cannot give `{name}` a URL")))?;
    let statement = json!({
        "StatementId": "FunctionURLAllowPublicAccess",
        "Action": "lambda:InvokeFunctionUrl",
        "Principal": "*",
        "FunctionUrlAuthType": "NONE",
    });
    let policy = format!("/2015-03-31/functions/{}/policy", segment(name));
    match cloud.lambda(Method::POST, policy, Some(statement)).await? {
        Ok(_) => Ok(text(&answer)),
        // The statement outlived an earlier URL.
        Err(refusal) if refusal.code == "ResourceConflictException" => Ok(text(&answer)),
        Err(refusal) => Err(refusal.failure(format!("cannot open the URL of `{name}` to everybody"))),
    }
}

fn report(screen: Screen, archive: &Archive, change: (Change, Change), function: &Value, url: Option<&str>) {
    let text = |member: &str| function[member].as_str().unwrap_or_default();
    let value = json!({
        "function": text("FunctionName"),
        "arn": text("FunctionArn"),
        "code": change.0.word(),
        "configuration": change.1.word(),
        "code_sha256": text("CodeSha256"),
        "files": archive.files,
        "bytes": archive.bytes.len(),
        "url": url,
    });
    let bold = anstyle::Style::new().bold();
    let what = match change {
        (Change::Created, _) => "created",
        (Change::Unchanged, Change::Unchanged) => "unchanged",
        (Change::Unchanged, _) => "updated (configuration)",
        (_, Change::Unchanged) => "updated (code)",
        _ => "updated (code and configuration)",
    };
    let mut lines = format!(
        "{what} {bold}{}{bold:#}: {} {}, {} MB, {} s; {} in {} file{}",
        text("FunctionName"),
        text("Runtime"),
        text("Handler"),
        function["MemorySize"],
        function["Timeout"],
        size(archive.bytes.len() as u64),
        archive.files,
        if archive.files == 1 { "" } else { "s" },
    );
    if let Some(url) = url {
        lines.push_str(&format!("\n{bold}{url}{bold:#}"));
    }
    screen.result(&value, &lines);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn project() -> Project {
        Project {
            name: "f".into(),
            language: Language::Python,
            runtime: None,
            handler: "app.handler".into(),
            memory: Some(128),
            timeout: None,
            description: None,
            role: None,
            url: false,
            environment: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
            tables: Vec::new(),
            triggers: Vec::new(),
        }
    }

    #[test]
    fn only_what_differs_is_updated() {
        let same = json!({
            "Handler": "app.handler", "MemorySize": 128, "Timeout": 3, "Runtime": "python3.11",
            "Environment": { "Variables": { "A": "b" } },
        });
        assert_eq!(differences(&project(), &same), json!({}));
        let other = json!({ "Handler": "app.handler", "MemorySize": 256 });
        let expected = json!({ "MemorySize": 128, "Environment": { "Variables": { "A": "b" } } });
        assert_eq!(differences(&project(), &other), expected);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(newest(["python3.9", "python3.11", "python3.10"].into_iter()), Some("python3.11"));
        assert_eq!(newest(std::iter::empty()), None);
    }
}
