//! `pileus up`, and what works beside a server: `runtimes`, `doctor`, `backup` and `restore`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    time::Duration,
};

use app_server::{HostView, Ready, ServerConfig, ServerError, create_private};
use bytes::Bytes;
use edge_client::Call;
use http::Method;
use serde_json::json;

use crate::{
    args,
    cloud::{Cloud, refusal},
    failure::{Failure, Outcome, io},
    screen::{Screen, size},
};

/// A backup's next piece comes within this time.
const PIECE_LIMIT: Duration = Duration::from_secs(120);

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        let failure = Self::new(error.to_string());
        let failure = match std::error::Error::source(&error) {
            Some(source) => failure.because(source),
            None => failure,
        };
        match error.remedy_text() {
            Some(remedy) => failure.remedy(remedy),
            None => failure,
        }
    }
}

/// Serves until it is told to stop.
pub(crate) fn up(screen: Screen, options: &args::Up) -> Outcome<()> {
    let mut config = ServerConfig::load(options.config.as_deref(), std::env::vars())?;
    if let Some(address) = options.listen {
        config.listen = vec![address];
    }
    if let Some(data) = &options.data {
        config.data.clone_from(data);
    }
    if let Some(auth) = options.auth {
        config.auth = match auth {
            args::Auth::Required => app_server::Auth::Required,
            args::Auth::Open => app_server::Auth::Open,
        };
    }
    app_server::run(config, |ready| greet(screen, ready))?;
    Ok(())
}

/// What a person reads when the server is ready. The root key is shown here, once, and nowhere else.
fn greet(screen: Screen, ready: &Ready) {
    let addresses: Vec<_> = ready.addresses.iter().map(|address| format!("http://{address}")).collect();
    let bold = anstyle::Style::new().bold();
    let mut text = format!(
        "{bold}Pileus is up{bold:#} at {} after {} ms; data in {}; isolation {}; {}",
        addresses.join(", "),
        ready.took.as_millis(),
        ready.data.display(),
        ready.isolation,
        if ready.auth_required { "signatures required" } else { "any credentials (loopback only)" },
    );
    let mut value = json!({
        "addresses": addresses,
        "took_us": u64::try_from(ready.took.as_micros()).unwrap_or(u64::MAX),
        "data": ready.data.display().to_string(),
        "isolation": ready.isolation.as_str(),
        "auth_required": ready.auth_required,
    });
    if let Some(key) = &ready.root_key {
        text.push_str(&format!(
            "\nThe root key, shown this once; keep it:\n  export AWS_ACCESS_KEY_ID={}\n  export AWS_SECRET_ACCESS_KEY={}",
            key.access_key_id, key.secret_access_key
        ));
        if let Some(members) = value.as_object_mut() {
            members.insert("access_key_id".to_owned(), json!(key.access_key_id));
            members.insert("secret_access_key".to_owned(), json!(key.secret_access_key));
        }
    }
    screen.result(&value, &text);
}

/// Lists the runtimes found on this host.
pub(crate) fn runtimes(screen: Screen) -> Outcome<()> {
    let view = HostView::look()?;
    let mut lines = Vec::new();
    for runtime in &view.runtimes.installed {
        let path =
            runtime.path.as_ref().map_or_else(|| "(brings its own)".to_owned(), |path| path.display().to_string());
        let other = if runtime.chosen { "" } else { "  (not chosen)" };
        lines.push(format!("{:16} {:12} {path}{other}", runtime.name, runtime.version).trim_end().to_owned());
    }
    if !view.runtimes.missing.is_empty() {
        lines.push(format!("not on this host: {}", view.runtimes.missing.join(", ")));
        lines.push(
            "to add one: install its interpreter on the PATH of the server and start the server again".to_owned(),
        );
    }
    screen.result(&view.runtimes_document(), &lines.join("\n"));
    Ok(())
}

