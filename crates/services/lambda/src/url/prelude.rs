//! The head of a streamed HTTP response: a JSON document, then eight zero bytes, then the body.
//!
//! A runtime that declares [`CONTENT_TYPE`] speaks HTTP itself (`awslambda.HttpResponseStream.from` in Node); AWS calls the
//! document the prelude. Pure. Guarantee: at most [`PRELUDE_BYTES_MAX`] are kept while the end of the prelude is looked for.

use bytes::{Bytes, BytesMut};
use http::Response;
use serde_json::{Map, Value};

use super::reply::head;

/// The content type that announces a prelude.
pub const CONTENT_TYPE: &str = "application/vnd.awslambda.http-integration-response";
/// The longest prelude.
pub const PRELUDE_BYTES_MAX: usize = 64 * 1024;
/// What ends it.
const DELIMITER: [u8; 8] = [0; 8];

/// Looks for the end of the prelude.
#[derive(Debug, Default)]
pub struct Prelude(BytesMut);

/// What a piece brought.
#[derive(Debug)]
pub enum Step {
    /// The prelude goes on.
    More,
    /// It is complete: the head, and the first bytes of the body.
    Head(Response<()>, Bytes),
    /// It is no prelude, or too long.
    Broken,
}

impl Prelude {
    /// Takes the next piece of the response.
    pub fn take(&mut self, piece: &[u8]) -> Step {
        // The delimiter may lie across pieces.
        let from = self.0.len().saturating_sub(DELIMITER.len() - 1);
        self.0.extend_from_slice(piece);
        let rest = self.0.get(from..).unwrap_or_default();
        match rest.windows(DELIMITER.len()).position(|window| window == DELIMITER) {
            Some(at) if from + at <= PRELUDE_BYTES_MAX => {
                let document = self.0.split_to(from + at);
                let body = std::mem::take(&mut self.0).freeze().slice(DELIMITER.len()..);
                read(&document).map_or(Step::Broken, |head| Step::Head(head, body))
            }
            None if self.0.len() <= PRELUDE_BYTES_MAX => Step::More,
            Some(_) | None => Step::Broken,
        }
    }
}

fn read(document: &[u8]) -> Option<Response<()>> {
    let members: Map<String, Value> =
        if document.is_empty() { Map::new() } else { serde_json::from_slice(document).ok()? };
    head(&members, "application/octet-stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRELUDE: &[u8] =
        br#"{"statusCode":201,"headers":{"Content-Type":"text/html","X-A":"b"},"cookies":["c=1","d=2"]}"#;

    #[test]
    fn a_prelude_is_found_however_it_is_cut() {
        let mut whole = PRELUDE.to_vec();
        whole.extend_from_slice(&[0; 8]);
        whole.extend_from_slice(b"body");
        for size in [1, 3, 7, 8, 50, whole.len()] {
            let mut prelude = Prelude::default();
            let mut rest = Vec::new();
            let mut found = None;
            for piece in whole.chunks(size) {
                if found.is_some() {
                    rest.extend_from_slice(piece);
                    continue;
                }
                match prelude.take(piece) {
                    Step::More => {}
                    Step::Head(head, body) => {
                        rest.extend_from_slice(&body);
                        found = Some(head);
                    }
                    Step::Broken => panic!("pieces of {size} bytes"),
                }
            }
            let head = found.unwrap();
            let cookies: Vec<_> = head.headers().get_all("set-cookie").iter().collect();
            assert_eq!((head.status().as_u16(), cookies.len(), rest.as_slice()), (201, 2, &b"body"[..]));
            assert_eq!(head.headers()["x-a"], "b");
            assert_eq!(head.headers()["content-type"], "text/html");
        }
    }

    #[test]
    fn an_empty_prelude_says_200_and_what_is_none_is_refused() {
        assert!(
            matches!(Prelude::default().take(&[0; 8]), Step::Head(head, body) if head.status() == 200 && body.is_empty())
        );
        for broken in
            [&b"[]\0\0\0\0\0\0\0\0"[..], b"{\"statusCode\":1}\0\0\0\0\0\0\0\0", &[b'x'; PRELUDE_BYTES_MAX + 1]]
        {
            assert!(matches!(Prelude::default().take(broken), Step::Broken));
        }
    }
}
