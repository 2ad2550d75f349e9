//! What works without a running server: a look at the host, a backup of a stopped server's data, a restore.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use base_env::Env;
use compute_api::{FunctionHost as _, HostReport, RuntimeListing, endpoint};
use compute_process::{ProcessHost, ProcessSettings};
use serde_json::Value;
pub use store_embedded::BackupSummary;
use store_embedded::{DataDir, EmbeddedStore, Options};

use crate::{ServerError, own::BACKUP_DIRECTORIES, pages};

/// What this host offers to functions.
#[derive(Debug)]
pub struct HostView {
    /// The runtimes that were found and those that were not.
    pub runtimes: Arc<RuntimeListing>,
    /// The isolation that functions would get, and why not more.
    pub report: Arc<HostReport>,
}

impl HostView {
    /// Looks at the host as a server's start does.
    ///
    /// # Errors
    /// When the sandbox's launcher does not start.
    pub fn look() -> Result<Self, ServerError> {
        let env = Env::real();
        let folder = std::env::temp_dir().join(format!("pileus-look-{}", env.uuid()));
        let (sender, _connections) = endpoint::endpoint_channel(1);
        let view = ProcessHost::open(ProcessSettings::new(folder.clone()), env, sender)
            .map(|host| Self { runtimes: host.runtimes(), report: host.report() })
            .map_err(|error| ServerError::new("cannot look at the host").because(error));
        // It holds nothing but the runtimes' own files; what cannot be removed is the system's to clean up.
        drop(fs::remove_dir_all(&folder));
        view
    }

    /// The runtimes as the page `/_pileus/runtimes` shows them.
    #[must_use]
    pub fn runtimes_document(&self) -> Value {
        pages::runtimes(&self.runtimes)
    }

    /// The report as the page `/_pileus/doctor` shows it.
    #[must_use]
    pub fn report_document(&self) -> Value {
        pages::doctor(&self.report)
    }
}

/// Writes a backup of the data directory of a server that does not run. The file appears under its name only when it is
/// whole and on disk.
///
/// # Errors
/// When the file exists, the directory is in use or not one of ours, or the disk fails.
pub fn backup(data: &Path, file: &Path) -> Result<BackupSummary, ServerError> {
    let failed = || ServerError::new(format!("cannot back up `{}`", data.display()));
    if file.exists() {
        return Err(failed()
            .because(format!("`{}` exists already", file.display()))
            .remedy("name a file that does not exist"));
    }
    // Opening makes a directory that is not there: nobody means that here.
    if !data.is_dir() {
        return Err(failed().because("it does not exist").remedy("name the data directory of a stopped server"));
    }
    let directory = DataDir::open(data, &Options::default()).map_err(|error| failed().because(error))?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = file.with_file_name(name);
    let outcome = write_backup(&directory, &part).and_then(|summary| {
        fs::rename(&part, file).map_err(|error| failed().because(error))?;
        Ok(summary)
    });
    if outcome.is_err() {
        // A part of a backup is worth nothing; the cause matters more than whether it can be removed.
        drop(fs::remove_file(&part));
    }
    outcome
}

/// Makes a file that only its owner can read: a backup holds the installation's keys. What an interrupted run left under
/// the name is replaced, never written into.
///
/// # Errors
/// When the disk refuses.
pub fn create_private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn write_backup(directory: &DataDir, part: &Path) -> Result<BackupSummary, ServerError> {
    let failed = || ServerError::new(format!("cannot write `{}`", part.display()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ServerError::new("the asynchronous runtime cannot be started").because(error))?;
    let embedded = runtime
        .block_on(EmbeddedStore::open(directory, Options::default(), &Env::real()))
        .map_err(|error| ServerError::new("the store cannot be opened").because(error))?;
    let file = create_private(part).map_err(|error| failed().because(error))?;
    let summary = embedded
        .backup(directory, BACKUP_DIRECTORIES, BufWriter::new(&file))
        .map_err(|error| failed().because(error))?;
    file.sync_all().map_err(|error| failed().because(error))?;
    runtime.block_on(embedded.store().shutdown());
    Ok(summary)
}

/// Fills a data directory, which must be absent or empty, from a backup.
///
/// # Errors
/// When the backup is not intact, or the directory holds something; then nothing is left behind.
pub fn restore(file: &Path, data: &Path) -> Result<BackupSummary, ServerError> {
    let failed = || ServerError::new(format!("cannot restore `{}`", file.display()));
    let backup = File::open(file).map_err(|error| failed().because(error))?;
    store_embedded::restore(backup, data, &Options::default()).map_err(|error| failed().because(error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use base_types::Timestamp;

    use super::*;
    use crate::installation::Installation;

    fn key_of(data: &Path) -> [u8; 32] {
        let env = Env::simulated(Timestamp::from_millis(1), 1);
        let directory = DataDir::open(data, &Options::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let embedded = EmbeddedStore::open(&directory, Options::default(), &env).await.unwrap();
            let installation = Installation::open(embedded.store(), &env).await.unwrap();
            embedded.store().shutdown().await;
            installation.derive("test")
        })
    }

    #[test]
    fn a_backup_of_a_stopped_server_is_restored_with_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let (data, file, other) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        assert!(backup(&data, &file).is_err(), "nothing to back up");
        assert!(!data.exists(), "and nothing made");
        let key = key_of(&data);
        fs::write(folder.path().join("b.part"), "left by an interrupted run").unwrap();
        let summary = backup(&data, &file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "it holds the root key");
        assert!(summary.entries >= 1);
        assert!(backup(&data, &file).unwrap_err().remedy_text().is_some(), "a file that exists is kept");
        restore(&file, &other).unwrap();
        assert_eq!(key_of(&other), key);
        assert!(restore(&file, &other).is_err(), "data that exist are kept");
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert!(restore(&file, &folder.path().join("d")).is_err());
        assert!(!folder.path().join("d").exists());
    }
}
