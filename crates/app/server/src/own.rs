//! The server's own pages below `/_pileus/`: who may see them, and how they are answered.
//!
//! Every page but `health` (which the gateway answers), certificates and deployment packages (whose location is sealed) is for
//! the account's root only: anybody on an open loopback server, the root key otherwise. A function never gets here.

use std::{io, sync::Arc};

use base_stream::Sender;
use base_types::Fault;
use bytes::Bytes;
use edge_gateway::{Body, ByteStream, Identity, OwnCall};
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use services_kernel::Principal;
use store_embedded::{DataDir, EmbeddedStore};
use store_segments::Segments;
use wire_sigv4::{Family, SignatureError};

/// Pieces of a backup that may wait for a slow reader.
const BACKUP_PIECES: usize = 8;
/// The size of a piece.
const BACKUP_PIECE_BYTES: usize = 256 * 1024;
/// What of the data directory a backup holds beside the store and its blobs. Unpacked code is made anew from the blobs,
/// with the permissions that it must have.
pub(crate) const BACKUP_DIRECTORIES: &[&str] = &["segments"];

/// The pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    Runtimes,
    Doctor,
    Environments,
    Usage,
    Backup,
    /// What e-mail and SMS subscribers would have got.
    Outbox,
    /// The certificate by which SNS's signatures are verified: a file's name.
    Certificate(String),
    /// A deployment package, by the sealed token of the location that `GetFunction` answered.
    Package(String),
}

/// What a call below `/_pileus/` gets.
pub(crate) enum Choice {
    /// This page.
    Show(Page),
    /// An answer that says why not.
    Refuse(Response<Body>),
    /// There is no such page.
    Unknown,
}

/// Which page a call means, and whether this caller may see it.
pub(crate) fn choose(call: &OwnCall) -> Choice {
    if let Some(token) = call.path.strip_prefix("lambda/packages/") {
        // The token is the permission: like a presigned URL it may be fetched without a signature.
        return if call.head.method == Method::GET {
            Choice::Show(Page::Package(token.to_owned()))
        } else {
            Choice::Unknown
        };
    }
    if let Some(file) = call.path.strip_prefix("certificates/") {
        return Choice::Show(Page::Certificate(file.to_owned()));
    }
    let (page, methods): (Page, &[Method]) = match call.path.as_str() {
        "runtimes" => (Page::Runtimes, &[Method::GET]),
        "doctor" => (Page::Doctor, &[Method::GET]),
        "environments" => (Page::Environments, &[Method::GET]),
        "usage" => (Page::Usage, &[Method::GET]),
        "outbox" => (Page::Outbox, &[Method::GET]),
        "backup" => (Page::Backup, &[Method::GET, Method::POST]),
        _ => return Choice::Unknown,
    };
    if !methods.contains(&call.head.method) {
        return Choice::Refuse(refusal(405, "MethodNotAllowed", "This page does not know the method."));
    }
    match why_not(&call.identity) {
        Some(refused) => Choice::Refuse(refused),
        None => Choice::Show(page),
    }
}

/// The refusal of whoever is not the account's root.
fn why_not(identity: &Result<Identity, SignatureError>) -> Option<Response<Body>> {
    match identity {
        Ok(identity) => match &*identity.principal {
            Principal::Root { .. } => None,
            Principal::AssumedRole { .. } | Principal::Service { .. } | Principal::Anonymous => Some(refusal(
                403,
                "AccessDeniedException",
                &format!("{} is not authorized: this page is for the account's root.", identity.principal),
            )),
        },
        Err(error) => {
            let denial = error.describe(Family::RestJson);
            Some(refusal(denial.status, denial.code, &denial.message))
        }
    }
}

/// A document as an answer.
pub(crate) fn document(page: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(page.to_string())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A deployment package.
pub(crate) fn package(zip: Result<Option<Bytes>, Fault>) -> Option<Response<Body>> {
    match zip {
        Ok(Some(zip)) => {
            let mut response = Response::new(Body::from(zip));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
            Some(response)
        }
        Ok(None) => None,
        Err(fault) => {
            tracing::error!(?fault, "a deployment package cannot be read");
            Some(refusal(500, "ServiceException", "The package cannot be read just now."))
        }
    }
}

/// A certificate.
pub(crate) fn certificate(pem: Result<Option<String>, Fault>) -> Option<Response<Body>> {
    match pem {
        Ok(Some(pem)) => {
            let mut response = Response::new(Body::from(Bytes::from(pem)));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-pem-file"));
            Some(response)
        }
        Ok(None) => None,
        Err(fault) => {
            tracing::error!(?fault, "the certificate of topics cannot be read");
            Some(refusal(500, "ServiceException", "The certificate cannot be read just now."))
        }
    }
}

/// The refusal of a query that is not as it must be.
pub(crate) fn invalid(message: &str) -> Response<Body> {
    refusal(400, "ValidationException", message)
}

/// The answer when the store or something else of ours failed.
pub(crate) fn failed(what: &str, fault: &(dyn std::fmt::Debug + Send + Sync)) -> Response<Body> {
    tracing::error!(?fault, what, "a page cannot be shown");
    refusal(500, "ServiceException", "The page cannot be shown just now; the server's log says why.")
}

fn refusal(status: u16, code: &str, message: &str) -> Response<Body> {
    let mut response = document(&json!({ "__type": code, "message": message }));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// A backup as it is made. When it fails the connection breaks, so that nobody takes a part for the whole.
pub(crate) fn backup(store: &EmbeddedStore, directory: &Arc<DataDir>, segments: &Segments) -> Response<Body> {
    let (sender, stream) = ByteStream::channel(BACKUP_PIECES);
    let (store, directory, segments) = (store.clone(), Arc::clone(directory), segments.clone());
    tokio::task::spawn_blocking(move || {
        let pieces = Pieces { sender: sender.clone() };
        let writer = io::BufWriter::with_capacity(BACKUP_PIECE_BYTES, pieces);
        // What is sealed or merged meanwhile must not vanish under the copy.
        let _held = segments.hold_files();
        match store.backup(&directory, BACKUP_DIRECTORIES, writer) {
            Ok(summary) => tracing::info!(entries = summary.entries, files = summary.files, "a backup was written"),
            Err(error) => {
                let fault = error.into_fault();
                tracing::error!(?fault, "a backup failed");
                // Who reads may have gone: then that was the failure.
                sender.blocking_fail(fault);
            }
        }
    });
    let mut response = Response::new(Body::Stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

/// Hands over what is written, waiting for the reader.
struct Pieces {
    sender: Sender<Bytes>,
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.sender.blocking_send(Bytes::copy_from_slice(bytes)) {
            Ok(bytes.len())
        } else {
            Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client stopped reading"))
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