/// Says what this host offers for isolation.
pub(crate) fn doctor(screen: Screen) -> Outcome<()> {
    use app_server::FindingState;

    let view = HostView::look()?;
    let bold = anstyle::Style::new().bold();
    let mut lines = vec![format!("functions get the isolation level {bold}{}{bold:#}", view.report.level)];
    for finding in &view.report.findings {
        let (colour, mark) = match finding.state {
            FindingState::Present => (anstyle::AnsiColor::Green, "ok"),
            FindingState::Degraded => (anstyle::AnsiColor::Yellow, "partly"),
            FindingState::Missing => (anstyle::AnsiColor::Red, "missing"),
        };
        let colour = colour.on_default();
        lines.push(format!("{colour}{mark:8}{colour:#} {:28} {}", finding.name, finding.detail));
        if !finding.remedy.is_empty() {
            lines.push(format!("{:8} {:28} remedy: {}", "", "", finding.remedy));
        }
    }
    screen.result(&view.report_document(), &lines.join("\n"));
    Ok(())
}

/// A backup of a stopped server's directory.
pub(crate) fn backup_stopped(screen: Screen, data: &Path, file: &Path) -> Outcome<()> {
    let bar = screen.spinner(format!("backing up {}", data.display()));
    app_server::backup(data, file)?;
    bar.finish_and_clear();
    let bytes = file.metadata().map_err(io("cannot look at the backup"))?.len();
    said(screen, file, bytes);
    Ok(())
}

/// A backup of the running server, over its own page. The file appears under its name only when it is whole and on disk.
pub(crate) async fn backup_running(cloud: &Cloud, screen: Screen, file: &Path) -> Outcome<()> {
    if file.exists() {
        return Err(
            Failure::new(format!("{} exists already", file.display())).remedy("name a file that does not exist")
        );
    }
    let mut name = file.file_name().ok_or_else(|| Failure::new("the backup needs the name of a file"))?.to_owned();
    name.push(".part");
    let part = file.with_file_name(name);
    let written = create_private(&part).map_err(io(format!("cannot write {}", part.display())))?;
    let outcome = fetch(cloud, screen, &written).await.and_then(|bytes| {
        written.sync_all().map_err(io("the backup cannot be made durable"))?;
        std::fs::rename(&part, file).map_err(io(format!("cannot name the backup {}", file.display())))?;
        Ok(bytes)
    });
    match outcome {
        Ok(bytes) => {
            said(screen, file, bytes);
            Ok(())
        }
        Err(failure) => {
            // A part of a backup is worth nothing; if it cannot be removed its name says what it is.
            drop(std::fs::remove_file(&part));
            Err(failure)
        }
    }
}

async fn fetch(cloud: &Cloud, screen: Screen, file: &File) -> Outcome<u64> {
    let bar = screen.bytes("backing up", 0);
    let mut writer = BufWriter::new(file);
    let call = Call {
        service: "pileus",
        method: Method::GET,
        target: "/_pileus/backup".to_owned(),
        headers: Vec::new(),
        body: Bytes::new(),
        limit: PIECE_LIMIT,
    };
    let mut bytes = 0_u64;
    let keep = |piece: &[u8]| {
        bytes += piece.len() as u64;
        bar.set_position(bytes);
        writer.write_all(piece)
    };
    let answer = cloud.client().fetch(call, keep).await?;
    if !answer.status.is_success() {
        return Err(refusal(&answer).failure("the server gives no backup"));
    }
    writer.flush().map_err(io("cannot write the backup"))?;
    drop(writer);
    bar.finish_and_clear();
    Ok(bytes)
}

fn said(screen: Screen, file: &Path, bytes: u64) {
    let value = json!({ "file": file.display().to_string(), "bytes": bytes });
    screen.result(&value, &format!("wrote {} ({})", file.display(), size(bytes)));
}

/// Fills a data directory from a backup.
pub(crate) fn restore(screen: Screen, options: &args::Restore) -> Outcome<()> {
    let bar = screen.spinner(format!("restoring {}", options.data.display()));
    let summary = app_server::restore(&options.file, &options.data)?;
    bar.finish_and_clear();
    let value = json!({
        "data": options.data.display().to_string(), "entries": summary.entries, "files": summary.files,
        "version": summary.version,
    });
    let text =
        format!("restored {} entries and {} files to {}", summary.entries, summary.files, options.data.display());
    screen.result(&value, &text);
    Ok(())
}
