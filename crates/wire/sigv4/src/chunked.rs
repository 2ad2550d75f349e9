//! Bodies that come in chunks, each with its length and perhaps its signature: S3's `aws-chunked`.
//!
//! A [`Chunked`] takes the bytes as they arrive and gives the payload in them at once: nothing but the line at hand is
//! held. A chunk's signature is judged at its end, so who consumes the payload must not believe it before
//! [`Chunked::finish`] has said that the body was whole.
//!
//! Guarantees: lines and trailers are bounded; signatures form one chain from the request's own, so that a chunk cannot be
//! left out, repeated or moved; a body that ends before its last chunk is an error.
//!
//! Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks" and "… with
//! Trailing Headers" in the S3 API Reference.

use base_types::Timestamp;
use bytes::{Buf as _, Bytes};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{Claim, SigningKey, canonical::hex};

/// The line before a chunk, or a trailer, in bytes.
const LINE_MAX: usize = 4 * 1024;
/// All trailers, in bytes.
const TRAILERS_MAX: usize = 16 * 1024;
const CHUNK_ALGORITHM: &str = "AWS4-HMAC-SHA256-PAYLOAD";
const TRAILER_ALGORITHM: &str = "AWS4-HMAC-SHA256-TRAILER";
/// The trailer that signs the others.
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// Why a body in chunks cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// It is not in this form; a fragment that says where.
    Malformed(&'static str),
    /// A chunk's or the trailers' signature is not what it must be.
    Mismatch,
    /// It ended before its last chunk.
    Incomplete,
}

/// The chain of signatures: each covers the one before.
#[derive(Clone, Debug)]
pub struct Chain {
    key: SigningKey,
    signed_at: Timestamp,
    scope: String,
    previous: String,
}

impl Claim<'_> {
    /// The chain that begins with this request's own signature; `key` is [`Claim::signing_key`]'s.
    #[must_use]
    pub fn chain(&self, key: SigningKey) -> Chain {
        let previous = self.signature.clone().into_owned();
        Chain { key, signed_at: self.signed_at, scope: self.scope_text(), previous }
    }
}

impl Chain {
    fn of_chunk(&self, content: &[u8]) -> String {
        let nothing = hex(&Sha256::digest(b""));
        self.key.sign_text(&[
            CHUNK_ALGORITHM,
            &self.signed_at.to_basic(),
            &self.scope,
            &self.previous,
            &nothing,
            &hex(content),
        ])
    }

    fn of_trailers(&self, content: &[u8]) -> String {
        let signed_at = self.signed_at.to_basic();
        self.key.sign_text(&[TRAILER_ALGORITHM, &signed_at, &self.scope, &self.previous, &hex(content)])
    }

    fn judge(&mut self, expected: String, given: &str) -> Result<(), ChunkError> {
        if !bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
            return Err(ChunkError::Mismatch);
        }
        self.previous = expected;
        Ok(())
    }
}

/// A body in chunks, as far as it has come.
#[derive(Debug)]
pub struct Chunked {
    /// `None`: chunks are not signed.
    chain: Option<Chain>,
    /// Whether trailers may follow the last chunk.
    with_trailers: bool,
    state: State,
    /// The line at hand.
    line: Vec<u8>,
    trailers: Vec<(String, String)>,
    trailers_bytes: usize,
}

#[derive(Debug)]
enum State {
    /// The line before a chunk.
    Head,
    /// A chunk's content: what is left, what it hashes to so far, what it claims.
    Content {
        left: u64,
        digest: Sha256,
        signature: String,
    },
    /// The end of the line behind a chunk's content.
    Tail,
    /// Behind the last chunk.
    Trailers,
    End,
}

impl Chunked {
    /// Chunks with the signatures of `chain`, or without (`None`); whether trailers may follow.
    #[must_use]
    pub fn new(chain: Option<Chain>, with_trailers: bool) -> Self {
        Self { chain, with_trailers, state: State::Head, line: Vec::new(), trailers: Vec::new(), trailers_bytes: 0 }
    }

