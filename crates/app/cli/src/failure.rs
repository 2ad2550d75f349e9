//! Why a command failed, what caused it, and what to do about it.
//!
//! Guarantee: every failure that a user meets says what could not be done; a cause and a remedy are given where known.

use std::{error::Error, fmt::Write as _};

use edge_client::ClientError;

/// A failed command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    what: String,
    causes: Vec<String>,
    remedy: Option<String>,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// `what` is a lower-case sentence without a full stop.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), causes: Vec::new(), remedy: None }
    }

    /// Adds the error and its own causes.
    pub(crate) fn because(mut self, cause: &(dyn Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(error) = next {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// Adds what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The text for a terminal: `error:`, then `cause:` and `remedy:` lines.
    pub(crate) fn render(&self) -> String {
        let red = anstyle::AnsiColor::Red.on_default().bold();
        let dim = anstyle::Style::new().bold();
        let mut text = format!("{red}error{red:#}: {}", self.what);
        for cause in &self.causes {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{dim}cause{dim:#}: {cause}");
        }
        if let Some(remedy) = &self.remedy {
            let _ = write!(text, "\n{dim}remedy{dim:#}: {remedy}");
        }
        text
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::new(error.to_string());
        let failure = match error.source() {
            Some(source) => failure.because(source),
            None => failure,
        };
        match error {
            ClientError::Connect { .. } => {
                failure.remedy("start a server with `pileus up`, or point AWS_ENDPOINT_URL at a running one")
            }
            ClientError::Broken { .. } | ClientError::Late { .. } => failure.remedy("look at the server's own log"),
            ClientError::Request(_) | ClientError::TooLong | ClientError::Sink(_) => failure,
        }
    }
}

/// Completes an input/output error with what was being done.
pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Failure {
    let what = what.into();
    move |error| Failure::new(what).because(&error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_cause_and_remedy() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = ClientError::Connect { endpoint: "http://127.0.0.1:1".into(), source: refused };
        let text = anstream::adapter::strip_str(&Failure::from(error).render()).to_string();
        assert_eq!(
            text,
            "error: cannot connect to http://127.0.0.1:1\ncause: connection refused\nremedy: start a server with \
             `pileus up`, or point AWS_ENDPOINT_URL at a running one"
        );
    }
}
