//! The gateway: everything between a socket and a service.
//!
//! It owns HTTP (`hyper` is named nowhere else on the server's side) and knows no service: what it serves stands behind
//! [`Upstream`], which the application implements. The path of a request is one list of layers, in `layers.rs`:
//! read it first.
//!
//! | file | what |
//! |---|---|
//! | `server` | accepting, connections, draining |
//! | `layers` | the request path, layer by layer |
//! | `host` | which `Host` names are ours; function URLs; which browser requests pass |
//! | `route` | which service, protocol and operation a request means |
//! | `authenticate` | whose request it is: the open and the required mode |
//! | `signing_keys` | derived keys, kept for their day |
//! | `objects` | S3's own way: virtual hosts, the anonymous, bodies handed on unread |
//! | `incoming` | a body that is handed on: out of its chunks, proven on the way |
//! | `body` | requests' bodies, their limits |
//! | `inline` | a connection's task that is woken while it runs goes on at once |
//! | `refusal` | AWS's errors for what the gateway itself refuses |
//!
//! # Two modes
//! - [`Auth::Open`] (loopback only): whoever reaches the socket is believed. A twelve-digit access key id is the account,
//!   anything else is account `000000000000`; the region is the credential scope's. But credentials that Pileus itself
//!   issued (a function's role, `AssumeRole`, the root key) are verified, and name their principal.
//! - [`Auth::Required`]: only the root key and issued credentials; everything else gets AWS's errors.
//!
//! # Invariants
//! - A connection that comes from inside a function's namespace is never treated as open and never sees `/_pileus/`.
//! - A browser's cross-origin request reaches function URLs only; AWS endpoints answer no CORS header at all.
//! - Every answer carries a request id; a panic in a handler is a 500 of that one request.
//! - Everything is bounded: connections, head, body, memory of bodies under way, time to send either, time to drain.
//!
//! # Function URLs
//! By host, `http://<id>.lambda-url.<region>.localhost:4566/…`, and without DNS by path,
//! `http://127.0.0.1:4566/_pileus/url/<id>/…`; what follows the identifier is the function's raw path.

mod authenticate;
mod body;
mod head_timer;
mod host;
mod incoming;
mod inline;
mod layers;
mod objects;
mod refusal;
mod route;
mod server;
mod settings;
mod signing_keys;
mod upstream;

pub use base_stream::{Body, ByteStream};
pub use refusal::Refusal;
pub use server::{Environment, Gateway};
pub use settings::{Auth, Limits, Settings};
pub use upstream::{Call, Identity, Key, Lookup, OwnCall, Upstream, UrlCall};