    /// Takes what arrived and gives the next piece of payload in it; `None` when all of `bytes` is used up.
    ///
    /// # Errors
    /// See [`ChunkError`]; nothing can be read from it afterwards.
    pub fn next(&mut self, bytes: &mut Bytes) -> Result<Option<Bytes>, ChunkError> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Content { left, digest, .. } => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let piece = bytes.split_to(take);
                    *left -= take as u64;
                    if self.chain.is_some() {
                        digest.update(&piece);
                    }
                    if *left == 0 {
                        self.end_chunk()?;
                        self.state = State::Tail;
                    }
                    return Ok(Some(piece));
                }
                State::End => return Err(ChunkError::Malformed("something follows its end")),
                State::Head | State::Tail | State::Trailers => {
                    if let Some(line) = self.read_line(bytes)? {
                        self.take_line(&line)?;
                    }
                }
            }
        }
        Ok(None)
    }

    /// The trailers, in their order, names in lower case, once the body was whole.
    ///
    /// # Errors
    /// [`ChunkError::Incomplete`] when it was not.
    pub fn finish(self) -> Result<Vec<(String, String)>, ChunkError> {
        match self.state {
            State::End => Ok(self.trailers),
            // A client may leave out the empty line when there are no trailers.
            State::Trailers if self.line.is_empty() && self.trailers.is_empty() && !self.is_signed_trailer() => {
                Ok(self.trailers)
            }
            _ => Err(ChunkError::Incomplete),
        }
    }

    fn is_signed_trailer(&self) -> bool {
        self.with_trailers && self.chain.is_some()
    }

    /// The line up to its end, without that; `None` while it has not all come.
    fn read_line(&mut self, bytes: &mut Bytes) -> Result<Option<Vec<u8>>, ChunkError> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = end.map_or(bytes.len(), |at| at + 1);
        if self.line.len() + part > LINE_MAX {
            return Err(ChunkError::Malformed("a line is too long"));
        }
        self.line.extend_from_slice(&bytes[..part]);
        bytes.advance(part);
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.line);
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        match self.state {
            State::Head => self.begin_chunk(line),
            State::Tail if line.is_empty() => {
                self.state = State::Head;
                Ok(())
            }
            State::Tail => Err(ChunkError::Malformed("a chunk is longer than it says")),
            State::Trailers | State::Content { .. } | State::End => self.take_trailer(line),
        }
    }

    fn begin_chunk(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        let line = std::str::from_utf8(line).map_err(|_| ChunkError::Malformed("a chunk's line is not text"))?;
        let (length, extension) = line.split_once(';').unwrap_or((line, ""));
        let plain = (1..=16).contains(&length.len()) && length.bytes().all(|byte| byte.is_ascii_hexdigit());
        let left = u64::from_str_radix(length, 16).ok().filter(|_| plain);
        let left = left.ok_or(ChunkError::Malformed("a chunk's length is no number"))?;
        let signature = match (extension.strip_prefix("chunk-signature="), &self.chain) {
            (Some(signature), Some(_)) => signature.to_owned(),
            (None, Some(_)) => return Err(ChunkError::Malformed("a chunk has no signature")),
            (_, None) => String::new(),
        };
        self.state = State::Content { left, digest: Sha256::new(), signature };
        if left == 0 {
            self.end_chunk()?;
            self.state = State::Trailers;
        }
        Ok(())
    }

    /// The chunk at hand is complete: judges its signature.
    fn end_chunk(&mut self) -> Result<(), ChunkError> {
        let State::Content { digest, signature, .. } = &mut self.state else { return Ok(()) };
        let Some(chain) = &mut self.chain else { return Ok(()) };
        let expected = chain.of_chunk(&std::mem::take(digest).finalize());
        chain.judge(expected, signature)
    }

    fn take_trailer(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        if line.is_empty() {
            if self.is_signed_trailer() {
                self.judge_trailers()?;
            }
            self.state = State::End;
            return Ok(());
        }
        if !self.with_trailers {
            return Err(ChunkError::Malformed("it has trailers that were not announced"));
        }
        self.trailers_bytes += line.len();
        if self.trailers_bytes > TRAILERS_MAX {
            return Err(ChunkError::Malformed("its trailers are too long"));
        }
        let line = std::str::from_utf8(line).map_err(|_| ChunkError::Malformed("a trailer is not text"))?;
        let (name, value) = line.split_once(':').ok_or(ChunkError::Malformed("a trailer has no colon"))?;
        let name = name.trim().to_ascii_lowercase();
        if name.is_empty() || self.trailers.iter().any(|(known, _)| *known == name) {
            return Err(ChunkError::Malformed("a trailer is nameless or repeated"));
        }
        self.trailers.push((name, value.trim().to_owned()));
        Ok(())
    }

    /// The last trailer signs those before it.
    fn judge_trailers(&mut self) -> Result<(), ChunkError> {
        let signature = match self.trailers.pop() {
            Some((name, signature)) if name == TRAILER_SIGNATURE => signature,
            _ => return Err(ChunkError::Malformed("its trailers have no signature")),
        };
        let mut digest = Sha256::new();
        for (name, value) in &self.trailers {
            for part in [name, ":", value, "\n"] {
                digest.update(part.as_bytes());
            }
        }
        let Some(chain) = &mut self.chain else { return Ok(()) };
        let expected = chain.of_trailers(&digest.finalize());
        chain.judge(expected, &signature)
    }
}

#[cfg(test)]
mod tests;
